#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# broker.sh: a real Apache Kafka for tests and benchmarks, one process, loopback only.
#
#   broker.sh fetch                              get Kafka once, into ${WEFT_TEST_CACHE:-~/.cache/weft}
#   broker.sh start [--sasl] [port] [name=value ...]
#                                                start one on this port (default: a free one), with more server properties
#   broker.sh stop PID_FILE                      end it and delete its data
#   broker.sh restart PID_FILE                   end it in order and start it again on its data and its ports
#
# `start` prints two or three lines for eval: bootstrap=HOST:PORT, pid_file=PATH, and with --sasl sasl_bootstrap=HOST:PORT
# (SASL/PLAIN, user "weft", password "weft-secret"). Needs java (17) and, for `fetch`, mvn; asks with kcat whether the broker is up.
set -euo pipefail

version=4.1.0
cache=${WEFT_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}
jars=$cache/kafka-$version
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

say() { echo "broker.sh: $*" >&2; }
die() { say "$*"; exit 1; }

fetch() {
    [ -d "$jars" ] && return
    command -v mvn >/dev/null || die "mvn is missing (Debian: maven)"
    mkdir -p "$cache"
    local work
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weft</groupId>
  <artifactId>test-broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version>
  </plugin></plugins></build>
</project>
POM
    say "fetching Kafka $version"
    mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/jars" >"$work/log" 2>&1 ||
        { tail -20 "$work/log" >&2; rm -rf "$work"; die "could not fetch Kafka"; }
    # One rename: a folder that exists is complete. Where somebody else was faster, theirs stays.
    mv -T "$work/jars" "$jars" 2>/dev/null || true
    rm -rf "$work"
    [ -d "$jars" ] || die "could not write $jars"
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the system takes ports for outgoing connections.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((18000 + RANDOM % 14000))
        port_is_free "$port" && { echo "$port"; return; }
    done
    die "found no free port"
}

write_properties() { # directory port controller_port sasl_port|"" properties...
    local dir=$1 port=$2 controller=$3 sasl=$4
    shift 4
    local listeners="PLAINTEXT://127.0.0.1:$port" map="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
    if [ -n "$sasl" ]; then
        listeners+=",SASL://127.0.0.1:$sasl"
        map+=",SASL:SASL_PLAINTEXT"
    fi
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=$listeners,CONTROLLER://127.0.0.1:$controller
advertised.listeners=$listeners
listener.security.protocol.map=$map
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.ms=-1
log.retention.bytes=-1
log.initial.task.delay.ms=500
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=2097152
PROPERTIES
    if [ -n "$sasl" ]; then
        cat <<PROPERTIES
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_weft="weft-secret";
PROPERTIES
    fi
    # The last one of a name wins, so these override what is above.
    [ $# -eq 0 ] || printf '%s\n' "$@"
}

answers() { # port
    if command -v kcat >/dev/null; then
        timeout 5 kcat -L -b "127.0.0.1:$1" -m 2 >/dev/null 2>&1
    else
        ! port_is_free "$1"
    fi
}

launch() { # directory port
    local dir=$1 port=$2 pid
    # Leave the caller's terminal and descriptors alone: $(broker.sh start) must end when start does.
    setsid "$java" -Xms128m -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*" \
        kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
    echo "$pid" >"$dir/pid"
    for _ in {1..300}; do
        kill -0 "$pid" 2>/dev/null || { tail -20 "$dir/log" >&2; return 1; }
        answers "$port" && return
        sleep 0.1
    done
    say "no answer on port $port"
    tail -20 "$dir/log" >&2
    return 1
}

start() {
    local sasl="" port dir controller
    [ "${1:-}" = --sasl ] && { sasl=yes; shift; }
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then port=$1; shift; else port=$(free_port); fi
    port_is_free "$port" || die "port $port is taken"
    fetch
    controller=$(free_port)
    [ -z "$sasl" ] || sasl=$(free_port)
    dir=$(mktemp -d "${TMPDIR:-/tmp}/weft-kafka.XXXXXX")
    write_properties "$dir" "$port" "$controller" "$sasl" "$@" >"$dir/server.properties"
    echo "$port" >"$dir/port"
    if ! "$java" -Xmx128m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*" kafka.tools.StorageTool format \
        --cluster-id weft-tests-00000000000 --config "$dir/server.properties" >"$dir/log" 2>&1; then
        tail -20 "$dir/log" >&2
        rm -rf "$dir"
        die "could not format the storage"
    fi
    launch "$dir" "$port" || { stop "$dir/pid"; die "the broker did not start"; }
    echo "bootstrap=127.0.0.1:$port"
    echo "pid_file=$dir/pid"
    [ -z "$sasl" ] || echo "sasl_bootstrap=127.0.0.1:$sasl"
}

end_process() { # pid seconds: ask, then insist
    local pid=$1 tenths=$(($2 * 10))
    [ "$tenths" -eq 0 ] || kill "$pid" 2>/dev/null || return 0
    while [ "$tenths" -gt 0 ] && kill -0 "$pid" 2>/dev/null; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    kill -KILL "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

# The directory of a pid file that `start` wrote; anything else is refused, because `stop` deletes it.
broker_directory() {
    [ -f "${1:-}" ] && [ -f "$(dirname "$1")/server.properties" ] || die "no pid file of a broker: ${1:-(none given)}"
    dirname "$1"
}

stop() {
    local dir
    dir=$(broker_directory "${1:-}")
    [ -s "$dir/pid" ] && end_process "$(cat "$dir/pid")" 0
    rm -rf "$dir"
}

restart() {
    local dir
    dir=$(broker_directory "${1:-}")
    # In order, because a broker that was killed has to wait until its own old session is over (9 s).
    end_process "$(cat "$dir/pid")" 15
    launch "$dir" "$(cat "$dir/port")" || die "the broker did not come back"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
fetch | start | stop | restart) "$command" "$@" ;;
*) sed -n '4,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
