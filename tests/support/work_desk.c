/* SPDX-License-Identifier: Apache-2.0 */
#include "work_desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

static const uint64_t ms = 1000000;

wf_work_manager_options desk_options(void) {
    return (wf_work_manager_options){
        .poller = DESK_POLLER,
        .tracker = DESK_TRACKER,
        .exporter = DESK_EXPORTER,
        .ordering = WF_ORDER_KEY,
        .failure_policy = WF_FAILURE_SKIP,
        .stuck_policy = WF_STUCK_STOP,
        .virtual_partitions = 8,
        .queue_max_records = 100000,
        .in_flight_max_records = 10000,
        .in_flight_max_bytes = 1 << 30,
        .pending_max_records = 1000,
        .slice_max_records = 256,
        .max_attempts = 5,
        .retry_backoff_ns = 100 * ms,
        .retry_backoff_max_ns = 1000 * ms,
        .map_span = 1 << 20,
        .map_runs = 1 << 20,
    };
}

void desk_start(work_desk *desk, const wf_work_manager_options *options, uint32_t workers) {
    *desk = (work_desk){0};
    fake_env_start(&desk->fake, &wf_work_manager, options, 1000 * ms);
    for (uint32_t i = 0; i < workers; i++) {
        wf_worker_up up = {.actor = DESK_WORKER + i, .worker = i};
        fake_env_tell(&desk->fake, DESK_WORKER + i, WF_MSG_WORKER_UP, &up, sizeof up);
    }
}

void desk_abort(work_desk *desk) {
    for (int i = 0; i < DESK_SLOTS; i++)
        if (desk->slots[i].started) wf_window_deinit(&desk->slots[i].window);
    fake_env_end(&desk->fake);
}

void desk_end(work_desk *desk) {
    desk_collect(desk);
    MUST(desk->home_blocks == desk->given_records, "%llu of %llu blocks came home",
         (unsigned long long)desk->home_blocks, (unsigned long long)desk->given_records);
    MUST(desk->credit_records == desk->given_records, "credit of %llu records came home for %llu",
         (unsigned long long)desk->credit_records, (unsigned long long)desk->given_records);
    MUST(desk->credit_bytes == desk->given_bytes, "credit of %llu bytes came home for %llu",
         (unsigned long long)desk->credit_bytes, (unsigned long long)desk->given_bytes);
    desk_abort(desk);
}

/* --- poller */

