# What both benchmarks stand on: a directory of their own, processes that are always stopped, free ports, medians.
# Sourced by bash, from the repository's root.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
fail() { printf 'bench: %s\n' "$*" >&2; exit 1; }

# need TOOL…
need() {
    local tool
    PATH=$PATH:/usr/sbin
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing: make deps"
    done
}

tmp=$(mktemp -d)
pids=()
# Called through `trap`. Whoever was started last, and may be another's client, ends first. Each server leads a process
# group of its own: TERM first, then whatever is left of the group.
# shellcheck disable=SC2317
clean_up() {
    local index pid try
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        pid=${pids[index]}
        kill -TERM "$pid" 2>/dev/null || continue
        for ((try = 0; try < 30; try++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2>/dev/null || :
    done
    rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# median FILE: of one number a line.
median() {
    sort -n "$1" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}

# counted FILE: of what wrk has printed, requests per second and the number of errors.
counted() {
    awk '
        /^Requests\/sec:/ {rps = $2}
        /Socket errors:/ {gsub(/[^0-9 ]/, ""); for (i = 1; i <= NF; i++) errors += $i}
        /Non-2xx/ {errors += $NF}
        END {printf "%.0f %d\n", rps, errors}' "$1"
}
