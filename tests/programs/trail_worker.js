// SPDX-License-Identifier: Apache-2.0
// tests/programs/trail_worker.c in JavaScript: the same entries, the same deaths.
'use strict';

const fs = require('fs');
const weft = require('../../examples/workers/node/weft');

const BEGIN = 1, DONE = 2, FAILED = 3;
const trail = fs.openSync(process.env.TRAIL, 'a');
const workMs = Number(process.env.TRAIL_US || 0) / 1000;
const never = new Int32Array(new SharedArrayBuffer(4));

function note(kind, record, key) {
  const entry = Buffer.alloc(32); // trail_entry
  entry.writeUInt32LE(kind, 0);
  entry.writeInt32LE(process.pid, 4);
  entry.writeBigInt64LE(record.offset, 8);
  entry.writeBigUInt64LE(key, 16);
  entry.writeInt32LE(record.partition, 24);
  entry.writeUInt32LE(record.attempt, 28);
  fs.writeSync(trail, entry);
}

function suffer(what) {
  if (what === 'kill') process.kill(process.pid, 'SIGKILL');
  if (what === 'stop') process.kill(process.pid, 'SIGSTOP');
  if (what === 'abort') process.abort();
  if (what === 'exit') process.exit(0);
  if (what === 'segv') {
    fs.writeSync(2, 'about to fall\n');
    process.kill(process.pid, 'SIGSEGV');
  }
  if (what !== 'fail') Atomics.wait(never, 0, 0); // the signal, or for ever
}

weft.run((record) => {
  const key = record.key === null ? '' : record.key.toString('latin1');
  const number = key.length > 1 ? BigInt(key.slice(1)) + BigInt(key.charCodeAt(0)) * 1000n : 0n;
  note(BEGIN, record, number);
  const value = record.value === null ? '' : record.value.subarray(0, 31).toString('latin1');
  const [, what, attempts] = /^([a-z]+) (\d+)/.exec(value) || [];
  const applies = what !== undefined && record.attempt <= Number(attempts);
  if (applies) suffer(what);
  if (workMs) Atomics.wait(never, 0, 0, workMs);
  note(applies ? FAILED : DONE, record, number);
  if (applies) throw new Error(`told to fail ${attempts} times`);
});
