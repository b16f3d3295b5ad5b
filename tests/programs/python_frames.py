# SPDX-License-Identifier: Apache-2.0
"""weft.py without a parent: the golden frames, and random tasks against a model, for each kind of handler.

    PYTHONPATH=examples/workers/python python3 tests/programs/python_frames.py tests/golden/worker_frames.json
"""
import functools
import gc
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings

import weft
import zmq


def golden():
    with open(sys.argv[1], encoding="utf-8") as file:
        return json.load(file)


def frame_of(name):
    return next(bytes.fromhex(frame["hex"]) for frame in golden()["frames"] if frame["name"] == name)


def bytes_of(text):
    return None if text is None else bytes.fromhex(text)


class Pipe:
    """A socket that gives what it was given, and keeps what it was sent."""

    def __init__(self):
        self.given, self.sent = [], []

    def send(self, frame):
        self.sent.append(bytes(frame))

    def recv(self, flags=0):
        if not self.given:
            raise zmq.Again()
        return self.given.pop(0)


def worker(function, style):
    made = weft._Worker(function, style)
    made.socket, made.heartbeat, made.is_open = Pipe(), 1000, True
    made.heard = made.looked = time.monotonic()
    return made


# --- golden frames


def golden__hello_and_short_frames__written_as_they_stand():
    hello = next(frame["hello"] for frame in golden()["frames"] if frame["name"] == "hello")
    written = weft._hello(hello["pid"], hello["flags"], bytes.fromhex(hello["token"]), hello["name"].encode())
    assert written == frame_of("hello"), written.hex()
    assert weft._frame(weft.PONG, task=12) == frame_of("pong")
    assert weft._frame(weft.BYE) == frame_of("bye")
    assert weft._frame(weft.LOG, count=1, body=b"almost full") == frame_of("log")


def golden__every_frame__opened():
    for number, frame in enumerate(golden()["frames"], 1):
        kind, count, task = weft._open(bytes.fromhex(frame["hex"]))
        assert kind == number, frame["name"]
        assert task == frame.get("task", task), frame["name"]
        assert count == frame.get("level", count), frame["name"]
        if "text" in frame:
            assert weft._text(bytes.fromhex(frame["hex"])) == frame["text"]


def golden__headers_that_break_a_rule__refused():
    names = ["short", "other_magic", "other_version", "type_0", "type_12", "zero_not_zero"]
    refused = {frame["name"]: bytes.fromhex(frame["hex"]) for frame in golden()["refused"]}
    for name in names:
        try:
            weft._open(refused[name])
        except weft._Nonsense:
            continue
        raise AssertionError(name)


def golden__work__read_as_records():
    expected = next(frame["records"] for frame in golden()["frames"] if frame["name"] == "work")
    seen = []
    made = worker(seen.append, "record")
    made.topics = {3: "three", 4: "four"}
    made.socket.given = [frame_of("work")]
    made.look()
    made.run_task(made.tasks.popleft())
    assert len(seen) == len(expected)
    for record, wanted in zip(seen, expected):
        assert record.offset == wanted["offset"] and record.timestamp_ms == wanted["timestamp_ms"]
        assert record.topic == made.topics[wanted["topic"]] and record.partition == wanted["partition"]
        assert record.key == bytes_of(wanted["key"]) and record.value == bytes_of(wanted["value"])
        assert record.headers == [(name, bytes_of(value)) for name, value in wanted["headers"]]
        assert record.attempt == wanted["attempt"]


def golden__done__written_as_it_stands():
    entries = next(frame["entries"] for frame in golden()["frames"] if frame["name"] == "done")
    task = weft._Task(9, 3, frame_of("work"))
    for index, entry in enumerate(entries):
        if entry["status"]:
            task.marks[index] = (entry["status"], entry["reason"].encode())
    task.ended = 3
    assert bytes(task.report()) == frame_of("done")


def golden__work_that_breaks_a_rule__refused():
    frames = golden()["refused_by_workers"]
    for frame in frames:
        whole = bytes.fromhex(frame["hex"])
        try:
            weft._Task(9, weft._open(whole)[1], whole)
        except weft._Nonsense:
            continue
        raise AssertionError(frame["name"])
    assert len(frames) > 6


def frames_on_the_page():
    """What the page's examples are: the hexadecimal digits in front of three blanks, a frame for each paragraph."""
    page = os.path.join(os.path.dirname(sys.argv[1]), "..", "..", "docs", "worker-protocol.md")
    with open(page, encoding="utf-8") as file:
        blocks = file.read().split("### Bytes, for example")[1].split("```")[1:4:2]
    found = []
    for paragraph in "\n".join(blocks).strip().split("\n\n"):
        digits = "".join(line.split("   ")[0] for line in paragraph.strip().splitlines()).replace(" ", "")
        found.append(bytes.fromhex(digits.replace("...", bytes(range(4, 28)).hex())))
    return found


