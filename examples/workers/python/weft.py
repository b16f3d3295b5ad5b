# SPDX-License-Identifier: Apache-2.0
"""A worker process in Python, for consumers with engine = process. One file; needs pyzmq, Python 3.8 or later.

    import weft

    @weft.handler
    def handle(record):                 # an exception is a failure, with its text
        print(record.key, record.value)

    weft.run()

The handler is a plain function (no `async def`, no `yield`) of one of four kinds, given to run() or decorated:

    weft.run(handle)              @weft.handler          a Record
    weft.run(values=handle)       @weft.values_handler   the value, bytes or None, and nothing else: the fastest
    weft.run(key_values=handle)   @weft.bytes_handler    key and value, bytes or None
    weft.run(batch=handle)        @weft.batch_handler    a list of Records, no two of one ordering key

`logging` reaches weft's log, unless the program has set up handlers of its own: then add weft.LogHandler() to them.
SIGTERM ends the worker after what it has. The protocol is docs/worker-protocol.md.
"""
from __future__ import annotations

import collections
import functools
import inspect
import logging
import mmap
import operator
import os
import signal
import struct
import sys
import threading
import time
from typing import Callable, Deque, Dict, Iterator, List, MutableSequence, NoReturn, Optional, Sequence, Tuple, TypeVar

import zmq

__all__ = ["handler", "values_handler", "bytes_handler", "batch_handler", "run", "cancelled", "Record", "LogHandler"]

HEADER = struct.Struct("<IBBHII")  # magic, version, type, zero, count, task
HELLO_BODY = struct.Struct("<HHIII32s")  # lowest and highest version, pid, flags, bytes of the name, token
RECORD = struct.Struct("<qqIiiiIHHII")  # offset ... lane, 48 bytes
WELCOME_BODY = struct.Struct("<II")  # number of this worker, heartbeat in ms
NAME_SIZES = struct.Struct("<Ii")
UINT32 = struct.Struct("<I")
DONE_ENTRY = 16  # bytes: offset, status, three zeros, bytes of the reason

MAGIC, VERSION = 0x31544657, 1
HELLO, WELCOME, REFUSED, TOPIC, WORK, DONE, CANCEL, PING, PONG, BYE, LOG = range(1, 12)
SUCCESS, FAILURE, UNRUN = range(3)
ANY_ORDER = 0xFFFFFFFF
HAS_PROGRESS = 1
LOOK_SECONDS = 0.001  # between two looks at messages, and two reports
SILENT_HEARTBEATS = 5
REASON_BYTES, LINE_BYTES = 255, 4096
STATUS_ENVIRONMENT, STATUS_REFUSED, STATUS_GONE = 1, 2, 3


class Record(tuple):
    """A record of Kafka. key and value are bytes or None; headers is a list of (name, bytes or None)."""

    # A tuple (frame, begin, fields, topic): what takes longest about an object is to fill its attributes.
    __slots__ = ()

    topic: str = property(operator.itemgetter(3))  # type: ignore[assignment]
    offset: int = property(lambda self: self[2][0])  # type: ignore[assignment]
    timestamp_ms: int = property(lambda self: self[2][1], doc="Since 1970; -1: none.")  # type: ignore[assignment]
    partition: int = property(lambda self: self[2][3])  # type: ignore[assignment]
    attempt: int = property(lambda self: self[2][8], doc="1 for the first try.")  # type: ignore[assignment]

    @property
    def key(self) -> Optional[bytes]:
        frame, begin, fields, _ = self
        size = fields[4]
        return frame[begin : begin + size] if size >= 0 else None

    @property
    def value(self) -> Optional[bytes]:
        frame, begin, fields, _ = self
        key_bytes, size = fields[4], fields[5]
        if key_bytes > 0:
            begin += key_bytes
        return frame[begin : begin + size] if size >= 0 else None

    @property
    def headers(self) -> List[Tuple[str, Optional[bytes]]]:
        frame, at, fields, _ = self
        at += max(fields[4], 0) + max(fields[5], 0)
        found = []
        for _ in range(fields[7]):
            name_bytes, value_bytes = NAME_SIZES.unpack_from(frame, at)
            at += NAME_SIZES.size
            name = frame[at : at + name_bytes].decode("utf-8", "replace")
            at += name_bytes + 1
            found.append((name, None if value_bytes < 0 else frame[at : at + value_bytes]))
            at += max(value_bytes, 0)
        return found

    def __repr__(self) -> str:
        return f"<record {self.topic}/{self.partition} {self.offset}>"


