# SPDX-License-Identifier: Apache-2.0
"""The worker protocol and nothing else, as a model for a worker in another language; the numbers are the rules of
docs/worker-protocol.md. Users of Python take ../python/weft.py, which is faster and can do more.

Its handler is that of weft-worker-check without log and cancel: --skip log --skip cancel_running --skip word
"""
import os
import struct
import sys
import time

import zmq

HELLO, WELCOME, REFUSED, TOPIC, WORK, DONE, CANCEL, PING, PONG, BYE = range(1, 11)
SUCCESS, FAILURE, UNRUN = range(3)
topics, tasks, cancelled = {}, [], set()
heartbeat, heard, looked, goodbye = 30, time.monotonic(), 0, False


def die(status, why):
    socket.linger = 0
    print(f"worker: {why}", file=sys.stderr)
    sys.exit(status)


def send(kind, count=0, task=0, body=b""):
    socket.send(struct.pack("<IBBHII", 0x31544657, 1, kind, 0, count, task) + body)


def on_frame(frame):
    global heartbeat, goodbye
    magic, version, kind, zero, count, task = struct.unpack_from("<IBBHII", frame.ljust(16, b"\0"))
    if (magic, version, zero) != (0x31544657, 1, 0) or kind not in (WELCOME, REFUSED, TOPIC, WORK, CANCEL, PING, BYE):
        die(3, "weft sent what I don't understand")  # 14
    if kind == WELCOME:
        heartbeat = struct.unpack_from("<I", frame, 20)[0] / 1000
    elif kind == REFUSED:
        die(2, frame[16:].decode())  # 3
    elif kind == TOPIC:
        topics[task] = frame[16:].decode()
    elif kind == WORK:
        tasks.append((task, read_work(frame, count)))
    elif kind == PING:
        send(PONG, 0, task)  # 9
    elif kind == CANCEL and any(number == task for number, _ in tasks):
        cancelled.add(task)  # 10
    elif kind == BYE:
        goodbye = True  # 11


def read_work(frame, count):
    """Offset, lane, topic and the arguments of handle() for each record."""
    base = used = 16 + 48 * count
    records = []
    for at in range(16, base, 48):
        if base > len(frame):
            die(3, "weft sent a WORK that is too short")
        entry = struct.unpack_from("<qqIiiiIHHII", frame, at)
        offset, timestamp, topic, partition, key, value, headers_bytes, headers, attempt, begin, lane = entry
        parts = []
        for size in (key, value):
            parts.append(None if size < 0 else frame[used : used + size])
            used += max(size, 0)
        parts.append(read_headers(frame[used : used + headers_bytes], headers))
        used += headers_bytes
        if used > len(frame) or topic not in topics:
            die(3, "weft sent a WORK that makes no sense")
        records.append((offset, lane, (topics[topic], partition, offset, timestamp, attempt, *parts)))
    return records


def read_headers(data, count):
    found = []
    for _ in range(count):
        name, value = struct.unpack_from("<Ii", data)
        behind = 8 + name + 1
        found.append((data[8 : 8 + name].decode(), None if value < 0 else data[behind : behind + value]))
        data = data[behind + max(value, 0) :]
    return found


def look(wait_ms=0):
    global heard, looked
    while socket.poll(wait_ms):
        on_frame(socket.recv())
        heard, wait_ms = time.monotonic(), 0
    looked = time.monotonic()
    if looked - heard > 5 * heartbeat:
        die(3, "weft is gone")  # 13


def run_task(task, records):
    closed = None
    for offset, lane, arguments in records:  # 5
        status, reason = SUCCESS, b""
        if task in cancelled or lane == closed:
            status = UNRUN  # 6, 10
        else:
            try:
                handle(*arguments)
            except Exception as error:
                status, reason = FAILURE, str(error).encode()[:255].decode(errors="ignore").encode()
                closed = lane if lane != 4294967295 else closed
        send(DONE, 1, task, struct.pack("<qB3xI", offset, status, len(reason)) + reason)  # 7, 8
        if time.monotonic() - looked >= 0.001:
            look()
    cancelled.discard(task)


def handle(topic, partition, offset, timestamp, attempt, key, value, headers):
    data = lambda found: "null" if found is None else f"{len(found)}:{sum(found)}"
    if topic == "echo":
        names = ",".join(f"{name}={data(found)}" for name, found in headers)
        raise ValueError(f"echo/{partition}/{offset} t={timestamp} a={attempt} k={data(key)} v={data(value)} h={names}")
    if topic == "fail":
        raise ValueError(value.decode())
    if topic == "sleep":
        time.sleep(int(value) / 1000)


socket = zmq.Context().socket(zmq.DEALER)
if "WEFT_SOCKET" not in os.environ:
    die(1, "WEFT_SOCKET is not set")
token = os.environ.get("WEFT_TOKEN") or open(os.environ["WEFT_TOKEN_FILE"]).read(64)
name = os.environ.get("WEFT_WORKER", "").encode()
socket.connect("ipc://" + os.environ["WEFT_SOCKET"])
send(HELLO, body=struct.pack("<HHIII", 1, 1, os.getpid(), 0, len(name)) + bytes.fromhex(token) + name)  # 2
while tasks or not goodbye:
    look(0 if tasks else int(heartbeat * 1000))
    if tasks:
        run_task(*tasks[0])
        tasks.pop(0)
