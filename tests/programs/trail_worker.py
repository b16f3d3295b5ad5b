# SPDX-License-Identifier: Apache-2.0
"""tests/programs/trail_worker.c in Python: the same entries, the same deaths."""
import ctypes
import logging
import os
import re
import signal
import struct
import time

import weft

ENTRY = struct.Struct("<IiqQiI")  # trail_entry
BEGIN, DONE, FAILED = 1, 2, 3

trail = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND)
work_seconds = int(os.environ.get("TRAIL_US", "0")) / 1e6


def suffer(what):
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "abort":
        os.abort()
    elif what == "exit":
        os._exit(0)
    elif what == "segv":
        os.write(2, b"about to fall\nfalling\n")
        ctypes.string_at(1)
    elif what == "oom":
        try:
            eaten = [bytearray(1 << 24) for _ in range(1 << 16)]
            del eaten
        except MemoryError:
            os.write(2, b"no memory\n")
            os.abort()
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "hang":
        logging.warning("hanging")
    while what in ("hang", "deaf"):
        time.sleep(1)


def work(record):
    if record.value == b"quiet":
        return
    key = record.key or b""
    number = int(key[1:]) + key[0] * 1000 if len(key) > 1 else 0
    entry = (os.getpid(), record.offset, number, record.partition, record.attempt)
    os.write(trail, ENTRY.pack(BEGIN, *entry))
    match = re.match(rb"([a-z]+) (\d+)", (record.value or b"")[:31])
    applies = match and record.attempt <= int(match[2])
    if applies and match[1] != b"fail":
        suffer(match[1].decode())
    if work_seconds:
        time.sleep(work_seconds)
    if record.value == b"slow":
        time.sleep(0.002)
    os.write(trail, ENTRY.pack(FAILED if applies else DONE, *entry))
    if applies:
        raise RuntimeError(f"told to fail {match[2].decode()} times")


def work_all(records):
    errors = []
    for record in records:
        try:
            work(record)
            errors.append(None)
        except RuntimeError as error:
            errors.append(error)
    return errors


if os.environ.get("TRAIL_BATCH"):
    weft.batch_handler(work_all)
else:
    weft.handler(work)
weft.run()
