#!/usr/bin/env bash
# Measures Ratoon's /hello beside nginx `return 200`, two workers each, in alternating rounds of wrk; bench/README.md reads it.
# Owns both servers, which it starts on free loopback ports and always stops. Passes no judgement: it prints numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

rounds=${ROUNDS:-5}           # per server and kind of connection; the median of an odd number is one of them
seconds=${SECONDS_EACH:-5}    # length of a round
connections=${CONNECTIONS:-64}
threads=${THREADS:-2}         # of wrk
starts=${STARTS:-10}          # how often the start is timed
workers=2                     # of either server
ratoon=${RATOON:-}            # a ready binary; else the release build

. bench/ground.sh
need nginx wrk curl python3 pgrep
if [[ -z $ratoon ]]; then
    cargo build --release
    ratoon=${CARGO_TARGET_DIR:-target}/release/ratoon
fi
[[ -x $ratoon ]] || fail "$ratoon cannot be executed"

# wait_for NAME PID URL: until it answers 200 with 13 bytes, as both must.
wait_for() {
    local try got=nothing
    for ((try = 0; try < 100; try++)); do
        kill -0 "$2" 2>/dev/null || break
        got=$(curl -s --max-time 2 -o /dev/null -w '%{http_code} %{size_download}' "$3") || :
        [[ $got != '200 13' ]] || return 0
        sleep 0.1
    done
    tail -n 20 "$tmp/$1.log" >&2 || :
    fail "$1 at $3 answered '$got' and not '200 13' (its last lines are above)"
}

start_nginx() {
    local user=''
    [[ $(id -u) != 0 ]] || user="user nobody $(id -gn nobody);"
    nginx_port=$(free_port)
    mkdir "$tmp/nginx"
    cat >"$tmp/nginx.conf" <<CONF
daemon off;
$user
worker_processes $workers;
pid $tmp/nginx/pid;
error_log stderr;
events { worker_connections 4096; }
http {
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    client_body_temp_path $tmp/nginx/body;
    proxy_temp_path $tmp/nginx/proxy;
    fastcgi_temp_path $tmp/nginx/fastcgi;
    uwsgi_temp_path $tmp/nginx/uwsgi;
    scgi_temp_path $tmp/nginx/scgi;
    server {
        listen 127.0.0.1:$nginx_port;
        location / { return 200 "Hello, world\n"; }
    }
}
CONF
    setsid nginx -e stderr -p "$tmp/nginx" -c "$tmp/nginx.conf" >"$tmp/nginx.log" 2>&1 </dev/null &
    nginx_pid=$!
    pids+=("$nginx_pid")
    wait_for nginx "$nginx_pid" "http://127.0.0.1:$nginx_port/hello"
}

start_ratoon() {
    setsid "$ratoon" run --config "$tmp/ratoon.toml" >"$tmp/ratoon.log" 2>&1 </dev/null &
    ratoon_pid=$!
    pids+=("$ratoon_pid")
    wait_for ratoon "$ratoon_pid" "http://127.0.0.1:$ratoon_port/hello"
}

# load PORT [WRK OPTION…]: one round; prints requests per second and the number of errors.
load() {
    local port=$1
    shift
    wrk -t "$threads" -c "$connections" -d "${seconds}s" "$@" "http://127.0.0.1:$port/hello" >"$tmp/wrk"
    counted "$tmp/wrk"
}

# compare TITLE [WRK OPTION…]
compare() {
    local title=$1 round server rps errors order
    shift
    say ''
    say "$title (requests per second)"
    printf '  %-7s %10s %10s %8s\n' round nginx ratoon ratio
    rm -f "$tmp"/rps.*
    for ((round = 1; round <= rounds; round++)); do
        # Who goes first changes from round to round.
        order='nginx ratoon'
        ((round % 2)) || order='ratoon nginx'
        for server in $order; do
            local port_of="${server}_port"
            load "${!port_of}" "$@" >"$tmp/round"
            read -r rps errors <"$tmp/round"
            [[ ${rps:-0} -gt 0 ]] || fail "$server answered nothing in a round"
            say "$rps" >>"$tmp/rps.$server"
            [[ $errors == 0 ]] || say "  round $round: $server: $errors errors"
        done
        printf '  %-7s %10s %10s %8s\n' "$round" "$(tail -n 1 "$tmp/rps.nginx")" "$(tail -n 1 "$tmp/rps.ratoon")" \
            "$(paste "$tmp/rps.ratoon" "$tmp/rps.nginx" | awk 'END {printf "%.2f", $1 / $2}')"
    done
    printf '  %-7s %10.0f %10.0f %8s\n' median "$(median "$tmp/rps.nginx")" "$(median "$tmp/rps.ratoon")" \
        "$(awk -v a="$(median "$tmp/rps.ratoon")" -v b="$(median "$tmp/rps.nginx")" 'BEGIN {printf "%.2f", a / b}')"
}

