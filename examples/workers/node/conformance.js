// SPDX-License-Identifier: Apache-2.0
// The handler that weft-worker-check expects: what it does is in the topic's name (examples/worker_check/checks.h).
'use strict';

const weft = require('./weft');

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const data = (bytes) => (bytes === null ? 'null' : `${bytes.length}:${bytes.reduce((sum, byte) => sum + byte, 0)}`);

function echo(record) {
  const headers = record.headers.map(([name, value]) => `${name}=${data(value)}`).join(',');
  return (
    `${record.topic}/${record.partition}/${record.offset} t=${record.timestampMs} a=${record.attempt}` +
    ` k=${data(record.key)} v=${data(record.value)} h=${headers}`
  );
}

async function wait() {
  weft.log('info', 'waiting');
  for (let i = 0; i < 5000; i++) {
    if (weft.cancelled()) return;
    await sleep(1);
  }
  throw new Error('nobody said that it should give up');
}

weft.run((record) => {
  const text = record.value === null ? '' : record.value.toString();
  if (record.topic === 'echo') throw new Error(echo(record));
  if (record.topic === 'fail') throw new Error(text);
  if (record.topic === 'log') weft.log('info', text);
  if (record.topic === 'sleep') return sleep(Number(text));
  if (record.topic === 'cancel') return wait();
});
