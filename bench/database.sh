#!/usr/bin/env bash
# Measures the sample application's /db, one row by its primary key, beside axum with a pool of tokio-postgres connections,
# with many workers on few connections, and what acquiring and resetting a connection cost; bench/README.md reads it.
# Owns a PostgreSQL, a PgBouncer and all servers, on free ports and in a directory of its own, and always stops them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

rounds=${ROUNDS:-5}         # per server; the median of an odd number is one of them
seconds=${SECONDS_EACH:-5}  # length of a round
clients=${CLIENTS:-16}      # keep-alive connections
ratoon=${RATOON:-}          # a ready binary; else the release build
peers=${PEERS:-}            # the directory of ready peers; else the release build of bench/peer

. bench/ground.sh
need wrk curl python3 pgbouncer setpriv
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
if [[ -z $ratoon ]]; then
    cargo build --release
    ratoon=$target/release/ratoon
fi
if [[ -z $peers ]]; then
    cargo build --release --manifest-path bench/peer/Cargo.toml --target-dir "$target/peer"
    peers=$target/peer/release
fi
for program in "$ratoon" "$peers/peer" "$peers/probe"; do
    [[ -x $program ]] || fail "$program cannot be executed"
done
programs=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[[ -n $programs ]] || fail 'PostgreSQL is missing: make deps'

# Neither database program runs as root.
chmod 755 "$tmp"
mkdir "$tmp/database"
lower=()
if [[ $(id -u) == 0 ]]; then
    chown postgres "$tmp/database"
    lower=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups --)
fi

# launch NAME COMMAND…: in a process group of its own; its pid is then in $launched.
launch() {
    local name=$1
    shift
    setsid "$@" >"$tmp/$name.log" 2>&1 </dev/null &
    launched=$!
    pids+=("$launched")
}