def page__bytes_of_the_example__are_what_it_says_they_are():
    hello, welcome, topic, work, done = frames_on_the_page()
    assert (hello, welcome, topic) == (frame_of("hello"), frame_of("welcome"), frame_of("topic"))
    seen = []
    made = worker(seen.append, "record")
    made.socket.given = [topic, work]
    made.look()
    made.run_task(made.tasks.popleft())
    (record,) = seen
    assert (record.topic, record.partition, record.offset) == ("orders", 2, 4294967296)
    assert (record.key, record.value, record.headers) == (b"k1", b"hello", [])
    assert (record.timestamp_ms, record.attempt) == (1700000000123, 1)
    task = weft._Task(9, 1, work)
    task.marks[0], task.ended = (weft.FAILURE, b"kaputt"), 1
    assert bytes(task.report()) == done


def work__cut_at_any_byte__refused():
    whole = frame_of("work")
    for size in range(weft.HEADER.size, len(whole)):
        try:
            weft._Task(9, 3, whole[:size])
        except weft._Nonsense:
            continue
        raise AssertionError(f"cut to {size}")


# --- random tasks


def make_task(chance, number):
    """A WORK, and for each record its offset, lane, key, value, and whether its handler fails."""
    entries, data, records, lane = [], b"", [], 0
    for index in range(chance.randint(1, 40)):
        lane = lane if chance.random() < 0.5 else weft.ANY_ORDER if chance.random() < 0.2 else index
        key = None if chance.random() < 0.2 else b"k" * chance.randint(0, 3)
        fails = chance.random() < 0.2
        value = None if chance.random() < 0.1 else (b"fail" if fails else b"v" * chance.randint(0, 3))
        records.append((1000 + 7 * index, lane, key, value, value == b"fail"))
        sizes = [-1 if part is None else len(part) for part in (key, value)]
        entries.append(weft.RECORD.pack(1000 + 7 * index, 0, 1, 0, *sizes, 0, 0, 1, len(data), lane))
        data += (key or b"") + (value or b"")
    return weft._frame(weft.WORK, len(entries), number, b"".join(entries) + data), records


def model(records):
    """Offset and status of each, and what the handler sees."""
    closed, told, seen = set(), [], []
    for offset, lane, key, value, fails in records:
        if lane in closed:
            told.append((offset, weft.UNRUN))
            continue
        seen.append((key, value))
        told.append((offset, weft.FAILURE if fails else weft.SUCCESS))
        if fails and lane != weft.ANY_ORDER:
            closed.add(lane)
    return told, seen


def read_done(frames, number):
    told = []
    for frame in frames:
        kind, count, task = weft._open(frame)
        assert (kind, task) == (weft.DONE, number)
        reasons = 0
        for index in range(count):
            offset, status, zeros, size = weft.struct.unpack_from("<qB3sI", frame, 16 + 16 * index)
            assert zeros == bytes(3) and (size > 0) == (status == weft.FAILURE)
            told.append((offset, status))
            reasons += size
        assert len(frame) == 16 + 16 * count + reasons
    return told


def handler_of(style, seen):
    def one(key, value):
        seen.append((key, value))
        if value == b"fail":
            raise ValueError("told to")

    def batch(records):
        errors = []
        for record in records:
            seen.append((record.key, record.value))
            errors.append(ValueError("told to") if record.value == b"fail" else None)
        return errors

    return {"record": lambda record: one(record.key, record.value), "bytes": one, "batch": batch,
            "values": lambda value: one(None, value)}[style]


def run_random_tasks(style, look_seconds):
    """With looks between all records, and with none."""
    weft.LOOK_SECONDS = look_seconds
    chance = random.Random(4711)
    for number in range(300):
        frame, records = make_task(chance, number)
        seen = []
        made = worker(handler_of(style, seen), style)
        made.topics = {1: "t"}
        made.socket.given = [frame]
        made.look()
        made.run_task(made.tasks.popleft())
        told, expected = model(records)
        assert read_done(made.socket.sent, number) == told, f"task {number}"
        if style == "values":
            expected = [(None, value) for _, value in expected]
        if style == "batch":  # rounds: another order, but the same in each lane
            seen, expected = sorted(seen, key=repr), sorted(expected, key=repr)
        assert seen == expected, f"task {number}"


def random_tasks__records__as_the_model():
    run_random_tasks("record", 0)
    run_random_tasks("record", 1000)


def random_tasks__keys_and_values__as_the_model():
    run_random_tasks("bytes", 0)
    run_random_tasks("bytes", 1000)


def random_tasks__values__as_the_model():
    run_random_tasks("values", 0)
    run_random_tasks("values", 1000)


def random_tasks__batches__as_the_model():
    run_random_tasks("batch", 0)


def cancel__between_two_records__the_rest_is_unrun():
    weft.LOOK_SECONDS = 0
    for style in ("record", "bytes", "values"):
        chance, seen = random.Random(5), []
        frame, records = make_task(chance, 7)
        made = worker(handler_of(style, seen), style)
        made.topics = {1: "t"}
        made.socket.given = [frame]
        made.look()
        made.socket.given = [weft._frame(weft.CANCEL, task=7)]
        made.run_task(made.tasks.popleft())
        told = read_done(made.socket.sent, 7)
        assert len(seen) == 1 and [offset for offset, _ in told] == [record[0] for record in records]
        assert all(status == weft.UNRUN for _, status in told[1:])


