/* SPDX-License-Identifier: Apache-2.0
 *
 * What handlers do: succeed, fail some times, defer and keep the promise later (or before the handler returned, or
 * never), answer nonsense. All by seed.
 */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "truth.h"
#include "weft/record.h"

enum { SIM_TOKENS_MAX = 2048 };

typedef struct sim_token {
    weft_token token;
    sim_log *log;
    int64_t offset;
    uint64_t sent_ns; /* when its record was lent */
    uint64_t due_ns;
    weft_result result;
    bool open; /* as far as we know, somebody waits for it */
} sim_token;

typedef struct sim_script {
    sim_truth *truth;
    sim_broker *broker;
    const sim_plan *plan;
    sim_chance *chance;
    sim_token tokens[SIM_TOKENS_MAX];
    uint32_t token_count;
    bool poisoned;  /* records that are poison fail in this incarnation */
    bool completed; /* weft_complete() was called: the waker's descriptor may ring */
} sim_script;

/* The two kinds of handlers; the context is a sim_script. */
weft_result sim_script_handle(const weft_record *record, void *context);
void sim_script_handle_batch(const weft_record *const *records, weft_result *results, size_t count, void *context);

uint64_t sim_script_next_ns(const sim_script *script);
/* Keep one promise that is due. */
void sim_script_complete(sim_script *script);
/* Complete a token that is nobody's any more: nothing may happen. */
void sim_script_complete_stale(sim_script *script);
/* The incarnation is over: all tokens are stale. */
void sim_script_end(sim_script *script);

#endif
