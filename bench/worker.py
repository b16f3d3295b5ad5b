# SPDX-License-Identifier: Apache-2.0
"""The worker process of weft-bench --modes process --worker-language python | python-record.

    worker.py STYLE WORK NANOSECONDS ITERATIONS CHECK FAULT RECORD

As bench/worker.c: it reports results only, and with CHECK 1 looks whether the numbers of a key rise.
"""
import hashlib
import os
import select
import signal
import struct
import sys
import time

beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(beside, "examples", "workers", "python"), os.path.join(beside, "workers", "python")]
import weft  # noqa: E402

STAMP = struct.Struct("=QII")  # index, key, number
NONE, SLEEP, CPU, IO = range(4)
HANG, KILL = 3, 4

style = sys.argv[1]
kind, nanoseconds, iterations, checks, fault, fault_index = map(int, sys.argv[2:8])
seconds = nanoseconds / 1e9
after = {}


def spin(value):
    end = time.thread_time_ns() + nanoseconds
    while time.thread_time_ns() < end:
        pass


def hash_rounds(value):
    digest = b""
    for _ in range(iterations):
        digest = hashlib.sha256(digest + value).digest()


works = {
    NONE: None,
    SLEEP: lambda value: time.sleep(seconds),
    CPU: hash_rounds if iterations else spin,
    IO: lambda value: select.select([], [], [], seconds),
}
work = works[kind]


def checked(value):
    index, key, number = STAMP.unpack_from(value)
    if fault and index == fault_index:
        if fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        while fault == HANG:
            time.sleep(0.01)
    if checks:
        if number < after.get(key, 0):
            raise ValueError(f"out of order: key {key} number {number} after {after[key] - 1}")
        after[key] = number + 1
    if work:
        work(value)


# What has nothing to do does nothing: the figure is the engine's then.
if checks or fault:
    if style == "bytes":
        weft.bytes_handler(lambda key, value: checked(value))
    else:
        weft.handler(lambda record: checked(record.value))
elif style == "bytes":
    weft.bytes_handler((lambda key, value: work(value)) if work else (lambda key, value: None))
else:
    weft.handler((lambda record: work(record.value)) if work else (lambda record: (record.key, record.value) and None))
weft.run()
