#!/usr/bin/env bash
# Fetches systemd 254 for box.sh, from Debian's backports to bookworm: prints the directory with the packages. Needs the
# network once; what is there already is not fetched again.
#
#   newer.sh DIRECTORY
set -euo pipefail

cache=$1
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
cd "$cache"
if ! compgen -G 'systemd_254*.deb' >/dev/null; then
    mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm-backports main\n' "$mirror" >list
    # Lists and packages of our own: nothing of this machine's is touched.
    options=(-qq -o "Dir::Etc::sourcelist=$cache/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$cache/lists"
        -o "Dir::Cache=$cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    apt-get "${options[@]}" download systemd libsystemd-shared libsystemd0 systemd-dev libnss-systemd >&2
fi
printf '%s\n' "$cache"