class LogHandler(logging.Handler):
    """Sends lines to weft's log. Of any thread."""

    def emit(self, record: logging.LogRecord) -> None:
        number = record.levelno
        level = 0 if number >= logging.ERROR else 1 if number >= logging.WARNING else 2 if number >= logging.INFO else 3
        try:
            if _worker is not None:
                _worker.log(level, _utf8(self.format(record), LINE_BYTES))
        except Exception:  # a handler of logging never raises
            self.handleError(record)


class _Nonsense(Exception):
    """weft said something that this is not made for."""


def _utf8(text: str, limit: int) -> bytes:
    """Cut to so many bytes, between characters."""
    data = text.encode("utf-8", "replace")
    return data if len(data) <= limit else data[:limit].decode("utf-8", "ignore").encode("utf-8")


def _text_of(error: object) -> str:
    """Exceptions are made by programs: what makes their text may raise one itself."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}, which can't be shown"


def _end(status: int, text: str) -> NoReturn:
    print("weft worker: " + text, file=sys.stderr, flush=True)
    sys.exit(status)


def _is_lazy(function: Callable) -> bool:
    """Would a call make an object only, whose body nobody runs?"""
    while isinstance(function, functools.partial):
        function = function.func
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(one) for one in (function, type(function).__call__) for is_kind in kinds)


def _refuse_unrun(answer: object) -> None:
    """What a handler returned: nobody awaits it, or asks it for its values."""
    if not (inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer)):
        return
    if inspect.iscoroutine(answer) or inspect.isgenerator(answer):
        answer.close()  # without this, Python warns of it
    raise TypeError(f"the handler returned what has not run yet, an object of type {type(answer).__name__}: "
                    "let the handler run it, for example with asyncio.run()")


# --- frames


def _open(frame: bytes) -> Tuple[int, int, int]:
    """Type, count and task of a frame."""
    if len(frame) < HEADER.size:
        raise _Nonsense("a frame shorter than a header")
    magic, version, kind, zero, count, task = HEADER.unpack_from(frame)
    if magic != MAGIC or version != VERSION or zero or not HELLO <= kind <= LOG:
        raise _Nonsense(f"a frame of version {version} and type {kind}, or not of weft at all")
    return kind, count, task


def _text(frame: bytes) -> str:
    return frame[HEADER.size :].decode("utf-8", "replace")


def _frame(kind: int, count: int = 0, task: int = 0, body: bytes = b"") -> bytes:
    return HEADER.pack(MAGIC, VERSION, kind, 0, count, task) + body


def _hello(pid: int, flags: int, token: bytes, name: bytes) -> bytes:
    return _frame(HELLO, body=HELLO_BODY.pack(VERSION, VERSION, pid, flags, len(name), token) + name)


class _Task:
    """A WORK, and what became of its records: `ended` of them, all successes but for what is in `marks`,
    which may know of later ones too."""

    __slots__ = ("number", "count", "frame", "end", "entries", "offsets", "ended", "reported", "marks", "cancelled")

    def __init__(self, number: int, count: int, frame: bytes):
        self.number, self.count, self.frame = number, count, frame
        self.end = end = HEADER.size + count * RECORD.size  # of the entries: begins are counted from here
        if count == 0 or end > len(frame):
            raise _Nonsense("a WORK that is shorter than its entries")
        _, _, _, _, key, value, headers, _, _, begin, _ = RECORD.unpack_from(frame, end - RECORD.size)
        if end + begin + max(key, 0) + max(value, 0) + headers != len(frame):
            raise _Nonsense("a WORK whose records don't fill it")
        self.entries = memoryview(frame)[HEADER.size : end]
        self.offsets = self.entries.cast("q")[:: RECORD.size // 8]
        self.ended = self.reported = 0
        self.marks: Dict[int, Tuple[int, bytes]] = {}  # by index: status and reason
        self.cancelled = False

    def plain(self) -> Iterator[Tuple[int, int, int, int, int]]:
        """For each record its number from 1 on, where it begins in the frame, bytes of key and value, lane."""
        words, end = self.entries.cast("i"), self.end
        begins = [end + begin for begin in self.entries.cast("I")[10::12].tolist()]
        keys, values, lanes = words[6::12].tolist(), words[7::12].tolist(), self.entries.cast("I")[11::12].tolist()
        return zip(range(1, self.count + 1), begins, keys, values, lanes)

    def fail(self, index: int, error: object) -> None:
        self.marks[index] = (FAILURE, _utf8(_text_of(error), REASON_BYTES))

    def report(self) -> Optional[bytearray]:
        """DONE for what ended since the last one."""
        first, count = self.reported, self.ended - self.reported
        if count == 0:
            return None
        done = bytearray(HEADER.size + count * DONE_ENTRY)
        HEADER.pack_into(done, 0, MAGIC, VERSION, DONE, 0, count, self.number)
        memoryview(done).cast("q")[2::2] = self.offsets[first : self.ended]
        self.reported = self.ended
        if not self.marks:
            return done
        reasons = []
        for index in sorted(index for index in self.marks if index < self.ended):
            status, reason = self.marks.pop(index)
            at = HEADER.size + (index - first) * DONE_ENTRY
            done[at + 8] = status
            UINT32.pack_into(done, at + 12, len(reason))
            reasons.append(reason)
        return done + b"".join(reasons)


# --- the worker


class _Worker:
    def __init__(self, function: Callable, style: str):
        self.function, self.style = function, style
        self.topics: Dict[int, str] = {}
        self.tasks: Deque[_Task] = collections.deque()
        self.running: Optional[_Task] = None
        self.lines: Deque[bytes] = collections.deque()  # of other threads, for the log
        self.thread = threading.get_ident()
        self.goodbye = self.stopping = self.said_goodbye = self.is_open = False
        self.progress: Optional[MutableSequence[int]] = None
        self.progress_low: MutableSequence[int] = [0]  # the lower half of the word; nothing, when it is not kept
        self.socket: zmq.Socket

    # --- to weft

    def log(self, level: int, line: bytes) -> None:
        frame = _frame(LOG, count=level, body=line)
        if threading.get_ident() != self.thread:
            self.lines.append(frame)  # a socket belongs to one thread; sent at the next look
        elif self.is_open:
            self.socket.send(frame)

    def report(self, task: _Task) -> None:
        done = task.report()
        if done is not None:
            self.socket.send(done)

    # --- from weft

    def on_frame(self, frame: bytes) -> None:
        kind, count, task = _open(frame)
        if kind == WORK:
            self.tasks.append(_Task(task, count, frame))
        elif kind == PING:
            self.socket.send(_frame(PONG, task=task))
        elif kind == TOPIC:
            self.topics[task] = _text(frame)
        elif kind == CANCEL:
            for one in (self.running, *self.tasks):
                if one is not None and one.number == task:
                    one.cancelled = True
        elif kind == BYE:
            self.goodbye = True
        elif kind == REFUSED:
            _end(STATUS_REFUSED, "refused: " + _text(frame))
        else:
            raise _Nonsense(f"a frame of type {kind}, which only workers send")

    def look(self, wait_seconds: float = 0) -> None:
        """Take all messages there are; wait for the first one so long."""
        if self.stopping and not self.said_goodbye:
            self.said_goodbye = True
            self.socket.send(_frame(BYE))  # weft answers with its own, when no more work is on its way
        while self.lines:
            self.socket.send(self.lines.popleft())
        if wait_seconds and any(fd == self.alarm for fd, _ in self.poller.poll(wait_seconds * 1000)):
            os.read(self.alarm, 4096)
        receive = self.socket.recv
        try:
            while True:
                frame = receive(zmq.DONTWAIT)
                self.heard = time.monotonic()
                self.on_frame(frame)
        except zmq.Again:
            pass
        except _Nonsense as error:
            _end(STATUS_GONE, f"weft sent {error}")
        self.looked = time.monotonic()
        if self.looked - self.heard > SILENT_HEARTBEATS * self.heartbeat:
            self.socket.linger = 0
            _end(STATUS_GONE, "weft is gone")

    # --- work

    def run_task(self, task: _Task) -> None:
        self.running = task
        if not task.cancelled:
            runs = {"record": self.run_records, "values": self.run_values, "bytes": self.run_key_values}
            runs.get(self.style, self.run_batches)(task)
        if self.progress is not None:
            self.progress[0] = 0
        while task.ended < task.count:  # cancelled
            task.marks[task.ended] = (UNRUN, b"")
            task.ended += 1
        self.report(task)
        self.running = None

    def between(self, task: _Task, ended: int) -> float:
        """Report and look; returns when to do so again, -1 if the task was cancelled."""
        task.ended = ended
        self.report(task)
        self.look()
        return -1 if task.cancelled else self.looked + LOOK_SECONDS

    def begin_low(self, task: _Task) -> MutableSequence[int]:
        """The lower half of the progress word, whose upper half is the task from now on: the first record of a task is
        always run."""
        if self.progress is not None:
            self.progress[0] = task.number << 32 | 1
        return self.progress_low

    def run_records(self, task: _Task) -> None:
        function, topics, clock, frame, end = self.function, self.topics, time.monotonic, task.frame, task.end
        closed, number, due = -1, 0, self.looked + LOOK_SECONDS
        low = self.begin_low(task)
        for fields in RECORD.iter_unpack(task.entries):
            number += 1
            low[0] = number
            lane = fields[10]
            if lane == closed:
                task.marks[number - 1] = (UNRUN, b"")
                continue
            topic = topics.get(fields[2])
            if topic is None:
                _end(STATUS_GONE, f"weft sent a record of topic {fields[2]}, which it did not announce")
            try:
                if (answer := function(Record((frame, end + fields[9], fields, topic)))) is not None:
                    _refuse_unrun(answer)
            except Exception as error:
                task.fail(number - 1, error)
                closed = lane if lane != ANY_ORDER else closed
            if clock() >= due and (due := self.between(task, number)) < 0:
                return
        task.ended = task.count

    def run_values(self, task: _Task) -> None:
        """The same without Records, and for each value as few steps as there can be."""
        function, clock, frame, closed, due = self.function, time.monotonic, task.frame, -1, self.looked + LOOK_SECONDS
        low = self.begin_low(task)
        for number, begin, key_bytes, value_bytes, lane in task.plain():
            low[0] = number
            if lane == closed:
                task.marks[number - 1] = (UNRUN, b"")
                continue
            if key_bytes > 0:
                begin += key_bytes
            try:
                if (answer := function(frame[begin : begin + value_bytes] if value_bytes >= 0 else None)) is not None:
                    _refuse_unrun(answer)
            except Exception as error:
                task.fail(number - 1, error)
                closed = lane if lane != ANY_ORDER else closed
            if clock() >= due and (due := self.between(task, number)) < 0:
                return
        task.ended = task.count

    def run_key_values(self, task: _Task) -> None:
        """The same with keys."""
        function, clock, frame, closed, due = self.function, time.monotonic, task.frame, -1, self.looked + LOOK_SECONDS
        low = self.begin_low(task)
        for number, begin, key_bytes, value_bytes, lane in task.plain():
            low[0] = number
            if lane == closed:
                task.marks[number - 1] = (UNRUN, b"")
                continue
            middle = begin + key_bytes if key_bytes > 0 else begin
            key = frame[begin:middle] if key_bytes >= 0 else None
            value = frame[middle : middle + value_bytes] if value_bytes >= 0 else None
            try:
                if (answer := function(key, value)) is not None:
                    _refuse_unrun(answer)
            except Exception as error:
                task.fail(number - 1, error)
                closed = lane if lane != ANY_ORDER else closed
            if clock() >= due and (due := self.between(task, number)) < 0:
                return
        task.ended = task.count

    def run_batches(self, task: _Task) -> None:
        """Rounds of at most one record of a lane, so that a failure is known before the next one of it runs."""
        fields = list(RECORD.iter_unpack(task.entries))
        unknown = {one[2] for one in fields} - self.topics.keys()
        if unknown:
            _end(STATUS_GONE, f"weft sent a record of topic {unknown.pop()}, which it did not announce")
        records = [Record((task.frame, task.end + one[9], one, self.topics[one[2]])) for one in fields]
        lanes, waiting, settled = [one[10] for one in fields], list(range(task.count)), bytearray(task.count)
        while waiting and not task.cancelled:
            now: List[int] = []
            later: List[int] = []
            taken = set()
            for index in waiting:
                (later if lanes[index] in taken else now).append(index)
                if lanes[index] != ANY_ORDER:
                    taken.add(lanes[index])
            closed = set()
            for index, error in zip(now, self.call_batch([records[index] for index in now])):
                settled[index] = 1
                if error is not None:
                    task.fail(index, error)
                    closed.add(lanes[index])
            waiting = [index for index in later if lanes[index] not in closed]
            for index in later:
                if lanes[index] in closed:
                    task.marks[index], settled[index] = (UNRUN, b""), 1
            ended = settled.find(0)  # what is behind a record that waits is reported later
            self.between(task, ended if ended >= 0 else task.count)
        for index in waiting:
            task.marks[index] = (UNRUN, b"")
        task.ended = task.count

    def call_batch(self, records: List[Record]) -> Sequence[Optional[BaseException]]:
        try:
            answers = self.function(records)
            if answers is None:
                return [None] * len(records)
            _refuse_unrun(answers)
            if len(answers) != len(records):
                raise ValueError(f"the handler returned {len(answers)} results for {len(records)} records")
            return [a if a is None or isinstance(a, BaseException) else ValueError(a) for a in answers]
        except Exception as error:
            return [error] * len(records)

    # --- life

    def greet(self, token: bytes) -> None:
        name = os.environ.get("WEFT_WORKER", "").encode()[:64]
        self.socket.send(_hello(os.getpid(), HAS_PROGRESS if self.progress is not None else 0, token, name))
        if not self.socket.poll(30000):
            self.socket.linger = 0
            _end(STATUS_GONE, "no welcome from " + os.environ["WEFT_SOCKET"])
        frame = self.socket.recv()
        try:
            if _open(frame)[0] == WELCOME and len(frame) == HEADER.size + WELCOME_BODY.size:
                self.heartbeat = WELCOME_BODY.unpack_from(frame, HEADER.size)[1] / 1000
            else:
                self.on_frame(frame)
                raise _Nonsense("something else than WELCOME")
        except _Nonsense as error:
            _end(STATUS_GONE, f"weft sent {error}")
        self.heard = self.looked = time.monotonic()

    def serve(self) -> None:
        while not (self.goodbye and not self.tasks):
            self.look(0 if self.tasks else self.heartbeat)
            if self.tasks:
                self.run_task(self.tasks.popleft())

    def listen_to_signals(self) -> None:
        """SIGTERM ends a wait at once."""
        self.alarm, alarm_in = os.pipe()
        os.set_blocking(alarm_in, False)
        self.poller.register(self.alarm, zmq.POLLIN)
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number, stack):
            self.stopping = True

        def block(how=signal.SIG_BLOCK):
            signal.pthread_sigmask(how, {signal.SIGTERM})

        def unblock():
            block(signal.SIG_UNBLOCK)

        def be_no_worker():  # what a handler forks: SIGTERM ends it, as a pool of multiprocessing counts on
            if signal.getsignal(signal.SIGTERM) is stop:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
            unblock()

        signal.signal(signal.SIGTERM, stop)
        signal.set_wakeup_fd(alarm_in, warn_on_full_buffer=False)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=be_no_worker)

    def run(self) -> None:
        token = _token()
        context = zmq.Context()
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.SNDHWM, 65536)
        self.socket.setsockopt(zmq.RCVHWM, 65536)
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.listen_to_signals()
        descriptor = int(os.environ.get("WEFT_PROGRESS_FD", "-1"))
        if descriptor >= 0 and self.style != "batch":  # of a batch, nobody can say which record it is at
            shared = memoryview(mmap.mmap(descriptor, 8))
            self.progress, self.progress_low = shared.cast("Q"), shared.cast("I")  # type: ignore[assignment]
        try:
            self.socket.connect("ipc://" + os.environ["WEFT_SOCKET"])
            self.greet(token)
            self.is_open = True
            self.serve()
        finally:
            self.is_open = False
            self.socket.close()
            context.term()


def _token() -> bytes:
    if not os.environ.get("WEFT_SOCKET"):
        _end(STATUS_ENVIRONMENT, "WEFT_SOCKET is not set: weft starts workers, or tells where to attach")
    text = os.environ.get("WEFT_TOKEN")
    try:
        if text is None:
            with open(os.environ["WEFT_TOKEN_FILE"], encoding="ascii") as file:
                text = file.read(64)
        token = bytes.fromhex(text.strip())
    except (KeyError, OSError, ValueError):
        token = b""
    if len(token) != 32:
        _end(STATUS_ENVIRONMENT, "WEFT_TOKEN, or the file WEFT_TOKEN_FILE, must have 64 hexadecimal digits")
    return token


# --- for programs

_chosen: Optional[Tuple[Callable, str]] = None
_worker: Optional[_Worker] = None

OfRecord = TypeVar("OfRecord", bound=Callable[[Record], object])
OfValue = TypeVar("OfValue", bound=Callable[[Optional[bytes]], object])
OfKeyAndValue = TypeVar("OfKeyAndValue", bound=Callable[[Optional[bytes], Optional[bytes]], object])
OfBatch = TypeVar("OfBatch", bound=Callable[[List[Record]], Optional[Sequence]])


def _choose(function: Callable, style: str) -> None:
    global _chosen
    if _chosen is not None:
        raise RuntimeError("a worker has one handler")
    if not callable(function):
        raise TypeError(f"a handler is a function, not {function!r}")
    if _is_lazy(function):
        raise TypeError(f"the handler {getattr(function, '__qualname__', function)} is async or has a yield, so a call "
                        "would not run its body: make it a plain def that runs all of it, say with asyncio.run()")
    _chosen = (function, style)


def handler(function: OfRecord) -> OfRecord:
    """Called with each Record."""
    _choose(function, "record")
    return function


def values_handler(function: OfValue) -> OfValue:
    """Called with the value of each record."""
    _choose(function, "values")
    return function


def bytes_handler(function: OfKeyAndValue) -> OfKeyAndValue:
    """Called with key and value of each record."""
    _choose(function, "bytes")
    return function


def batch_handler(function: OfBatch) -> OfBatch:
    """Called with a list of Records. Returns None: all succeeded; or a list with None or an exception for each."""
    _choose(function, "batch")
    return function


def cancelled() -> bool:
    """Should the handler give up? Its deadline has passed, or its partition has to go. To be called in the handler."""
    if _worker is None or _worker.running is None:
        return False
    if time.monotonic() - _worker.looked >= LOOK_SECONDS:
        _worker.look()
    return _worker.running.cancelled


def run(
    function: Optional[Callable[[Record], object]] = None,
    *,
    values: Optional[Callable[[Optional[bytes]], object]] = None,
    key_values: Optional[Callable[[Optional[bytes], Optional[bytes]], object]] = None,
    batch: Optional[Callable[[List[Record]], Optional[Sequence]]] = None,
) -> None:
    """Serve until weft says goodbye. The handler, where no decorator was used, is one of the arguments."""
    global _worker
    for given, style in ((function, "record"), (values, "values"), (key_values, "bytes"), (batch, "batch")):
        if given is not None:
            _choose(given, style)
    if _chosen is None:
        raise RuntimeError("there is no handler: use @weft.handler, or weft.run(function)")
    _worker = _Worker(*_chosen)
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(LogHandler())
    _worker.run()