# --- what users see


def reason__of_an_exception__type_and_text_cut_between_characters():
    task = weft._Task(9, 3, frame_of("work"))
    task.fail(0, ValueError("\u00e4" * 300))
    reason = task.marks[0][1]
    assert reason.decode().startswith("ValueError: \u00e4") and 250 < len(reason) <= 255


def reason__of_an_exception_that_has_no_text__its_type():
    class Wordless(Exception):
        def __str__(self):
            return "order " + self.args[1]

    task = weft._Task(9, 3, frame_of("work"))
    task.fail(0, Wordless())
    assert task.marks[0] == (weft.FAILURE, b"Wordless, which can't be shown"), task.marks


def fork__in_a_handler__sigterm_ends_the_child_and_not_the_worker():
    made = worker(print, "record")
    made.poller = zmq.Poller()
    made.listen_to_signals()
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM, status
    assert not made.stopping
    os.kill(os.getpid(), signal.SIGTERM)
    assert made.stopping


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def reason__of_an_exception_without_a_text__its_type():
    task = weft._Task(9, 3, frame_of("work"))
    task.fail(0, Mute())
    assert task.marks[0] == (weft.FAILURE, b"Mute, which can't be shown")
    made = worker(lambda records: [Mute(), "no", None], "batch")
    for index, error in enumerate(made.call_batch([None] * 3)[:2]):
        task.fail(index, error)
    assert [task.marks[index][1] for index in (0, 1)] == [b"Mute, which can't be shown", b"ValueError: no"]
    made = worker(lambda records: [Mute, object.__new__(type("Odd", (), {"__str__": Mute.__str__})), None], "batch")
    answers = made.call_batch([None] * 3)
    task.fail(1, answers[1])
    assert task.marks[1][1] == b"ValueError, which can't be shown"
    assert answers[2] is None, "one without a text fails alone"


def log__of_the_handler_and_of_another_thread__reaches_weft_in_order():
    weft._worker = made = worker(print, "record")
    logger = logging.Logger("test")
    logger.addHandler(weft.LogHandler())
    logger.error("one %d", 1)
    thread = threading.Thread(target=logger.debug, args=("two \u00e4" + "x" * 5000,))
    thread.start()
    thread.join()
    assert len(made.socket.sent) == 1, "a socket belongs to one thread"
    made.look()
    weft._worker = None
    first, second = made.socket.sent
    assert weft._open(first)[:2] == (weft.LOG, 0) and weft._text(first) == "one 1"
    assert weft._open(second)[:2] == (weft.LOG, 3) and weft._text(second).startswith("two \u00e4xx")
    assert len(second) == weft.HEADER.size + weft.LINE_BYTES


def handler__two_of_them__refused():
    weft._chosen = None
    weft.handler(print)
    try:
        weft.values_handler(print)
    except RuntimeError:
        return
    finally:
        weft._chosen = None
    raise AssertionError("two handlers were taken")


async def never_awaited(*given):
    raise AssertionError("nobody awaits it")


def never_asked(*given):
    yield given


async def neither(*given):
    yield given


def class_that_calls(function):
    return type("Caller", (), {"__call__": function})


def handler__whose_body_would_never_run__refused_by_its_name():
    weft._chosen = None
    for function in (never_awaited, never_asked, neither):
        call = class_that_calls(function)()
        for one in (function, functools.partial(function, 1), call, functools.partial(call, 1), call.__call__):
            for choose in (weft.handler, weft.values_handler, weft.bytes_handler, weft.batch_handler):
                try:
                    choose(one)
                except TypeError as error:
                    name = "Caller" if isinstance(getattr(one, "func", one), type(call)) else function.__name__
                    assert name in str(error) and "asyncio.run()" in str(error), error
                    continue
                raise AssertionError(f"{one} was taken")
    for one in (print, handler_of, functools.partial(print, 1), class_that_calls(lambda self: None)(), weft.Record):
        weft.handler(one)
        weft._chosen = None


def handler__that_returns_what_has_not_run__fails_every_record():
    weft.LOOK_SECONDS = 1000
    frame, _ = make_task(random.Random(5), 7)
    _, count, _ = weft._open(frame)
    for function in (never_awaited, never_asked, neither):
        for style in ("record", "bytes", "values", "batch"):
            made = worker(lambda *given: function(*given), style)
            made.topics = {1: "t"}
            made.socket.given = [frame]
            made.look()
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                made.run_task(made.tasks.popleft())
                gc.collect()
            (done,) = made.socket.sent
            told = [status for _, status in read_done([done], 7)]
            assert len(told) == count and weft.SUCCESS not in told and weft.FAILURE in told, (function, style)
            assert b"TypeError: the handler returned what has not run yet" in done and b"asyncio.run()" in done
            assert not warned, [str(one.message) for one in warned]


def main():
    tests = [(name, test) for name, test in globals().items() if "__" in name and not name.startswith("_")]
    failed = 0
    for name, test in tests:
        try:
            test()
        except Exception as error:
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
