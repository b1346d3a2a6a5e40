#!/usr/bin/env bash
# Runs the HTTP corpus against the release build; passes when no case fails but those in tests/http-exceptions.txt.
# Owns the server it starts on a free loopback port; the corpus itself stays where it is ($RATOON_HTTP_CORPUS).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

corpus=${RATOON_HTTP_CORPUS:-../shared/http-corpus}
exceptions=tests/http-exceptions.txt
max_exceptions=12
workers=2

say() { printf 'conformance: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

if [[ ! -f $corpus/run.py ]]; then
    # Who names a corpus wants it run; who has none has nothing to run.
    [[ -z ${RATOON_HTTP_CORPUS:-} ]] || fail "RATOON_HTTP_CORPUS=$corpus: there is no run.py"
    say "skipped: no corpus at $corpus; RATOON_HTTP_CORPUS says where one is"
    exit 0
fi
listed=$(awk '!/^#/ && NF' "$exceptions")
unargued=$(awk 'NF == 1 {print $1}' <<<"$listed")
[[ -z $unargued ]] || fail "$exceptions: no argument for: ${unargued//$'\n'/ }"
count=$(grep -c . <<<"$listed" || :)
((count <= max_exceptions)) || fail "$exceptions: $count exceptions; at most $max_exceptions are allowed"

cargo build --release
ratoon=${CARGO_TARGET_DIR:-target}/release/ratoon

tmp=$(mktemp -d)
server=
# Called through `trap`. The server leads a process group of its own.
# shellcheck disable=SC2317
clean_up() {
    [[ -z $server ]] || kill -KILL -- "-$server" 2>/dev/null || :
    rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

show_log() {
    say "the server's last lines:"
    tail -n 20 "$tmp/log"
} >&2

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
worker_pids() { pgrep -P "$server" -f '^ratoon: web worker ' | sort -n | tr '\n' ' '; }

# start HEADER_TIMEOUT
start() {
    port=$(free_port)
    cat >"$tmp/config.toml" <<TOML
[pool.web]
listen = ["127.0.0.1:$port"]
workers = $workers
header_timeout = "$1"
TOML
    setsid "$ratoon" run --config "$tmp/config.toml" >"$tmp/log" 2>&1 </dev/null &
    server=$!
    local try
    for ((try = 0; try < 100; try++)); do
        kill -0 "$server" 2>/dev/null || break
        if curl -s -o "$tmp/hello" --max-time 2 "http://127.0.0.1:$port/hello" && [[ $(worker_pids | wc -w) == "$workers" ]]; then
            return 0
        fi
        sleep 0.1
    done
    show_log
    fail "no server with $workers workers on 127.0.0.1:$port after 10 s"
}

# stop: TERM, then the exit status is the server's verdict on itself.
stop() {
    local status=0
    kill -TERM "$server" 2>/dev/null || :
    wait "$server" || status=$?
    kill -KILL -- "-$server" 2>/dev/null || :
    server=
    if [[ $status != 0 ]]; then
        show_log
        fail "the server ended with status $status"
    fi
}

# run FILE [FLAG...]: adds what was observed to $tmp/observed.
run() {
    [[ -s $1 ]] || return 0
    # Its exit status is 1 for a failed case and for a crash of its own: the observations tell them apart.
    python3 "$corpus/run.py" 127.0.0.1 "$port" "$@" --jobs "$workers" --json "$tmp/run" || :
    [[ -s $tmp/run ]] || fail 'the runner did not finish'
    cat "$tmp/run" >>"$tmp/observed"
    rm "$tmp/run"
}

# cases FILE...: runs them, and adds the ids that failed to $tmp/failed.
cases() {
    local before after
    before=$(worker_pids)
    : >"$tmp/observed"
    # Where the runner may put /echo in the place of a case's target, it also compares the body. A case that tries the
    # target itself, or whose bytes come in steps, keeps it, and meets the sample's page.
    (cd "$corpus" && python3 - "$tmp" "$@") <<'PY'
import json, sys
tmp, *files = sys.argv[1:]
with open(f"{tmp}/echoed.jsonl", "w") as echoed, open(f"{tmp}/plain.jsonl", "w") as plain:
    for line in (line for name in files for line in open(name)):
        case = json.loads(line)
        print(line, end="", file=echoed if case.get("target_spans") and not case.get("steps_b64") else plain)
PY
    run "$tmp/echoed.jsonl" --path /echo --echo
    run "$tmp/plain.jsonl"
    after=$(worker_pids)
    python3 - "$tmp/observed" >>"$tmp/failed" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    case = json.loads(line)
    if case["verdict"] == "FAIL":
        print(case["id"])
PY
    awk 'END {print NR}' "$tmp/observed" >>"$tmp/ran"
    if [[ $before != "$after" ]]; then
        show_log
        fail "a worker died during the run: pids were ${before}and are now ${after:-none}"
    fi
}

: >"$tmp/failed"
start 10s
cases h1_main.jsonl h1_smuggling.jsonl h1_may.jsonl h1_limits.jsonl
stop
start 1s
cases h1_timeout.jsonl
stop

awk '{print $1}' <<<"$listed" | sort -u >"$tmp/excepted"
sort -u "$tmp/failed" -o "$tmp/failed"
unexpected=$(comm -23 "$tmp/failed" "$tmp/excepted")
unneeded=$(comm -13 "$tmp/failed" "$tmp/excepted")
[[ -z $unneeded ]] || say "passed after all, take them out of $exceptions: ${unneeded//$'\n'/ }"
if [[ -n $unexpected ]]; then
    say "failed, and not in $exceptions:" >&2
    awk '{print "  " $0}' <<<"$unexpected" >&2
    exit 1
fi
say "$(awk '{n += $1} END {print n}' "$tmp/ran") cases; failed: $(grep -c . "$tmp/failed" || :), all of them argued in $exceptions"
