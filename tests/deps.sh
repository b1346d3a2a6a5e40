#!/usr/bin/env bash
# Installs the Debian packages the tests need, as root or through `sudo -n`; silent when all are there.
# Owns the list of these packages and, while it installs, a policy that keeps their services from starting and one that
# keeps PostgreSQL from making a cluster of its own.
set -euo pipefail

# package, reason
needs='
curl        asks every route of the sample application, as a user would
wrk         load: 64 keep-alive connections without an error, and the benchmark
nginx       the proxy in front in the tests, and the yardstick of the benchmark
haproxy     the other proxy in front, which speaks the PROXY protocol
python3     clients that misbehave byte by byte, and the HTTP corpus
iproute2    ss: the backlog of a listener
bsdutils    script: the terminal on which the commands draw
procps      pgrep and ps: which processes are there, and what they are called
chromium    opens the sample page in a real browser
postgresql  the database behind the workers, started by each test for itself
pgbouncer   the proxy that some have in front of it
nftables    drops the packets of a connection without telling anybody
prometheus  promtool: its judgement of the metrics, the alert rules and their tests; its server is never started
python3-prometheus-client  reads the metrics as its users would, in both formats
strace      which system calls a worker makes
openssl     makes the certificates of a database that speaks TLS
systemd     the service manager itself, booted in a box by each test that needs one
libnss-systemd  the names of users that exist while their service runs
mount       the root of that box
util-linux  unshare, nsenter, setpriv: its namespaces
'

policy=/usr/sbin/policy-rc.d
mark='Temporary, by the dependency script of Ratoon: start no service'
created=

# What Debian's packages of PostgreSQL read before they make a cluster, and where it is kept while ours is there.
clusters=/etc/postgresql-common/createcluster.conf
kept=$clusters.kept
no_cluster='Temporary, by the dependency script of Ratoon: create no cluster'
clusterless=

say() { printf 'deps: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

missing() {
    local package reason
    while read -r package reason; do
        [[ -n $package ]] || continue
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
    done <<<"$needs"
}

# What a person has to type where this script may not install.
refuse() {
    local package reason
    {
        say "$1. Missing:"
        while read -r package reason; do
            [[ " ${want[*]} " != *" $package "* ]] || printf '  %-11s %s\n' "$package" "$reason"
        done <<<"$needs"
        say "to install them: sudo apt-get update && sudo apt-get install --no-install-recommends ${want[*]}"
        say 'the tests that need none of them run without: cargo test --workspace'
    } >&2
    exit 1
}

apt() {
    # 9 is our lock: nothing that apt starts may keep it.
    apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1 9>&-
}

# Called through `trap`.
# shellcheck disable=SC2317
clean_up() {
    [[ -z $created ]] || rm -f "$policy"
    [[ -z $clusterless ]] || allow_clusters
    rm -f "$log"
}

deny_clusters() {
    clusterless=yes
    mkdir -p "${clusters%/*}"
    # Ours may have been left behind by a run that was killed.
    [[ ! -e $clusters ]] || grep -qF "$no_cluster" "$clusters" || mv "$clusters" "$kept"
    printf '# %s\ncreate_main_cluster = false\n' "$no_cluster" >"$clusters"
    chmod 644 "$clusters"
}

# As the package would have left it.
allow_clusters() {
    rm -f "$clusters"
    if [[ -e $kept ]]; then
        mv "$kept" "$clusters"
    elif [[ -e /usr/share/postgresql-common/createcluster.conf ]]; then
        cp /usr/share/postgresql-common/createcluster.conf "$clusters"
    else
        rmdir --ignore-fail-on-non-empty "${clusters%/*}"
    fi
}

deny_services() {
    if [[ -e $policy ]] && grep -qF "$mark" "$policy"; then
        created=yes # left behind by a run that was killed
    elif [[ -e $policy ]]; then
        local status=0
        "$policy" nginx start >/dev/null 2>&1 || status=$?
        [[ $status == 101 ]] || refuse "$policy is there and lets services start: not installing"
    else
        created=yes
        printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
    fi
    [[ -z $created ]] || chmod 755 "$policy"
}

mapfile -t want < <(missing)
[[ ${#want[@]} -gt 0 ]] || exit 0

command -v apt-get >/dev/null || refuse 'there is no apt-get here'
if [[ $(id -u) != 0 ]]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        refuse 'neither root nor sudo without a password'
    fi
    exec sudo -n -- "$BASH" "$0"
fi

# UCF_FORCE_CONFFOLD: what we say of clusters stays while we install.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 UCF_FORCE_CONFFOLD=1 LC_ALL=C.UTF-8
log=$(mktemp)
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# One at a time: a second run must not find the first one's policy, nor lose its own.
exec 9<"${policy%/*}"
flock 9
mapfile -t want < <(missing)
[[ ${#want[@]} -gt 0 ]] || exit 0

say "installing ${want[*]}"
deny_services
[[ " ${want[*]} " != *' postgresql '* ]] || deny_clusters
# The lists are fetched only when they do not know a package, or know a version that is gone.
apt-get -qq -s install --no-install-recommends "${want[@]}" >/dev/null 2>&1 9>&- || apt update || :
if ! apt install --no-install-recommends "${want[@]}"; then
    apt update || :
    if ! apt install --no-install-recommends "${want[@]}"; then
        cat "$log" >&2
        refuse 'apt-get failed, as shown above'
    fi
fi
# Nor at the next boot.
for service in nginx haproxy postgresql pgbouncer prometheus; do
    [[ " ${want[*]} " == *" $service "* ]] || continue
    command -v systemctl >/dev/null || continue
    systemctl --quiet disable "$service.service" >/dev/null 2>&1 || say "$service.service could not be disabled: it starts at the next boot"
done

mapfile -t want < <(missing)
[[ ${#want[@]} == 0 ]] || fail "apt-get said yes, but these are still missing: ${want[*]}"