void desk_assign(work_desk *desk, uint32_t index, int64_t base, const wf_offset_run *runs, uint32_t count) {
    desk_slot *slot = &desk->slots[index];
    slot->epoch++;
    slot->assigned = true;
    slot->completed = 0;
    if (base >= 0) {
        wf_window_init(&slot->window, base);
        slot->started = true;
        MUST(count == 0 || wf_window_restore(&slot->window, runs, count) == WEFT_OK, "the map can't be restored");
    }
    wf_assigned assigned = {.topic = "orders",
                            .partition = (int32_t)index,
                            .slot = index,
                            .epoch = slot->epoch,
                            .count = count,
                            .base = base};
    if (count) {
        assigned.runs = must_alloc(count, sizeof *runs);
        memcpy(assigned.runs, runs, count * sizeof *runs);
    }
    fake_env_tell(&desk->fake, DESK_TRACKER, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
    fake_sent ready;
    MUST(fake_env_take(&desk->fake, WF_MSG_READY, &ready), "no READY");
}

void desk_revoke(work_desk *desk, uint32_t slot, uint64_t deadline_ns, bool lost) {
    wf_revoke revoke = {.slot = slot, .epoch = desk->slots[slot].epoch, .deadline_ns = deadline_ns, .lost = lost};
    fake_env_tell(&desk->fake, DESK_POLLER, WF_MSG_REVOKE, &revoke, sizeof revoke);
    desk_collect(desk);
}

wf_record *desk_record(work_desk *desk, uint32_t slot, int64_t offset, uint64_t key) {
    uint32_t extra = 16 + (uint32_t)(offset % 7) * 8;
    wf_record *record = must_alloc(1, sizeof *record + extra);
    *record = (wf_record){.offset = offset,
                          .slot = slot,
                          .epoch = desk->slots[slot].epoch,
                          .topic = "orders",
                          .partition = (int32_t)slot,
                          .key_hash = key,
                          .key_bytes = key ? 8 : -1,
                          .attempt = 1,
                          .received_ns = desk->fake.now_ns,
                          .block_bytes = (uint32_t)sizeof *record + extra};
    desk->given_records++;
    desk->given_bytes += record->block_bytes;
    return record;
}

void desk_arrive(work_desk *desk, wf_chain *records) {
    fake_env_tell(&desk->fake, DESK_POLLER, WF_MSG_RECORDS, records, sizeof *records);
    *records = (wf_chain){0};
    desk_collect(desk);
}

void desk_feed(work_desk *desk, uint32_t slot, int64_t first, const uint64_t *keys, size_t count) {
    wf_chain records = {0};
    for (size_t i = 0; i < count; i++) wf_chain_push(&records, desk_record(desk, slot, first + (int64_t)i, keys[i]));
    desk_arrive(desk, &records);
}

static void take_credit(work_desk *desk, const wf_credit *credit) {
    desk->credit_records += credit->records;
    desk->credit_bytes += credit->bytes;
    uint32_t blocks = 0;
    wf_record *next;
    for (wf_record *record = credit->head; record; record = next, blocks++) {
        next = record->next;
        MUST(record->reason == NULL, "a block came home with a reason");
        free(record);
    }
    desk->enough = credit->enough;
    MUST(blocks == credit->blocks, "CREDIT says %u blocks and has %u", credit->blocks, blocks);
    desk->home_blocks += blocks;
    MUST(desk->credit_records <= desk->given_records && desk->credit_bytes <= desk->given_bytes, "credit was invented");
}

/* --- tracker */

static desk_slot *current(work_desk *desk, uint32_t slot, uint32_t epoch) {
    MUST(slot < DESK_SLOTS && epoch <= desk->slots[slot].epoch, "slot %u epoch %u", slot, epoch);
    MUST(epoch == desk->slots[slot].epoch && desk->slots[slot].assigned, "offsets of an epoch that is over");
    return &desk->slots[slot];
}

static void take_fetched(work_desk *desk, const fake_sent *sent) {
    const wf_fetched *fetched = sent->body;
    for (size_t i = 0; i < sent->body_bytes / sizeof *fetched; i++) {
        desk_slot *slot = current(desk, fetched[i].slot, fetched[i].epoch);
        if (!slot->started) wf_window_init(&slot->window, fetched[i].run.first);
        slot->started = true;
        wf_window_fetched(&slot->window, fetched[i].run.first, fetched[i].run.end);
    }
}

static void take_completed(work_desk *desk, const fake_sent *sent) {
    const wf_completed *completed = sent->body;
    for (size_t i = 0; i < sent->body_bytes / sizeof *completed; i++) {
        desk_slot *slot = current(desk, completed[i].slot, completed[i].epoch);
        bool good = slot->started && wf_window_complete(&slot->window, completed[i].offset);
        MUST(good, "offset %lld was completed twice or never fetched", (long long)completed[i].offset);
        slot->completed++;
    }
}

static void take_drained(work_desk *desk, const wf_drained *drained) {
    desk_slot *slot = current(desk, drained->slot, drained->epoch);
    slot->drained++;
    slot->last_drained = *drained;
    slot->assigned = false;
    if (slot->started) wf_window_deinit(&slot->window);
    slot->started = false;
}

static bool collect_once(work_desk *desk) {
    bool offsets = false, prefix = true;
    for (size_t i = desk->fake.sent_first; i < desk->fake.sent_count; i++) {
        fake_sent *sent = &desk->fake.sent[i];
        prefix = prefix && sent->taken;
        if (prefix) desk->fake.sent_first = i;
        if (sent->taken) continue;
        sent->taken = true;
        if (sent->type == WF_MSG_CREDIT)
            take_credit(desk, sent->body);
        else if (sent->type == WF_MSG_FETCHED)
            take_fetched(desk, sent);
        else if (sent->type == WF_MSG_UNFETCH)
            wf_window_unfetch(&desk->slots[((const wf_log_end *)sent->body)->slot].window,
                              ((const wf_log_end *)sent->body)->end);
        else if (sent->type == WF_MSG_COMPLETED)
            take_completed(desk, sent);
        else if (sent->type == WF_MSG_DRAINED)
            take_drained(desk, sent->body);
        else
            sent->taken = false;
        offsets = offsets || sent->type == WF_MSG_FETCHED || sent->type == WF_MSG_COMPLETED;
    }
    return offsets;
}

static void send_progress(work_desk *desk) {
    wf_progress progress[DESK_SLOTS];
    size_t count = 0;
    for (uint32_t i = 0; i < DESK_SLOTS; i++) {
        const desk_slot *slot = &desk->slots[i];
        if (!slot->assigned || !slot->started) continue;
        progress[count++] = (wf_progress){.slot = i,
                                          .epoch = slot->epoch,
                                          .frontier = slot->window.frontier,
                                          .runs = slot->window.run_count,
                                          .completed = slot->completed};
    }
    if (count) fake_env_tell(&desk->fake, DESK_TRACKER, WF_MSG_PROGRESS, progress, count * sizeof *progress);
}

void desk_collect(work_desk *desk) {
    while (collect_once(desk) && !desk->no_progress) send_progress(desk);
}

/* --- workers */

bool desk_work(work_desk *desk, wf_slice *ret_slice) {
    desk_collect(desk);
    fake_sent sent;
    if (!fake_env_take(&desk->fake, WF_MSG_WORK, &sent)) return false;
    *ret_slice = *(const wf_slice *)sent.body;
    uint32_t count = 0;
    for (const wf_record *record = ret_slice->head; record; record = record->next) count++;
    MUST(count == ret_slice->count && count > 0, "WORK says %u records and has %u", ret_slice->count, count);
    MUST(sent.to == DESK_WORKER + ret_slice->worker, "WORK for worker %u went to actor %u", ret_slice->worker, sent.to);
    return true;
}

static void send_done(work_desk *desk, wf_slice slice) {
    fake_env_tell(&desk->fake, DESK_WORKER + slice.worker, WF_MSG_DONE, &slice, sizeof slice);
    desk_collect(desk);
}

void desk_done(work_desk *desk, wf_slice slice, wf_done_status status) {
    for (wf_record *record = slice.head; record; record = record->next) record->status = (uint8_t)status;
    send_done(desk, slice);
}

void desk_done_each(work_desk *desk, wf_slice slice, const char *statuses) {
    MUST(strlen(statuses) == slice.count, "%s for %u records", statuses, slice.count);
    for (wf_record *record = slice.head; record; record = record->next, statuses++)
        record->status = *statuses == 's'   ? WF_DONE_SUCCESS
                         : *statuses == 'f' ? WF_DONE_FAILURE
                         : *statuses == 'p' ? WF_DONE_PENDING
                                            : WF_DONE_UNRUN;
    send_done(desk, slice);
}

void desk_unpark(work_desk *desk, wf_record *record, wf_done_status status) {
    wf_unparked unparked = {.record = record, .status = status};
    fake_env_tell(&desk->fake, DESK_WAKER, WF_MSG_UNPARKED, &unparked, sizeof unparked);
    desk_collect(desk);
}

void desk_advance_ms(work_desk *desk, uint64_t by_ms) {
    fake_env_advance(&desk->fake, by_ms * ms);
    desk_collect(desk);
}

const char *desk_offsets(wf_slice slice) {
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    for (const wf_record *record = slice.head; record && used < sizeof text - 32; record = record->next)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", used ? " " : "", (long long)record->offset);
    return text;
}

int64_t desk_frontier(const work_desk *desk, uint32_t slot) {
    return desk->slots[slot].started ? desk->slots[slot].window.frontier : -1;
}

bool desk_completed(const work_desk *desk, uint32_t slot, int64_t offset) {
    return desk->slots[slot].started && wf_window_is_complete(&desk->slots[slot].window, offset);
}
