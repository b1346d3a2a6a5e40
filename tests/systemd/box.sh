#!/usr/bin/env bash
# A real systemd for a test: boots the one that is installed, as process 1 of namespaces of its own, over a throw-away
# overlay of this machine's root, and takes everything down again.
#
#   box.sh [SOURCE:TARGET]…
#
# Each SOURCE is bound read-only to TARGET inside. Prints one line, the process id of that systemd as it is seen from
# outside, once its boot is over; what is inside is then at /proc/PID/root, and `nsenter -t PID -a` leads there. Lives until its
# standard input ends. BOX_DEBS names a directory with Debian packages that are unpacked over the root first: another
# systemd. Owns nothing outside but a directory in TMPDIR and a cgroup below its own, both gone with it.
#
# Exit status 70: this machine cannot do it, and why is on standard error. Needs root, overlayfs and the Debian packages
# systemd, libnss-systemd (names for DynamicUser=), mount, util-linux and procps. No dbus: process 1 has a socket of its own.
set -euo pipefail

cannot() { printf 'box: %s\n' "$*" >&2; exit 70; }

# Process 1 of the new namespaces, until it is systemd: what a kernel gives to a booting machine, and no more.
begin() {
    local root=$BOX_ROOT each
    mount --make-rprivate /
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    # The kernel is not ours: its switches are there to be read.
    for each in sys sysrq-trigger irq bus; do
        [[ ! -e $root/proc/$each ]] || { mount --bind "$root/proc/$each" "$root/proc/$each"; mount -o remount,bind,ro "$root/proc/$each"; }
    done
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    for each in null zero full random urandom tty; do
        : >"$root/dev/$each"
        mount --bind "/dev/$each" "$root/dev/$each"
    done
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for each in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${each%:*}" "$root/dev/${each#*:}"; done
    for each in dev/shm:1777 run:755 tmp:1777; do mount -t tmpfs -o "nosuid,nodev,mode=${each#*:}" tmpfs "$root/${each%:*}"; done
    cgroups "$root/sys/fs/cgroup"
    hostname box
    mkdir -p "$root/.outside"
    cd "$root"
    pivot_root . .outside
    cd /
    umount -l /.outside
    rmdir /.outside
    # As a container's manager leaves it; systemd hands credentials to services through it.
    mount --make-rshared /
    # Without these three a service could set this machine's clock, load a module, write to its ports.
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=box \
        setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio /lib/systemd/systemd --show-status=no
}

# The hierarchies of this machine: one, or version 1 for the controllers and one more for processes.
cgroups() {
    local place=$1 controller
    if is_unified; then
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$place"
        return
    fi
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs "$place"
    mkdir "$place/systemd" "$place/unified"
    mount -t cgroup -o nosuid,nodev,noexec,none,name=systemd cgroup "$place/systemd"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$place/unified"
    while read -r controller; do
        mkdir "$place/$controller"
        mount -t cgroup -o "nosuid,nodev,noexec,$controller" cgroup "$place/$controller"
    done < <(awk '!/^#/ && $2 > 0 { print $1 }' /proc/cgroups)
}

is_unified() { [[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]]; }

if [[ ${1-} == --begin ]]; then
    begin
fi

# What is mounted from here on is seen by nobody else, and goes with us.
if [[ -z ${BOX_APART-} ]]; then
    [[ $(id -u) == 0 ]] || cannot 'needs root'
    [[ -x /lib/systemd/systemd ]] || cannot 'needs the Debian package systemd: tests/deps.sh installs it'
    export BOX_APART=yes
    unshare --mount true 2>/dev/null || cannot 'this machine gives no mount namespace, not even to root'
    exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi

base=$(mktemp -d "${TMPDIR:-/tmp}/ratoon-box.XXXXXX")
export BOX_ROOT=$base/root
own_cgroups=()
starter=
first=

# Called through `trap`.
# shellcheck disable=SC2317
take_down() {
    local each _
    trap '' TERM INT HUP
    # SIGRTMIN+4 asks systemd to power off.
    [[ -z $first ]] || kill -RTMIN+4 "$first" 2>/dev/null || :
    if [[ -n $starter ]]; then
        for _ in {1..100}; do kill -0 "$starter" 2>/dev/null || break; sleep .05; done
        kill -KILL "$starter" 2>/dev/null || :
        wait "$starter" 2>/dev/null || :
    fi
    for each in "${own_cgroups[@]}"; do
        for _ in {1..40}; do
            find "$each" -depth -type d -exec rmdir {} + 2>/dev/null || :
            [[ -d $each ]] || break
            sleep .05
        done
    done
    umount -R "$BOX_ROOT" 2>/dev/null || :
    umount -l "$base/layers" 2>/dev/null || :
    rm -f "$base/log"
    rmdir "$base/layers" "$BOX_ROOT" "$base" 2>/dev/null || :
}
trap take_down EXIT
trap 'exit 143' TERM INT HUP

# The upper layer of an overlay must not lie in its lower one: it is memory.
mkdir "$base/layers" "$BOX_ROOT"
mount -t tmpfs -o mode=755 tmpfs "$base/layers" || cannot 'cannot mount a tmpfs'
mkdir "$base/layers/upper" "$base/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/layers/upper,workdir=$base/layers/work" "$BOX_ROOT" || cannot 'cannot mount an overlay'
# Services of this machine that would start by themselves.
rm -rf "$BOX_ROOT"/etc/systemd/system/*.wants "$BOX_ROOT"/etc/rc[2-5].d/S*
if [[ -n ${BOX_DEBS-} ]]; then
    # Not `dpkg -x`, which replaces the link /lib by a directory.
    for each in "$BOX_DEBS"/*.deb; do dpkg-deb --fsys-tarfile "$each" | tar -x --keep-directory-symlink -C "$BOX_ROOT"; done
fi
for each in "$@"; do
    target=$BOX_ROOT${each#*:}
    mkdir -p "${target%/*}"
    : >"$target"
    mount --bind "${each%%:*}" "$target"
    mount -o remount,bind,ro "$target"
done

# A child of our own cgroup in every hierarchy. Read first: the file changes while we move.
mapfile -t mine </proc/self/cgroup
for each in "${mine[@]}"; do
    IFS=: read -r _ controllers path <<<"$each"
    case $controllers in
        '') if is_unified; then place=/sys/fs/cgroup; else place=/sys/fs/cgroup/unified; fi ;;
        name=systemd) place=/sys/fs/cgroup/systemd ;;
        *) place=/sys/fs/cgroup/$controllers ;;
    esac
    [[ -d $place ]] || continue
    place+=${path%/}/${base##*/}
    mkdir "$place" || cannot "cannot make a cgroup at $place"
    own_cgroups+=("$place")
    if [[ $controllers == cpuset ]]; then
        for file in cpus mems; do cat "${place%/*}/cpuset.$file" >"$place/cpuset.$file"; done
    fi
    # Where groups share real-time, one has none at first, and nobody in it could be given such a priority.
    [[ ! -e $place/cpu.rt_runtime_us ]] || echo 1000 >"$place/cpu.rt_runtime_us" || :
done
(
    for each in "${own_cgroups[@]}"; do echo "$BASHPID" >"$each/cgroup.procs" || cannot "cannot move to $each"; done
    exec setpriv --pdeathsig KILL unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child=KILL \
        "${BASH_SOURCE[0]}" --begin
) </dev/null >"$base/log" 2>&1 &
starter=$!

inside() { nsenter -t "$first" -m -u -i -n -p -C -- "$@"; }

for _ in {1..600}; do
    kill -0 "$starter" 2>/dev/null || cannot "the boot failed: $(<"$base/log")"
    candidate=$(pgrep -P "$starter" || :)
    if [[ -n $candidate && -S /proc/$candidate/root/run/systemd/private ]]; then
        first=$candidate
        break
    fi
    sleep .05
done
[[ -n $first ]] || cannot "no systemd within 30 s: $(<"$base/log")"
# "degraded" is good enough: some unit of this machine does not like it here.
inside timeout 60 systemctl is-system-running --wait >/dev/null || :
printf '%s\n' "$first"
cat >/dev/null