# wait_for NAME COMMAND…: until it succeeds.
wait_for() {
    local name=$1 try
    shift
    for ((try = 0; try < 100; try++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 "$launched" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$tmp/$name.log" >&2 || :
    fail "$name is not ready (its last lines are above)"
}

sql() { "$programs/psql" -XAt -h "$tmp/database" -p 5432 -U ratoon -d postgres -v ON_ERROR_STOP=1 -c "$1"; }

start_postgres() {
    "${lower[@]}" "$programs/initdb" -D "$tmp/database/data" -U ratoon --auth=trust --no-sync --locale=C -E UTF8 >"$tmp/initdb.log" ||
        fail "initdb: $(tail -n 3 "$tmp/initdb.log")"
    launch postgres "${lower[@]}" "$programs/postgres" -D "$tmp/database/data" -c listen_addresses= -c port=5432 \
        -c unix_socket_directories="$tmp/database" -c shared_buffers=64MB -c fsync=off
    wait_for postgres sql 'select 1'
    sql "create table ratoon_notes (id bigint generated always as identity primary key, text text not null,
         written timestamptz not null default now())" >/dev/null
    sql "insert into ratoon_notes (text) select 'note ' || g from generate_series(1, 10000) g" >/dev/null
    sql 'vacuum analyze ratoon_notes' >/dev/null
}

# start_pgbouncer CONNECTIONS
start_pgbouncer() {
    cat >"$tmp/database/pgbouncer.ini" <<INI
[databases]
* = host=$tmp/database port=5432 user=ratoon
[pgbouncer]
listen_port = 6432
unix_socket_dir = $tmp/database
auth_type = any
pool_mode = transaction
default_pool_size = $1
max_client_conn = 1000
application_name_add_host = 0
INI
    launch pgbouncer "${lower[@]}" "$(command -v pgbouncer)" "$tmp/database/pgbouncer.ini"
    wait_for pgbouncer test -S "$tmp/database/.s.PGSQL.6432"
}

# url NAME [PORT]: sessions are known by the server's name.
url() { printf 'postgres://ratoon@/postgres?host=%s&port=%s&application_name=%s' "$tmp/database" "${2:-5432}" "$1"; }

declare -A port_of

# ratoon_server NAME WORKERS KEYS [URL]: KEYS are lines of the database's table.
ratoon_server() {
    local name=$1 program=''
    [[ -z ${PROGRAM:-} ]] || program="program = [\"$PROGRAM\"]"
    port_of[$name]=$(free_port)
    cat >"$tmp/$name.toml" <<TOML
[pool.web]
listen = ["127.0.0.1:${port_of[$name]}"]
workers = $2
$program
[pool.web.database]
url = "${4:-$(url "$name")}"
$3
TOML
    launch "$name" "$ratoon" run --config "$tmp/$name.toml"
    wait_for "$name" curl -sf --max-time 2 "http://127.0.0.1:${port_of[$name]}/db?id=77"
}

# axum_server NAME POOL CONNECTIONS: POOL as the peer has it.
axum_server() {
    port_of[$1]=$(free_port)
    launch "$1" "$peers/peer" "127.0.0.1:${port_of[$1]}" "$(url "$1")" "$2" "$3"
    wait_for "$1" curl -sf --max-time 2 "http://127.0.0.1:${port_of[$1]}/db?id=77"
}

# sessions NAME: how many it has with the database; behind PgBouncer RESET ALL takes the name away, too.
sessions() {
    local unnamed=''
    [[ $1 != pgbouncer ]] || unnamed="or application_name = ''"
    sql "select count(*) from pg_stat_activity
         where backend_type = 'client backend' and (application_name = '$1' $unnamed)"
}

# compare TITLE PATH NAME…: rounds in turn, each time another first; medians, and their ratios to the first named.
compare() {
    local title=$1 path=$2 round index name rps errors
    shift 2
    local names=("$@")
    say ''
    say "$title (requests per second)"
    rm -f "$tmp"/rps.*
    for ((round = 0; round < rounds; round++)); do
        for ((index = 0; index < ${#names[@]}; index++)); do
            name=${names[(index + round) % ${#names[@]}]}
            wrk -t 1 -c "$clients" -d "${seconds}s" "http://127.0.0.1:${port_of[$name]}$path" >"$tmp/wrk"
            read -r rps errors < <(counted "$tmp/wrk")
            [[ ${rps:-0} -gt 0 ]] || fail "$name answered nothing in a round"
            say "$rps" >>"$tmp/rps.$name"
            [[ $errors == 0 ]] || say "  round $((round + 1)): $name: $errors errors"
        done
    done
    printf '  %-22s %9s %7s %9s  %s\n' server median ratio sessions rounds
    for name in "${names[@]}"; do
        printf '  %-22s %9.0f %7s %9s  %s\n' "$name" "$(median "$tmp/rps.$name")" \
            "$(awk -v a="$(median "$tmp/rps.$name")" -v b="$(median "$tmp/rps.${names[0]}")" 'BEGIN {printf "%.2f", a / b}')" \
            "$(sessions "$name")" "$(paste -sd ' ' "$tmp/rps.$name")"
    done
}

# cost NAME PATH: microseconds of a request of one client to one worker, from the last comparison.
cost() { awk -v rps="$(median "$tmp/rps.$1")" 'BEGIN {printf "%.1f", 1e6 / rps}'; }

say "$(uname -sr), $(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg); $("$programs/postgres" --version); $("$ratoon" --version)"
say "$clients keep-alive clients, $rounds rounds of $seconds s"

start_postgres
start_pgbouncer 4
ratoon_server ratoon 2 ''
ratoon_server ratoon-off 2 'reset = "off"'
axum_server bb8 bb8 default
axum_server deadpool fast default
axum_server deadpool-2 fast 2
axum_server deadpool-16 fast 16
axum_server clean clean default
compare 'two workers beside axum on two threads, with a pool as it comes' '/db?id=77' ratoon bb8 deadpool
compare 'the same, where both see to it that nothing is left' '/db?id=77' ratoon clean
compare 'the same, where neither does' '/db?id=77' ratoon-off deadpool-2 deadpool deadpool-16

ratoon_server own 16 'connections = 16'
ratoon_server leasing 16 'connections = 4'
ratoon_server pgbouncer 16 'connections = 16
prepared = false' "$(url pgbouncer 6432)"
compare '16 workers: a connection each, leasing 4, by way of PgBouncer with 4' '/db?id=77' own leasing pgbouncer

clients=1
for reset in session discard_all off; do
    ratoon_server "reset-$reset" 1 "reset = \"$reset\""
done
compare 'one worker and one client: what the reset costs' /backend reset-off reset-session reset-discard_all
say ''
say 'microseconds of a request'
for reset in off session discard_all; do
    printf '  reset = %-13s %8s\n' "\"$reset\"" "$(cost "reset-$reset")"
done

# Without a reset, whose answer a client that asks again at once would make it wait for.
PROGRAM=$peers/probe ratoon_server probe 1 'reset = "off"'
wrk -t 1 -c 1 -d "${seconds}s" "http://127.0.0.1:${port_of[probe]}/db?id=77" >"$tmp/wrk"
read -r _ errors < <(counted "$tmp/wrk")
[[ $errors == 0 ]] || say "  probe: $errors errors"
say ''
say "acquiring a fresh connection, one client: median $(curl -sf "http://127.0.0.1:${port_of[probe]}/acquired") ns"
