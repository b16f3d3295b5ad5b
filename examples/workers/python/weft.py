# SPDX-License-Identifier: Apache-2.0
"""A worker process in Python, for consumers with engine = process. One file; needs pyzmq.

    import weft

    @weft.handler
    def handle(record):                 # an exception is a failure, with its text
        print(record.key, record.value)

    weft.run()

Or `@weft.bytes_handler` with (key, value) and nothing else, which is the fastest; or `@weft.batch_handler` with a list of
records, no two of one ordering key. `logging` reaches weft's log. SIGTERM ends the worker after what it has. The protocol
is docs/worker-protocol.md.
"""
import logging
import mmap
import os
import signal
import struct
import sys
import time

import zmq

__all__ = ["handler", "bytes_handler", "batch_handler", "run", "cancelled", "Record"]

HEADER = struct.Struct("<IBBHII")  # magic, version, type, zero, count, task
HELLO_BODY = struct.Struct("<HHIII32s")  # lowest and highest version, pid, flags, bytes of the name, token
RECORD = struct.Struct("<qqIiiiIHHII")  # offset ... lane, 48 bytes
DONE_ENTRY = struct.Struct("<qB3xI")  # offset, status, bytes of the reason
WELCOME_BODY = struct.Struct("<II")  # number of this worker, heartbeat in ms
NAME_SIZES = struct.Struct("<Ii")

MAGIC, VERSION = 0x31544657, 1
HELLO, WELCOME, REFUSED, TOPIC, WORK, DONE, CANCEL, PING, PONG, BYE, LOG = range(1, 12)
SUCCESS, FAILURE, UNRUN = range(3)
ANY_ORDER = 0xFFFFFFFF
HAS_PROGRESS = 1
LOOK_SECONDS = 0.001  # between two looks at messages, and two reports
SILENT_HEARTBEATS = 5
REASON_BYTES = 255


class Record:
    """A record of Kafka. key and value are bytes or None; headers is a list of (name, bytes or None)."""

    __slots__ = ("_frame", "_begin", "_fields", "topic")

    def __init__(self, frame, begin, fields, topic):
        self._frame, self._begin, self._fields, self.topic = frame, begin, fields, topic

    @property
    def offset(self):
        return self._fields[0]

    @property
    def timestamp_ms(self):
        """Since 1970; -1: it has none."""
        return self._fields[1]

    @property
    def partition(self):
        return self._fields[3]

    @property
    def attempt(self):
        """1 for the first try."""
        return self._fields[8]

    @property
    def key(self):
        size = self._fields[4]
        return None if size < 0 else self._frame[self._begin : self._begin + size]

    @property
    def value(self):
        begin = self._begin + max(self._fields[4], 0)
        size = self._fields[5]
        return None if size < 0 else self._frame[begin : begin + size]

    @property
    def headers(self):
        at = self._begin + max(self._fields[4], 0) + max(self._fields[5], 0)
        found = []
        for _ in range(self._fields[7]):
            name_bytes, value_bytes = NAME_SIZES.unpack_from(self._frame, at)
            at += NAME_SIZES.size
            name = self._frame[at : at + name_bytes].decode("utf-8", "replace")
            at += name_bytes + 1
            value = None if value_bytes < 0 else self._frame[at : at + value_bytes]
            at += max(value_bytes, 0)
            found.append((name, value))
        return found

    def __repr__(self):
        return f"<record {self.topic}/{self.partition} {self.offset}>"


class _LogHandler(logging.Handler):
    def __init__(self, worker):
        super().__init__()
        self._worker = worker

    def emit(self, record):
        number = record.levelno
        level = 0 if number >= logging.ERROR else 1 if number >= logging.WARNING else 2 if number >= logging.INFO else 3
        try:
            text = self.format(record).encode("utf-8", "replace")[:4096]
            self._worker.send(LOG, count=level, body=text)
        except Exception:  # a handler of logging never raises
            self.handleError(record)


def _reason(error):
    text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:REASON_BYTES]
    return text.decode("utf-8", "ignore").encode("utf-8")  # not in the middle of a character


class _Worker:
    def __init__(self, function, style):
        self.function, self.style = function, style
        self.topics, self.tasks, self.cancelled = {}, [], set()
        self.entries, self.reasons = [], []
        self.goodbye = self.stopping = self.said_goodbye = False
        self.running = None
        self.progress = None

    # --- to weft

    def send(self, kind, count=0, task=0, body=b""):
        self.socket.send(HEADER.pack(MAGIC, VERSION, kind, 0, count, task) + body)

    def report(self, task):
        if not self.entries:
            return
        self.send(DONE, len(self.entries), task, b"".join(self.entries) + b"".join(self.reasons))
        self.entries.clear()
        self.reasons.clear()

    def settle(self, offset, error):
        """`error`: None, or the exception; the entry goes out with the next report."""
        if error is None:
            self.entries.append(DONE_ENTRY.pack(offset, SUCCESS, 0))
        else:
            reason = _reason(error)
            self.entries.append(DONE_ENTRY.pack(offset, FAILURE, len(reason)))
            self.reasons.append(reason)

    # --- from weft

    def on_frame(self, frame):
        magic, version, kind, _, count, task = HEADER.unpack_from(frame)
        if magic != MAGIC or version != VERSION:
            sys.exit("weft worker: this is not weft, or another version of it")
        if kind == WORK:
            self.tasks.append((task, count, frame))
        elif kind == TOPIC:
            self.topics[task] = frame[HEADER.size :].decode("utf-8", "replace")
        elif kind == PING:
            self.send(PONG, task=task)
        elif kind == CANCEL:
            self.cancelled.add(task)
        elif kind == BYE:
            self.goodbye = True
        elif kind == REFUSED:
            sys.exit("weft worker: refused: " + frame[HEADER.size :].decode("utf-8", "replace"))

    def look(self, wait_seconds=0):
        """Take all messages there are; wait for the first one so long."""
        if self.stopping and not self.said_goodbye:
            self.said_goodbye = True
            self.send(BYE)  # weft answers with its own when no more work is on its way
        if wait_seconds:
            self.poller.poll(wait_seconds * 1000)
        while True:
            try:
                frame = self.socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            self.heard = time.monotonic()
            self.on_frame(frame)
        self.looked = time.monotonic()
        if self.looked - self.heard > SILENT_HEARTBEATS * self.heartbeat:
            os._exit(3)  # weft is gone, and nobody waits for what is left here

    # --- work

    def run_task(self, task, count, frame):
        end = HEADER.size + count * RECORD.size
        fields = RECORD.iter_unpack(memoryview(frame)[HEADER.size : end])
        self.running = task
        if self.style == "batch":
            self.run_batches(task, frame, end, list(fields))
        else:
            self.run_each(task, frame, end, fields)
        self.report(task)
        self.running = None
        self.cancelled.discard(task)

    def run_each(self, task, frame, end, all_fields):
        function, plain, progress = self.function, self.style == "bytes", self.progress
        settled, pack, clock, topics = self.entries.append, DONE_ENTRY.pack, time.monotonic, self.topics
        cancelled = self.cancelled
        closed, word = None, task << 32
        for fields in all_fields:
            word += 1
            offset, _, topic, _, key_bytes, value_bytes, _, _, _, begin, lane = fields
            if (lane == closed and lane != ANY_ORDER) or task in cancelled:
                settled(pack(offset, UNRUN, 0))
                continue
            if progress is not None:
                progress[0] = word
            begin += end
            try:
                if plain:
                    middle = begin + (key_bytes if key_bytes > 0 else 0)
                    function(
                        None if key_bytes < 0 else frame[begin:middle],
                        None if value_bytes < 0 else frame[middle : middle + value_bytes],
                    )
                else:
                    function(Record(frame, begin, fields, topics[topic]))
                settled(pack(offset, SUCCESS, 0))
            except Exception as error:
                self.settle(offset, error)
                closed = lane
            if clock() - self.looked >= LOOK_SECONDS:
                self.report(task)
                self.look()
        if progress is not None:
            progress[0] = 0

    def run_batches(self, task, frame, end, fields):
        """Rounds of at most one record of a lane, so that a failure is known before the next one of it runs."""
        errors = [UNRUN] * len(fields)  # by record: UNRUN, None (succeeded) or an exception
        waiting = list(range(len(fields)))
        closed = set()
        while waiting and task not in self.cancelled:
            seen, now, later = set(), [], []
            for index in waiting:
                lane = fields[index][10]
                if lane != ANY_ORDER and (lane in closed or lane in seen):
                    if lane not in closed:
                        later.append(index)
                    continue
                seen.add(lane)
                now.append(index)
            waiting = later
            if not now:
                break
            records = [Record(frame, end + fields[i][9], fields[i], self.topics[fields[i][2]]) for i in now]
            for index, error in zip(now, self.call_batch(records)):
                errors[index] = error
                if error is not None:
                    closed.add(fields[index][10])
            self.look()
        for field, error in zip(fields, errors):
            if error is UNRUN:
                self.entries.append(DONE_ENTRY.pack(field[0], UNRUN, 0))
            else:
                self.settle(field[0], error)

    def call_batch(self, records):
        """The function returns None: all succeeded; or a list with None or an exception for each."""
        try:
            answers = self.function(records)
            if answers is None:
                return [None] * len(records)
            if len(answers) != len(records):
                raise ValueError(f"the handler returned {len(answers)} results for {len(records)} records")
            return [a if a is None or isinstance(a, BaseException) else ValueError(str(a)) for a in answers]
        except Exception as error:
            return [error] * len(records)

    # --- life

    def greet(self, token):
        name = os.environ.get("WEFT_WORKER", "").encode()[:64]
        flags = HAS_PROGRESS if self.progress is not None else 0
        body = HELLO_BODY.pack(VERSION, VERSION, os.getpid(), flags, len(name), token)
        self.send(HELLO, body=body + name)
        if not self.poller.poll(30000):
            sys.exit("weft worker: no welcome from " + os.environ["WEFT_SOCKET"])
        frame = self.socket.recv()
        if HEADER.unpack_from(frame)[2] == WELCOME:
            self.heartbeat = WELCOME_BODY.unpack_from(frame, HEADER.size)[1] / 1000
        else:
            self.on_frame(frame)
            sys.exit("weft worker: weft did not say welcome")
        self.heard = self.looked = time.monotonic()

    def serve(self):
        while not (self.goodbye and not self.tasks):
            self.look(0 if self.tasks else self.heartbeat)
            if self.tasks:
                self.run_task(*self.tasks.pop(0))

    def run(self):
        token = _token()
        context = zmq.Context()
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.SNDHWM, 65536)
        self.socket.setsockopt(zmq.RCVHWM, 65536)
        self.socket.connect("ipc://" + os.environ["WEFT_SOCKET"])
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        descriptor = int(os.environ.get("WEFT_PROGRESS_FD", "-1"))
        if descriptor >= 0 and self.style != "batch":  # of a batch, nobody can say which record it is at
            self.progress = memoryview(mmap.mmap(descriptor, 8)).cast("Q")
        self.greet(token)
        try:
            self.serve()
        finally:
            self.socket.close()
            context.term()


def _token():
    if "WEFT_SOCKET" not in os.environ:
        sys.exit("weft worker: WEFT_SOCKET is not set: weft starts workers, or tells where to attach")
    text = os.environ.get("WEFT_TOKEN")
    try:
        if text is None:
            with open(os.environ["WEFT_TOKEN_FILE"], encoding="ascii") as file:
                text = file.read()
        token = bytes.fromhex(text.strip())
    except (KeyError, OSError, ValueError):
        token = b""
    if len(token) != 32:
        sys.exit("weft worker: WEFT_TOKEN, or the file WEFT_TOKEN_FILE, must have 64 hexadecimal digits")
    return token


_chosen = None
_worker = None


def _choose(function, style):
    global _chosen
    if _chosen is not None:
        raise RuntimeError("a worker has one handler")
    _chosen = (function, style)
    return function


def handler(function):
    """Called with each Record."""
    return _choose(function, "record")


def bytes_handler(function):
    """Called with key and value of each record, bytes or None."""
    return _choose(function, "bytes")


def batch_handler(function):
    """Called with a list of Records. Returns None, or a list with None or an exception for each."""
    return _choose(function, "batch")


def cancelled():
    """Should the handler give up? Its deadline has passed, or its partition has to go. To be called in the handler."""
    if time.monotonic() - _worker.looked >= LOOK_SECONDS:
        _worker.look()
    return _worker.running in _worker.cancelled


def run(function=None):
    """Serve until weft says goodbye. `function`: called with each Record, where no decorator was used."""
    global _worker
    if function is not None:
        handler(function)
    if _chosen is None:
        raise RuntimeError("there is no handler: use @weft.handler, or weft.run(function)")
    _worker = _Worker(*_chosen)

    def stop(number, stack):
        _worker.stopping = True

    signal.signal(signal.SIGTERM, stop)
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(_LogHandler(_worker))
    _worker.run()