# From just before the process is made to the last byte of the first answer, tried again every half millisecond.
time_start() {
    python3 - "$ratoon_port" "$starts" "$ratoon" run --config "$tmp/ratoon.toml" <<'PY'
import os, signal, socket, subprocess, sys, time
port, times, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def answered():
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := s.recv(4096):
                got += piece
            return got.startswith(b"HTTP/1.1 200")
    except OSError:
        return False

took = []
for _ in range(times):
    begin = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not answered():
            if child.poll() is not None or time.monotonic() - begin > 10:
                sys.exit("bench: no answer after %.1f s, exit status %s" % (time.monotonic() - begin, child.poll()))
            time.sleep(0.0005)
        took.append((time.monotonic() - begin) * 1000)
        child.terminate()
        child.wait(10)
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
took.sort()
print("  median %.1f ms of %d, fastest %.1f, slowest %.1f" % (
    (took[(len(took) - 1) // 2] + took[len(took) // 2]) / 2, len(took), took[0], took[-1]))
PY
}

# Memory of its own (private pages), and shared with others, of the supervisor and each of its children.
memory() {
    local pid
    say ''
    say "memory $1 (KiB)"
    printf '  %9s %9s  %s\n' own pss process
    for pid in "$ratoon_pid" $(pgrep -P "$ratoon_pid"); do
        awk -v title="$(tr '\0' ' ' <"/proc/$pid/cmdline")" '
            /^Private_(Clean|Dirty):/ {own += $2}
            /^Pss:/ {pss = $2}
            END {sub(/ +$/, "", title); if (length(title) > 60) title = substr(title, 1, 57) "..."
                 printf "  %9d %9d  %s\n", own, pss, title}' "/proc/$pid/smaps_rollup" || say "  pid $pid is gone or may not be read"
    done
}

# system_calls NAME PORT PID…: counted over two seconds of keep-alive load; strace slows the server, not its habits.
system_calls() {
    local name=$1 port=$2 pid tracer try attach=()
    shift 2
    for pid in "$@"; do attach+=(-p "$pid"); done
    rm -f "$tmp/strace"
    strace -c -o "$tmp/strace" "${attach[@]}" >/dev/null 2>"$tmp/strace.err" </dev/null &
    tracer=$!
    pids+=("$tracer")
    # Attached when every worker has a tracer.
    for ((try = 0; try < 30; try++)); do
        for pid in "$@"; do
            grep -q '^TracerPid:[[:space:]]*0$' "/proc/$pid/status" && break
        done || break
        kill -0 "$tracer" 2>/dev/null || break
        sleep 0.1
    done
    wrk -t 1 -c "$connections" -d 2s "http://127.0.0.1:$port/hello" >"$tmp/wrk"
    kill -INT "$tracer" 2>/dev/null || :
    wait "$tracer" || :
    if [[ ! -s $tmp/strace ]]; then
        say "  $name: not measured: $(head -n 1 "$tmp/strace.err")"
        return
    fi
    awk -v name="$name" -v requests="$(awk '/requests in/ {print $1}' "$tmp/wrk")" '
        $1 ~ /^[0-9.]+$/ && $NF != "total" {calls[$NF] = $4; total += $4}
        END {
            printf "  %-7s %5.2f:", name, total / requests
            for (call in calls) if (calls[call] / requests >= 0.01) printf " %s %.2f", call, calls[call] / requests
            printf "\n"
        }' "$tmp/strace"
}

say "$(uname -sr), $(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg); $(nginx -v 2>&1); $("$ratoon" --version)"
say "$workers workers each, $connections connections, wrk with $threads threads, $rounds rounds of $seconds s"

ratoon_port=$(free_port)
cat >"$tmp/ratoon.toml" <<TOML
[pool.web]
listen = ["127.0.0.1:$ratoon_port"]
workers = $workers
TOML

say ''
say 'from exec to the first answered request'
time_start

start_nginx
start_ratoon
memory 'at rest, before the load'
compare 'keep-alive'
compare 'Connection: close' -H 'Connection: close'
memory 'at rest, after the load'

say ''
say 'system calls per request, keep-alive'
if command -v strace >/dev/null; then
    # shellcheck disable=SC2046  # one word a pid
    system_calls nginx "$nginx_port" $(pgrep -P "$nginx_pid")
    # shellcheck disable=SC2046
    system_calls ratoon "$ratoon_port" $(pgrep -P "$ratoon_pid" -f '^ratoon: web worker ')
else
    say '  not measured: strace is not installed'
fi
