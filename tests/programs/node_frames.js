// SPDX-License-Identifier: Apache-2.0
// The golden frames, read and written by examples/workers/node/weft.js: node node_frames.js worker_frames.json
'use strict';

const assert = require('assert');
const fs = require('fs');
const { inside, run } = require('../../examples/workers/node/weft');

const golden = JSON.parse(fs.readFileSync(process.argv[2]));
const bytes = (hex) => (hex === null ? null : Buffer.from(hex, 'hex'));
const of = (name) => golden.frames.find((frame) => frame.name === name);
const work = () => new inside.Task(9, 3, bytes(of('work').hex));

// Of the failure of a record, '' if it is none.
async function reasonOf(handler) {
  const worker = new inside.Worker(handler), task = work();
  for (let topic = 0; topic < 8; topic++) worker.topics.set(topic, 't');
  worker.progress = -1;
  assert.strictEqual(await worker.runRecord(task, 0), task.reasons.length === 0);
  return task.reasons.join();
}

const tests = {
  hello__written_as_it_stands() {
    const { pid, flags, token, name } = of('hello').hello;
    assert.strictEqual(inside.makeHello(pid, flags, bytes(token), Buffer.from(name)).toString('hex'), of('hello').hex);
  },
  short_frames__written_as_they_stand() {
    assert.strictEqual(inside.makeFrame(9, 0, 12).toString('hex'), of('pong').hex);
    assert.strictEqual(inside.makeFrame(10).toString('hex'), of('bye').hex);
    assert.strictEqual(inside.makeFrame(11, 1, 0, Buffer.from('almost full')).toString('hex'), of('log').hex);
  },
  every_frame__opened() {
    golden.frames.forEach((frame, index) => {
      const { kind, count, task } = inside.open(bytes(frame.hex));
      assert.strictEqual(kind, index + 1, frame.name);
      if ('task' in frame) assert.strictEqual(task, frame.task, frame.name);
      if ('level' in frame) assert.strictEqual(count, frame.level, frame.name);
      if ('text' in frame) assert.strictEqual(inside.text(bytes(frame.hex)), frame.text, frame.name);
    });
  },
  headers_that_break_a_rule__refused() {
    for (const name of ['short', 'other_magic', 'other_version', 'type_0', 'type_12', 'zero_not_zero']) {
      const frame = golden.refused.find((one) => one.name === name);
      assert.throws(() => inside.open(bytes(frame.hex)), inside.Nonsense, name);
    }
  },
  work__read_as_records() {
    of('work').records.forEach((wanted, index) => {
      const record = work().record(index, 't');
      assert.strictEqual(record.offset, BigInt(wanted.offset));
      assert.strictEqual(record.timestampMs, BigInt(wanted.timestamp_ms));
      assert.strictEqual(record.partition, wanted.partition);
      assert.strictEqual(record.attempt, wanted.attempt);
      assert.deepStrictEqual(record.key, bytes(wanted.key));
      assert.deepStrictEqual(record.value, bytes(wanted.value));
      assert.deepStrictEqual(record.headers, wanted.headers.map(([name, value]) => [name, bytes(value)]));
      assert.strictEqual(work().topic(index), wanted.topic);
      assert.strictEqual(work().lane(index), wanted.lane);
    });
  },
  work_that_breaks_a_rule__refused() {
    for (const { name, hex } of golden.refused_by_workers) {
      const { count } = inside.open(bytes(hex));
      assert.throws(() => new inside.Task(9, count, bytes(hex)), inside.Nonsense, name);
    }
    assert(golden.refused_by_workers.length > 6);
  },
  work__cut_at_any_byte__refused() {
    const whole = bytes(of('work').hex);
    for (let size = 16; size < whole.length; size++)
      assert.throws(() => new inside.Task(9, 3, whole.subarray(0, size)), inside.Nonsense, `cut to ${size}`);
  },
  done__written_as_it_stands() {
    const task = work();
    for (const { status, reason } of of('done').entries) task.settle(status, reason);
    assert.strictEqual(task.report().toString('hex'), of('done').hex);
  },
  reason__cut_between_characters() {
    assert.strictEqual(inside.utf8('\u00e4'.repeat(300), 255).toString(), '\u00e4'.repeat(127));
  },
  async error_whose_text_throws__is_a_failure() {
    const mute = new Error();
    Object.defineProperty(mute, 'message', { get() { throw new Error('no text'); } });
    assert.strictEqual(await reasonOf(() => { throw mute; }), 'an Error without a text');
    assert.strictEqual(await reasonOf(() => { throw Object.create(null); }), 'object without a text');
    assert.strictEqual(await reasonOf(() => { throw Symbol('why'); }), 'Symbol(why)');
  },
  handler_whose_body_would_never_run__refused() {
    function* never() {}
    async function* neverAsked() {}
    for (const handler of [never, neverAsked])
      assert.throws(() => run(handler), new RegExp(`TypeError: the handler ${handler.name} is`));
    assert.throws(() => run('handler'), TypeError);
  },
  async promise_of_the_handler__is_awaited() {
    let isOver = false;
    const reason = await reasonOf(async () => {
      await new Promise(setImmediate);
      isOver = true;
    });
    assert.strictEqual(reason, '');
    assert(isOver);
    assert.strictEqual(await reasonOf(() => Promise.reject(new RangeError('too far'))), 'RangeError: too far');
  },
  async generator_that_the_handler_returns__is_a_failure() {
    function* never() {}
    async function* neverAsked() {}
    for (const handler of [never.bind(null), neverAsked.bind(null), () => never(), async () => never()])
      assert.match(await reasonOf(handler), /^TypeError: the handler returned a generator/);
  },
};

(async () => {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.message}`);
    }
  }
  console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
