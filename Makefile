# The words of this project. Each is one command or one script; `make help` lists them.
# Owns nothing: what a word does stands in the script or the cargo call it names.

.DEFAULT_GOAL := help
.PHONY: help run test lint doc check bench conformance soak pictures deps

help: ## list these words
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## serve the sample application with ./config.toml
	cargo run --release

test: deps ## all tests, documentation examples included
	cargo test --workspace

lint: ## formatting and clippy, warnings denied
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

doc: ## the documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace

check: ## what CI runs
	.ci/run

bench: ## measure beside nginx, and the database beside axum (bench/README.md says how to read it)
	bench/run.sh
	bench/database.sh
	cargo bench --quiet --package ratoon-worker --bench clean_state

conformance: ## the HTTP corpus against the release build
	tests/conformance.sh

# The supervisor is the release build (RATOON_SUPERVISOR, read by the tests' harness): what is measured is what is shipped.
soak: ## the tests marked #[ignore]: too long for every run; status within 50 ms is held to here
	cargo build --release --package ratoon
	RATOON_SUPERVISOR=target/release/ratoon cargo test --workspace -- --ignored

pictures: ## draw the pictures in docs/ anew, of a real status page
	RATOON_PICTURES=docs cargo test --package ratoon --test spec -- --ignored the_pictures_in_the_documentation

deps: ## install the Debian packages the tests need
	tests/deps.sh
