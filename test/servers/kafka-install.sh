#!/bin/sh
# Copies the jars of a Kafka broker from Maven Central into a cache folder of this user. It needs Java 17 or newer and Maven,
# and 43 MB. Nothing else on the machine changes.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/replication-lag-kafka
if [ -e "$cache/libs/kafka_2.13-4.4.0.jar" ]; then
  echo "Kafka is in $cache/libs"
  exit 0
fi
for program in java mvn; do
  command -v "$program" >/dev/null || { echo "Kafka: $program is missing" >&2; exit 1; }
done
pom=$(cd "$(dirname "$0")" && pwd)/kafka/pom.xml
mkdir -p "$cache"
work=$(mktemp -d "$cache/work-XXXXXX")
trap 'rm -rf "$work"' EXIT
mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/libs"
rm -rf "$cache/libs"
mv "$work/libs" "$cache/libs"
echo "Kafka is in $cache/libs"
