#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# systemd.sh BUILD SOURCE: the units of examples/deploy under a systemd of their own, which is process 1 of a namespace.
# It sees this machine's files, with /run, /etc and /usr/local/bin as copies that nobody else sees, and runs nothing but
# a broker, the service and the steps below. Whatever happens, it all ends with this script.
#
# Status 0: all steps went well; 77: not to be had here (not root, no systemd, no namespaces); otherwise what went wrong is
# printed.
set -u

skip() { echo "skipped: $1"; exit 77; }

# --- outside

outside() { # build source
    local log status=1 machine tries
    [ "$(id -u)" -eq 0 ] || skip "not root"
    [ -x /lib/systemd/systemd ] || skip "no systemd"
    unshare --kill-child -mpfiu --mount-proc true 2>/dev/null || skip "no namespaces"
    log=$(mktemp)
    unshare --kill-child -mpfiu --mount-proc bash "$0" inside "$1" "$2" "$log" >"$log.boot" 2>&1 </dev/null &
    machine=$!
    trap 'kill -KILL "$machine" 2>/dev/null' EXIT # process 1 of the namespace goes with its parent
    for tries in {1..750}; do
        kill -0 "$machine" 2>/dev/null && ! grep -q '^END ' "$log" || break
        sleep 0.2
    done
    grep -q '^END 0' "$log" && status=0
    grep -q '^skipped: ' "$log" && status=77
    [ "$tries" -lt 750 ] || echo "it takes too long"
    cat "$log"
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || cat "$log.boot"
    rm -f "$log" "$log.boot"
    exit "$status"
}

# --- inside, before systemd

inside() { # build source log
    local build=$1 source=$2 log=$3 units=/run/systemd/system
    { mount --make-rprivate / && mount -t tmpfs tmpfs /run && umount -R /sys/fs/cgroup &&
        mount -t cgroup2 none /sys/fs/cgroup && mkdir -p "$units" /run/upper /run/work &&
        mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc &&
        mount -t tmpfs -o mode=755 tmpfs /usr/local/bin; } ||
        { echo "skipped: mounts are not allowed" >>"$log"; exit 1; }
    cp "$build"/bin/{weft-sidecar,orders,count_words,with_broker} "$0" /usr/local/bin/
    cp "$source"/examples/deploy/{weft-sidecar,orders}.service "$units/"
    mkdir -p /etc/weft "$units"/{weft-sidecar,orders}.service.d
    cp "$source/examples/deploy/weft-sidecar.conf" /etc/weft/sidecar.conf
    useradd --system weft 2>/dev/null
    # No network to wait for; and a watchdog for people who are in a hurry.
    printf '%s\n' '[Unit]' DefaultDependencies=no Wants= After= '[Service]' WatchdogSec=8 RestartSec=1 \
        StandardOutput=append:/run/said StandardError=append:/run/said |
        tee "$units"/{weft-sidecar,orders}.service.d/here.conf >/dev/null
    printf '%s\n' '[Unit]' DefaultDependencies=no 'Wants=broker.service steps.service' >"$units/here.target"
    printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' StandardOutput=null \
        "ExecStart=/usr/local/bin/with_broker --records 3000 -- \\" \
        "  sh -c 'echo \$\$WEFT_BOOTSTRAP_SERVERS >/run/broker; sleep 170'" \
        >"$units/broker.service"
    printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' Type=oneshot "StandardOutput=append:$log" \
        "StandardError=append:$log" "ExecStart=/bin/bash /usr/local/bin/systemd.sh steps" >"$units/steps.service"
    exec env container=other /lib/systemd/systemd --system --unit=here.target --log-target=console
}

# --- inside, under systemd

unit= # of which the steps are

show() { systemctl show "$unit" --value -p "$1"; }
page() { curl -s "$(sed -n 's/.* metrics on //p' /run/said | tail -n 1)"; }
done_records() { page | awk '/^consumer_processed_total.*success/ { sum += $2 } END { print sum + 0 }'; }

