#!/bin/sh
# Unpacks packages of Debian unstable, each with all its libraries, into a cache folder of this user:
#   sh test/servers/unpack-unstable.sh redis-server valkey-server
# The tests run such servers in addition to those of this machine, because those of a stable Debian are old. Nothing else on
# the machine changes: apt's own client and signatures are used, with settings and lists of their own. A server takes 50 to
# 350 MB. It needs Debian or a relative on x86-64. What cannot be had today is left out, with one line that says so.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/replication-lag-e2e/unstable
mkdir -p "$cache"
skip() {
  echo "$1 is left out: $2. Its tests will be skipped."
}

missing=
for package in "$@"; do
  if [ -d "$cache/$package" ]; then
    echo "$package is in $cache/$package"
  elif [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ]; then
    skip "$package" 'this is not Debian on x86-64'
  else
    missing="$missing $package"
  fi
done
[ -n "$missing" ] || exit 0

work=$(mktemp -d "$cache/work-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/state"
: >"$work/status"

# The archive that this machine already uses.
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources.list"

apt() {
  apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/none" \
    -o "Dir::State=$work/state" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" \
    -o "Dir::Cache=$work/$package" -o APT::Sandbox::User= -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}
package=update
apt update || echo 'Debian unstable cannot be reached.'

for package in $missing; do
  mkdir -p "$work/$package/archives/partial" "$work/$package/root"
  if ! apt -y --download-only --no-install-recommends install "$package" 2>"$work/errors"; then
    skip "$package" 'Debian unstable does not have it today'
    continue
  fi
  for file in "$work/$package"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$file" | tar -x -C "$work/$package/root" \
      --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./usr/share/man --exclude='./usr/share/perl*'
  done
  mv "$work/$package/root" "$cache/$package"
  rm -rf "${work:?}/$package"
  echo "$package is in $cache/$package"
done
