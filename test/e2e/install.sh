#!/usr/bin/env bash
# Installs the servers of `npm run test:e2e`: npm run e2e:install. It needs Debian or a relative; elsewhere, install them as
# you like. What is there already stays as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=()
need() {
  command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] || packages+=("$2")
}
need redis-server redis-server
need mariadbd mariadb-server
need rsync rsync
need nats-server nats-server
need etcd etcd-server
need prometheus prometheus
need promtool prometheus
need chromium chromium
need java default-jre-headless
need mvn maven

as_root=()
[[ $(id -u) == 0 ]] || as_root=(sudo)

echo 'This installs, where it is missing:'
echo "- with apt: ${packages[*]:-nothing}"
echo '- Kafka from Maven Central, current servers from Debian unstable, and, built by Go, Prometheus 3, VictoriaMetrics and an'
echo '  OpenTelemetry Collector, into ~/.cache. Nothing else on the machine changes.'

mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
if [[ -n ${packages[*]} ]]; then
  "${as_root[@]}" apt-get update -qq
  # Servers do not start by themselves: the tests start their own.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
sh test/servers/kafka-install.sh
# Current servers, next to those of this Debian. The archive does not have each of them every day.
sh test/servers/unpack-unstable.sh redis-server valkey-server mariadb-server-core mysql-server-core

# Builds take minutes the first time, and seconds from Go's cache.
bin=${XDG_CACHE_HOME:-$HOME/.cache}/replication-lag-e2e/bin
mkdir -p "$bin"
command -v go >/dev/null || { echo 'Go is missing: see https://go.dev/doc/install' >&2; exit 1; }
sh test/servers/etcd-install.sh
# In a copy, because Go adds the dependencies of the dependencies to go.mod, and their checksums. The versions are always the same.
collector=$(mktemp -d)
cp test/e2e/collector/* "$collector"
(cd "$collector" && go build -mod=mod -trimpath -ldflags '-s -w' -o "$bin/collector" .)
rm -r "$collector"
# What the Go module proxy calls v0.316.0 is Prometheus 3.16.0.
GOBIN=$bin go install -trimpath -tags remove_all_sd \
  -ldflags '-s -w -X github.com/prometheus/common/version.Version=3.16.0' \
  github.com/prometheus/prometheus/cmd/prometheus@v0.316.0
mv "$bin/prometheus" "$bin/prometheus-3"
# The second engine for the alert rules, which has VictoriaMetrics built in.
GOBIN=$bin go install -trimpath -ldflags '-s -w' \
  github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert-tool@v1.151.0
# Debian has NATS 2.9.
GOBIN=$bin go install -trimpath -ldflags '-s -w' github.com/nats-io/nats-server/v2@v2.15.2
echo 'All is installed.'