await() { # what command...: until it succeeds
    local what=$1 i
    shift
    for i in {1..200}; do
        "$@" && { echo "$what"; return; }
        sleep 0.1
    done
    echo "NOT SO: $what"
    echo "$unit"; show Result; show StatusText; tail -n 20 /run/said
    echo "END 1"
    exit 1
}

has_broker() { [ -s /run/broker ]; }
is_done() { [ "$(done_records)" -eq "$1" ]; }
has_begun() { [ "$(done_records)" -gt 0 ]; }
is_fed() { [[ $(show StatusText) == *"records read"* ]]; }
has_new_workers() { [ "$(page | sed -n 's/^consumer_worker_starts_total //p')" -ge 4 ]; }
is_restarted() { [ "$(show NRestarts)" -eq 1 ] && [ "$(show ActiveState)" = active ]; }
is_alone() { [ "$(show NRestarts)" -eq 0 ] && [ "$(show ActiveState)" = active ]; }
is_stopped() { [ "$(show ActiveState) $(show Result) $(show ExecMainStatus)" = "inactive success 0" ]; }

starts() {
    await "started, and says so" systemctl start "$unit"
    await "runs as the user weft" grep -q "^Uid:[[:space:]]*$(id -u weft)" "/proc/$(show MainPID)/status"
}

is_watched_and_stops() {
    kill -STOP "$(show MainPID)"
    await "the watchdog restarts what hangs" is_restarted
    stops
}

stops() {
    await "stops" systemctl stop "$unit"
    await "in order" is_stopped
}

sidecar_steps() {
    unit=weft-sidecar
    sed -i "s|^bootstrap.servers.*|bootstrap.servers = $(cat /run/broker)|; s|^workers.*|workers = 2|;
        s|^worker.command.*|worker.command = /usr/local/bin/count_words|; s|^group.id.*|group.id = sidecar|;
        s|^metrics.port.*|metrics.port = 0|" /etc/weft/sidecar.conf
    # What makes a consumer quick on that broker.
    printf '%s\n' 'kafka.fetch.wait.max.ms = 10' 'kafka.session.timeout.ms = 6000' \
        'kafka.heartbeat.interval.ms = 200' >>/etc/weft/sidecar.conf
    chown root:weft /etc/weft/sidecar.conf && chmod 640 /etc/weft/sidecar.conf
    starts
    await "every record is done" is_done 3000
    await "feeds the watchdog, with a status" is_fed
    await "reloads" systemctl reload "$unit"
    await "has new workers" has_new_workers
    await "was not restarted" is_alone
    is_watched_and_stops
}

# One thread, and a millisecond for each record: it is stopped in the middle of its work.
orders_steps() {
    local handled
    unit=orders
    printf '%s\n' WEFT_THREADS=1 WEFT_TICK_MS=100 WEFT_LOG_LEVEL=info METRICS_ENABLED=true METRICS_PORT=0 \
        WEFT_KAFKA_FETCH_WAIT_MAX_MS=10 WEFT_KAFKA_SESSION_TIMEOUT_MS=6000 \
        WEFT_KAFKA_HEARTBEAT_INTERVAL_MS=200 >/etc/weft/orders.env
    sed -i "s|localhost:9092|$(cat /run/broker) --work-us 1000|" /run/systemd/system/orders.service
    systemctl daemon-reload
    starts
    await "has begun" has_begun
    stops
    handled=$(sed -n 's/^records  *\([0-9]*\)$/\1/p' /run/said | tail -n 1)
    await "was in the middle: $handled records" test "$handled" -gt 0 -a "$handled" -lt 3000
    starts
    await "the others are done, and no others" is_done $((3000 - handled))
    await "feeds the watchdog, with a status" is_fed
    await "was not restarted" is_alone
    is_watched_and_stops
}

steps() {
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    await "the broker is there" has_broker
    sidecar_steps
    orders_steps
    echo "END 0"
}

case $1 in
inside) inside "$2" "$3" "$4" ;;
steps) steps ;;
*) outside "$1" "$2" ;;
esac
