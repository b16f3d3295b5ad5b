/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

static void must_be_readable(const weft_record *record, const sim_flight *flight) {
    size_t bytes, header_bytes;
    const char *name;
    const void *value;
    const sim_entry *entry = &flight->log->entries[flight->offset];
    const char *key = weft_record_key(record, &bytes);
    SIM_CHECK((key == NULL) == (entry->key == SIM_KEY_NULL), "a record with another key");
    weft_record_value(record, &bytes);
    SIM_CHECK(bytes == entry->value_bytes, "a record with another value");
    size_t headers = weft_record_header_count(record);
    SIM_CHECK(headers == (size_t)(entry->key + 1) % 3, "a record with %zu headers", headers);
    for (size_t i = 0; i < headers; i++)
        SIM_CHECK(weft_record_header(record, i, &name, &value, &header_bytes), "a header is missing");
}

/* What the tests of the accessors cover is not tested again; what the window of time makes of a record is. */
static sim_token *remember(sim_script *script, const sim_flight *flight, weft_token token, weft_result result) {
    if (script->token_count == SIM_TOKENS_MAX) { /* forget those that are over */
        uint32_t kept = 0;
        for (uint32_t i = 0; i < script->token_count; i++)
            if (script->tokens[i].open) script->tokens[kept++] = script->tokens[i];
        script->token_count = kept;
        SIM_CHECK(kept < SIM_TOKENS_MAX, "too many tokens");
    }
    sim_token *entry = &script->tokens[script->token_count++];
    uint64_t now_ns = script->broker->now_ns;
    *entry = (sim_token){.token = token,
                         .log = flight->log,
                         .offset = flight->offset,
                         .sent_ns = flight->sent_ns,
                         .due_ns = now_ns + sim_below(script->chance, script->plan->pending_ns_max),
                         .result = result,
                         .open = true};
    return entry;
}

static void complete(sim_script *script, sim_token *token) {
    const wf_work_manager_options *manager = &script->plan->manager;
    const char *reason = token->result == WEFT_SUCCESS ? NULL : "completed with a failure";
    bool may_be_stale = manager->handler_deadline_ns && manager->stuck_policy == WF_STUCK_ABANDON &&
                        script->broker->now_ns - token->sent_ns >= manager->handler_deadline_ns;
    bool was_open = token->open;
    token->open = false;
    weft_status status = weft_complete(token->token, token->result, reason);
    script->completed = true;
    sim_trace("handler: completes %s/%d %lld result=%d: %s", token->log->topic, token->log->partition,
              (long long)token->offset, token->result, weft_status_text(status));
    if (status == WEFT_ESTALE) sim_seen(SIM_SEEN_STALE_TOKEN);
    SIM_CHECK(was_open || status == WEFT_ESTALE, "a token that is over was taken: %s", weft_status_text(status));
    SIM_CHECK(!was_open || status == WEFT_OK || may_be_stale, "an open token was refused: %s",
              weft_status_text(status));
    if (status == WEFT_OK && token->result == WEFT_SUCCESS) token->log->entries[token->offset].finished = true;
}

/* Defer, and do with the promise what `kind` says. The answer is what the handler returns. */
static weft_result defer(sim_script *script, const weft_record *record, const sim_flight *flight, weft_result result) {
    sim_entry *entry = &flight->log->entries[flight->offset];
    weft_token token = weft_record_defer(record);
    if (token.id == 0) {
        SIM_CHECK(script->plan->inline_engine, "no token for a record");
        if (result == WEFT_SUCCESS) entry->finished = true;
        return result;
    }
    sim_token *promise = remember(script, flight, token, result);
    switch (sim_below(script->chance, 6)) {
    case 0: /* kept before the handler returns */
        complete(script, promise);
        return WEFT_PENDING;
    case 1: /* the handler changes its mind: the promise is over */
        promise->open = false;
        if (result == WEFT_SUCCESS) entry->finished = true;
        return result;
    case 2: /* kept already: what the handler says counts no more */
        complete(script, promise);
        return sim_percent(script->chance, 50) ? WEFT_SUCCESS : WEFT_FAILURE;
    default:
        return WEFT_PENDING;
    }
}

static weft_result fail(sim_script *script, const weft_record *record) {
    switch (sim_below(script->chance, 4)) {
    case 0:
        return WEFT_PENDING; /* without a promise */
    case 1:
        return (weft_result)77;
    case 2:
        return weft_record_fail(record, "attempt %u fails", weft_record_attempt(record));
    default:
        return WEFT_FAILURE;
    }
}

weft_result sim_script_handle(const weft_record *record, void *context) {
    sim_script *script = context;
    sim_flight *flight = sim_truth_started(script->truth, record);
    must_be_readable(record, flight);
    sim_entry *entry = &flight->log->entries[flight->offset];
    bool fails = entry->failures == SIM_POISON ? script->poisoned : record->attempt <= entry->failures;
    weft_result result = fails ? WEFT_FAILURE : WEFT_SUCCESS;
    if (entry->defers)
        result = defer(script, record, flight, result);
    else if (fails)
        result = fail(script, record);
    else
        entry->finished = true;
    sim_trace("handler: %s/%d %lld attempt=%u returns %d", flight->log->topic, flight->log->partition,
              (long long)flight->offset, record->attempt, result);
    return result;
}

void sim_script_handle_batch(const weft_record *const *records, weft_result *results, size_t count, void *context) {
    for (size_t i = 0; i < count; i++) results[i] = sim_script_handle(records[i], context);
}

uint64_t sim_script_next_ns(const sim_script *script) {
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < script->token_count; i++)
        if (script->tokens[i].open && script->tokens[i].due_ns < next_ns) next_ns = script->tokens[i].due_ns;
    return next_ns;
}

void sim_script_complete(sim_script *script) {
    uint32_t first = script->token_count ? (uint32_t)sim_below(script->chance, script->token_count) : 0;
    for (uint32_t i = 0; i < script->token_count; i++) {
        sim_token *token = &script->tokens[(first + i) % script->token_count];
        if (!token->open || token->due_ns > script->broker->now_ns) continue;
        complete(script, token);
        return;
    }
}

void sim_script_complete_stale(sim_script *script) {
    if (script->token_count == 0) return;
    sim_token *token = &script->tokens[sim_below(script->chance, script->token_count)];
    if (!token->open) complete(script, token);
}

void sim_script_end(sim_script *script) {
    for (uint32_t i = 0; i < script->token_count; i++) script->tokens[i].open = false;
}
