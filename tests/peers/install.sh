#!/bin/sh
# Installs the servers that tests talk to, from Debian. Safe to run again.
# usage: install.sh dovecot|gammu|kannel|postgresql|chromium ...
set -eu

packages=
for name in "$@"; do
    case $name in
    dovecot) packages="$packages dovecot-imapd" ;;
    gammu) packages="$packages gammu gammu-smsd libdbd-pgsql libdbd-sqlite3" ;;
    kannel) packages="$packages kannel kannel-extras" ;;
    postgresql) packages="$packages postgresql" ;;
    chromium) packages="$packages chromium" ;;
    *)
        echo "unknown peer: $name; known: dovecot gammu kannel postgresql chromium" >&2
        exit 2
        ;;
    esac
done
[ -n "$packages" ] || { echo "usage: $0 dovecot|gammu|kannel|postgresql|chromium ..." >&2; exit 2; }

missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

export DEBIAN_FRONTEND=noninteractive
# Tests start their own servers on free ports: a package must not start one of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing
