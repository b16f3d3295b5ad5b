// SPDX-License-Identifier: Apache-2.0
//
// A worker process in JavaScript, for consumers with engine = process. One file; needs Node 18 and the npm package zeromq.
//
//     const weft = require('./weft');
//
//     weft.run(async (record) => {       // what it throws is a failure, with its text
//       console.log(record.key, record.value);
//     });
//
// One record at a time: the next one begins when the promise of the one before is kept. weft.log() reaches weft's log. SIGTERM
// ends the worker after what it has. The protocol is docs/worker-protocol.md.
'use strict';

const fs = require('fs');
const { isGeneratorFunction, isGeneratorObject } = require('util').types;
const zmq = require('zeromq');

const MAGIC = 0x31544657, VERSION = 1;
const HELLO = 1, WELCOME = 2, REFUSED = 3, TOPIC = 4, WORK = 5, DONE = 6, CANCEL = 7, PING = 8, PONG = 9, BYE = 10, LOG = 11;
const SUCCESS = 0, FAILURE = 1, UNRUN = 2;
const HEADER_BYTES = 16, RECORD_BYTES = 48, DONE_BYTES = 16, TOKEN_BYTES = 32;
const ANY_ORDER = 0xffffffff, HAS_PROGRESS = 1;
const LOOK_MS = 1; // between two looks at messages, and two reports
const SILENT_HEARTBEATS = 5, WELCOME_MS = 30000, LINGER_MS = 500;
const REASON_BYTES = 255, LINE_BYTES = 4096;
const STATUS_ENVIRONMENT = 1, STATUS_REFUSED = 2, STATUS_GONE = 3;
const LEVELS = ['error', 'warn', 'info', 'debug'];

class Nonsense extends Error {}

const now = () => performance.now();

// At most so many bytes of UTF-8, cut between characters.
function utf8(text, limit) {
  const bytes = Buffer.from(String(text));
  let end = Math.min(bytes.length, limit);
  while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

// What a program throws may be anything, also what can't be made a text.
function textOf(error) {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  } catch {
    return error instanceof Error ? 'an Error without a text' : `${typeof error} without a text`;
  }
}

// --- frames

function open(frame) {
  if (frame.length < HEADER_BYTES) throw new Nonsense('a frame shorter than a header');
  const kind = frame[5];
  if (frame.readUInt32LE(0) !== MAGIC || frame[4] !== VERSION || frame.readUInt16LE(6) || kind < HELLO || kind > LOG)
    throw new Nonsense(`a frame of version ${frame[4]} and type ${kind}, or not of weft at all`);
  return { kind, count: frame.readUInt32LE(8), task: frame.readUInt32LE(12) };
}

function makeFrame(kind, count = 0, task = 0, body = Buffer.alloc(0)) {
  const frame = Buffer.alloc(HEADER_BYTES + body.length);
  frame.writeUInt32LE(MAGIC, 0);
  frame[4] = VERSION;
  frame[5] = kind;
  frame.writeUInt32LE(count, 8);
  frame.writeUInt32LE(task, 12);
  body.copy(frame, HEADER_BYTES);
  return frame;
}

function makeHello(pid, flags, token, name) {
  const body = Buffer.alloc(16 + TOKEN_BYTES);
  body.writeUInt16LE(VERSION, 0);
  body.writeUInt16LE(VERSION, 2);
  body.writeUInt32LE(pid, 4);
  body.writeUInt32LE(flags, 8);
  body.writeUInt32LE(name.length, 12);
  token.copy(body, 16);
  return makeFrame(HELLO, 0, 0, Buffer.concat([body, name]));
}

const text = (frame) => frame.toString('utf8', HEADER_BYTES);

// A record of Kafka. offset and timestampMs are BigInts; key and value are Buffers or null; headers is a list of [name, Buffer
// or null].
class Record {
  constructor(frame, entry, begin, topic) {
    this._frame = frame;
    this._entry = entry;
    this._begin = begin;
    this.topic = topic;
  }
  get offset() { return this._frame.readBigInt64LE(this._entry); }
  get timestampMs() { return this._frame.readBigInt64LE(this._entry + 8); }
  get partition() { return this._frame.readInt32LE(this._entry + 20); }
  get attempt() { return this._frame.readUInt16LE(this._entry + 38); }
  get key() { return this._part(this._begin, this._frame.readInt32LE(this._entry + 24)); }
  get value() {
    const keyBytes = this._frame.readInt32LE(this._entry + 24);
    return this._part(this._begin + Math.max(keyBytes, 0), this._frame.readInt32LE(this._entry + 28));
  }
  get headers() {
    const frame = this._frame, found = [];
    const bytes = (at) => Math.max(frame.readInt32LE(at), 0);
    let at = this._begin + bytes(this._entry + 24) + bytes(this._entry + 28);
    for (let left = frame.readUInt16LE(this._entry + 36); left > 0; left--) {
      const nameBytes = frame.readUInt32LE(at), valueBytes = frame.readInt32LE(at + 4);
      const value = at + 8 + nameBytes + 1;
      found.push([frame.toString('utf8', at + 8, at + 8 + nameBytes), this._part(value, valueBytes)]);
      at = value + Math.max(valueBytes, 0);
    }
    return found;
  }
  _part(begin, bytes) { return bytes < 0 ? null : this._frame.subarray(begin, begin + bytes); }
}

// A WORK, and what became of its records so far.
class Task {
  constructor(number, count, frame) {
    Object.assign(this, { number, count, frame, cancelled: false, settled: 0, entries: [], reasons: [] });
    this.end = HEADER_BYTES + count * RECORD_BYTES;
    if (count === 0 || this.end > frame.length) throw new Nonsense('a WORK that is shorter than its entries');
    let used = this.end;
    for (let entry = HEADER_BYTES; entry < this.end; entry += RECORD_BYTES) {
      const key = frame.readInt32LE(entry + 24), value = frame.readInt32LE(entry + 28);
      if (this.end + frame.readUInt32LE(entry + 40) !== used) throw new Nonsense('a WORK whose records are not in a row');
      used += Math.max(key, 0) + Math.max(value, 0) + frame.readUInt32LE(entry + 32);
    }
    if (used !== frame.length) throw new Nonsense("a WORK whose records don't fill it");
  }
  entry(index) { return HEADER_BYTES + index * RECORD_BYTES; }
  topic(index) { return this.frame.readUInt32LE(this.entry(index) + 16); }
  lane(index) { return this.frame.readUInt32LE(this.entry(index) + 44); }
  record(index, topic) {
    const entry = this.entry(index);
    return new Record(this.frame, entry, this.end + this.frame.readUInt32LE(entry + 40), topic);
  }

  // The next record is over.
  settle(status, error) {
    const done = Buffer.alloc(DONE_BYTES), entry = this.entry(this.settled++);
    this.frame.copy(done, 0, entry, entry + 8);
    done[8] = status;
    if (status === FAILURE) {
      const reason = utf8(textOf(error), REASON_BYTES);
      done.writeUInt32LE(reason.length, 12);
      this.reasons.push(reason);
    }
    this.entries.push(done);
  }

  // DONE for what is settled since the last one, or null.
  report() {
    if (this.entries.length === 0) return null;
    const frame = makeFrame(DONE, this.entries.length, this.number, Buffer.concat([...this.entries, ...this.reasons]));
    this.entries = [];
    this.reasons = [];
    return frame;
  }
}

// --- the worker

class Worker {
  constructor(handler) {
    Object.assign(this, { handler, topics: new Map(), tasks: [], running: null, goodbye: false, saidGoodbye: false });
    this.sent = Promise.resolve();
    this.progress = parseInt(process.env.WEFT_PROGRESS_FD || '-1', 10);
    this.word = Buffer.alloc(8);
    this.wake = () => {};
  }

  // The socket takes one message at a time, so they queue here.
  send(frame) {
    this.sent = this.sent.then(() => this.socket.send(frame));
  }

  report(task) {
    const frame = task.report();
    if (frame) this.send(frame);
  }

  // Of a file that weft has mapped, a write is as good as a store.
  note(task, number) {
    if (this.progress < 0) return;
    this.word.writeUInt32LE(number, 0);
    this.word.writeUInt32LE(number ? task : 0, 4);
    fs.writeSync(this.progress, this.word, 0, 8, 0);
  }

  end(status, why) {
    if (why) fs.writeSync(2, `weft worker: ${why}\n`);
    process.exit(status);
  }

  onFrame(frame) {
    const { kind, count, task } = open(frame);
    this.heard = now();
    if (kind === WORK) this.tasks.push(new Task(task, count, frame));
    else if (kind === PING) this.send(makeFrame(PONG, 0, task));
    else if (kind === TOPIC) this.topics.set(task, text(frame));
    else if (kind === CANCEL) for (const one of this.tasks) one.cancelled = one.cancelled || one.number === task;
    else if (kind === BYE) this.goodbye = true;
    else if (kind === REFUSED) this.end(STATUS_REFUSED, 'refused: ' + text(frame));
    else if (kind === WELCOME && !this.heartbeat && frame.length === HEADER_BYTES + 8)
      this.heartbeat = frame.readUInt32LE(HEADER_BYTES + 4);
    else throw new Nonsense(`a frame of type ${kind} that has no place here`);
    this.wake();
  }

  async listen() {
    try {
      for await (const [frame] of this.socket) this.onFrame(frame);
    } catch (error) {
      if (!(error instanceof Nonsense)) throw error;
      this.end(STATUS_GONE, `weft sent ${error.message}`);
    }
  }

  // Let what has come be taken.
  async look() {
    await new Promise(setImmediate);
    this.looked = now();
    if (this.looked - this.heard > SILENT_HEARTBEATS * this.heartbeat) {
      this.socket.linger = 0;
      this.end(STATUS_GONE, 'weft is gone');
    }
  }

  async runRecord(task, index) {
    const topic = this.topics.get(task.topic(index));
    if (topic === undefined) this.end(STATUS_GONE, `weft sent a record of topic ${task.topic(index)}, not announced`);
    this.note(task.number, index + 1);
    try {
      let answer = this.handler(task.record(index, topic));
      if (answer && typeof answer.then === 'function') answer = await answer;
      if (isGeneratorObject(answer)) throw new TypeError('the handler returned a generator, of which nothing has run');
      task.settle(SUCCESS);
      return true;
    } catch (error) {
      task.settle(FAILURE, error);
      return false;
    }
  }

  async runTask(task) {
    let closed = -1;
    this.running = task;
    for (let index = 0; index < task.count; index++) {
      const lane = task.lane(index);
      if (task.cancelled || lane === closed) task.settle(UNRUN);
      else if (!(await this.runRecord(task, index)) && lane !== ANY_ORDER) closed = lane;
      if (now() - this.looked < LOOK_MS) continue;
      this.report(task);
      await this.look();
    }
    this.note(0, 0);
    this.running = null;
    this.report(task);
  }

  async idle() {
    let timer;
    await new Promise((resolve) => {
      this.wake = resolve;
      timer = setTimeout(resolve, this.heartbeat || WELCOME_MS);
    });
    clearTimeout(timer);
    this.wake = () => {};
  }

  leave() {
    if (!this.saidGoodbye && this.heartbeat) this.send(makeFrame(BYE)); // weft answers with its own
    this.saidGoodbye = true;
  }

  async run() {
    const token = readToken(this), name = Buffer.from(process.env.WEFT_WORKER || '').subarray(0, 64);
    this.socket = new zmq.Dealer({ linger: LINGER_MS, sendHighWaterMark: 65536, receiveHighWaterMark: 65536 });
    this.socket.connect('ipc://' + process.env.WEFT_SOCKET);
    this.heard = this.looked = now();
    this.send(makeHello(process.pid, this.progress < 0 ? 0 : HAS_PROGRESS, token, name));
    this.listen();
    await this.idle();
    if (!this.heartbeat) this.end(STATUS_GONE, 'no welcome from ' + process.env.WEFT_SOCKET);
    process.on('SIGTERM', () => this.leave());
    while (!this.goodbye || this.tasks.length) {
      if (this.tasks.length === 0) await this.idle();
      await this.look();
      if (this.tasks.length === 0) continue;
      await this.runTask(this.tasks[0]);
      this.tasks.shift();
    }
    await this.sent;
    this.socket.close();
    this.end(0);
  }
}

function readToken(worker) {
  if (!process.env.WEFT_SOCKET)
    worker.end(STATUS_ENVIRONMENT, 'WEFT_SOCKET is not set: weft starts workers, or tells where to attach');
  let digits = process.env.WEFT_TOKEN || '';
  try {
    if (!digits && process.env.WEFT_TOKEN_FILE) digits = fs.readFileSync(process.env.WEFT_TOKEN_FILE, 'ascii').slice(0, 64);
  } catch (error) {
    fs.writeSync(2, `weft worker: ${error.message}\n`);
  }
  if (!/^[0-9a-f]{64}$/.test(digits))
    worker.end(STATUS_ENVIRONMENT, 'WEFT_TOKEN, or the file WEFT_TOKEN_FILE, must have 64 hexadecimal digits');
  return Buffer.from(digits, 'hex');
}

let worker = null;

// Serve until weft says goodbye. `handler` gets each Record; it may return a promise.
function run(handler) {
  if (worker) throw new Error('a worker has one handler');
  if (typeof handler !== 'function') throw new TypeError(`a handler is a function, not ${typeof handler}`);
  if (isGeneratorFunction(handler)) // a call would make an object only, whose body nobody runs
    throw new TypeError(`the handler ${handler.name} is a generator function: make it a plain or an async one`);
  worker = new Worker(handler);
  worker.run();
}

// A line for weft's log; `level` is error, warn, info or debug.
function log(level, line) {
  const number = LEVELS.indexOf(level);
  if (number < 0) throw new RangeError(`a level is one of ${LEVELS.join(', ')}, not ${level}`);
  if (worker && worker.heartbeat) worker.send(makeFrame(LOG, number, 0, utf8(line, LINE_BYTES)));
}

// Should the handler give up? Its deadline has passed, or its partition has to go. A handler that never awaits never knows.
const cancelled = () => Boolean(worker && worker.running && worker.running.cancelled);

module.exports = { run, log, cancelled, Record };
module.exports.inside = { open, makeFrame, makeHello, text, utf8, Task, Worker, Nonsense };
