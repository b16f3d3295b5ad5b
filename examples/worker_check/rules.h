/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of docs/worker-protocol.md, by their numbers there.
 */
#ifndef WORKER_CHECK_RULES_H
#define WORKER_CHECK_RULES_H

enum {
    RULE_FRAME = 1,
    RULE_HELLO = 2,
    RULE_WELCOME = 3,
    RULE_RECORD = 4,
    RULE_ORDER = 5,
    RULE_FAILURE = 6,
    RULE_DONE = 7,
    RULE_IN_TIME = 8,
    RULE_PING = 9,
    RULE_CANCEL = 10,
    RULE_BYE = 11,
    RULE_LEAVE = 12,
    RULE_SILENCE = 13,
    RULE_NONSENSE = 14,
    RULE_WORD = 15,
    RULE_LOG = 16,
    RULE_END = 17,
};

#endif
