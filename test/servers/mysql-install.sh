#!/bin/sh
# Unpacks the MySQL server of Debian unstable, with all its libraries, into a cache folder of this user. Nothing else on the
# machine changes: apt's own client and signatures are used, with settings and lists of their own. It takes about 350 MB.
# It needs Debian or a relative on x86-64. If the archive has no MySQL today, it says so, and its exit code is 1.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/replication-lag-mysql
if [ -x "$cache/root/usr/sbin/mysqld" ]; then
  echo "MySQL is in $cache/root"
  exit 0
fi
[ "$(dpkg --print-architecture)" = amd64 ] || { echo 'MySQL: not for this architecture' >&2; exit 1; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/work-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/state" "$work/root"
: >"$work/status"

# The archive that this machine already uses.
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "MySQL: apt has no archive" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources.list"

apt() {
  apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/none" \
    -o "Dir::State=$work/state" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" \
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}
if ! apt update || ! apt -y --download-only --no-install-recommends install mysql-server-core; then
  echo 'MySQL: mysql-server-core cannot be fetched from Debian unstable today' >&2
  exit 1
fi
for package in "$work"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/root" \
    --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./usr/share/man --exclude='./usr/share/perl*'
done
rm -rf "$cache/root"
mv "$work/root" "$cache/root"
echo "MySQL is in $cache/root"
