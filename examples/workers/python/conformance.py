# SPDX-License-Identifier: Apache-2.0
"""The handler that weft-worker-check expects: what it does is in the topic's name (examples/worker_check/checks.h).

With the argument `batch` as a handler of batches, which is at several records at once: --skip cancel_running
"""
import logging
import sys
import time

import weft


def data(found):
    return "null" if found is None else f"{len(found)}:{sum(found)}"


def echo(record):
    headers = ",".join(f"{name}={data(value)}" for name, value in record.headers)
    return (
        f"{record.topic}/{record.partition}/{record.offset} t={record.timestamp_ms} a={record.attempt}"
        f" k={data(record.key)} v={data(record.value)} h={headers}"
    )


def wait():
    logging.info("waiting")
    for _ in range(5000):
        if weft.cancelled():
            return
        time.sleep(0.001)
    raise TimeoutError("nobody said that it should give up")


def handle(record):
    text = "" if record.value is None else record.value.decode("utf-8", "replace")
    if record.topic == "echo":
        raise ValueError(echo(record))
    if record.topic == "fail":
        raise ValueError(text)
    if record.topic == "log":
        logging.info("%s", text)
    elif record.topic == "sleep":
        time.sleep(int(text) / 1000)
    elif record.topic == "cancel":
        wait()


def handle_all(records):
    errors = []
    for record in records:
        try:
            errors.append(handle(record))
        except Exception as error:
            errors.append(error)
    return errors


logging.getLogger().setLevel(logging.INFO)
if sys.argv[1:] == ["batch"]:
    weft.run(batch=handle_all)
else:
    weft.run(handle)
