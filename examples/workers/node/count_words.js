// SPDX-License-Identifier: Apache-2.0
// An example handler: counts the words of each value. worker.command = node count_words.js
'use strict';

const weft = require('./weft');

weft.run((record) => {
  if (record.value === null) throw new Error('a record without a value');
  const words = record.value.toString().split(/\s+/).filter(Boolean);
  weft.log('debug', `${record.key} has ${words.length} words`);
});
