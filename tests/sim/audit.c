/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at the inside of the actors: where every block is, whether credit adds up; and frees what a dead incarnation
 * leaves.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "world.h"

typedef struct tally {
    uint64_t blocks_bytes;
    int64_t credit_records;
    int64_t credit_bytes;
} tally;

/* --- every block */

typedef void (*visitor)(void *context, wf_record *block);

static void visit_chain(wf_record *head, visitor visit, void *context) {
    wf_record *next;
    for (wf_record *block = head; block; block = next) {
        next = block->next;
        visit(context, block);
    }
}

static wf_record *blocks_of(const sim_mail *mail) {
    const void *body = mail->body;
    if (mail->type == WF_MSG_RECORDS) return ((const wf_chain *)body)->head;
    if (mail->type == WF_MSG_CREDIT) return ((const wf_credit *)body)->head;
    return NULL;
}

static void visit_mail(const sim_world *world, visitor visit, void *context) {
    for (uint32_t from = 1; from < SIM_IDS; from++)
        for (uint32_t to = 1; to < SIM_IDS; to++)
            for (const sim_mail *mail = world->lines[from][to].head; mail; mail = mail->next)
                visit_chain(blocks_of(mail), visit, context);
}

/* Blocks of the manager that are not on their way home; those that are lent are in these lists too. */
static void visit_manager(const wf_work_manager_state *manager, visitor visit, void *context) {
    wf_record *next;
    for (uint32_t i = 0; i < manager->slot_count; i++)
        for (wf_record *block = manager->slots[i].head; block; block = next) {
            next = block->slot_next;
            visit(context, block);
        }
    for (wf_record *block = manager->fenced; block; block = next) {
        next = block->slot_next;
        visit(context, block);
    }
}

static void count_block(void *context, wf_record *block) {
    ((tally *)context)->blocks_bytes += block->block_bytes;
}

static void count_credit(void *context, wf_record *block) {
    tally *sum = context;
    if (block->flags & WF_RECORD_DEFERRED) return;
    sum->credit_records++;
    sum->credit_bytes += block->block_bytes;
}

static void count_mail_credit(const sim_world *world, tally *sum) {
    for (uint32_t from = 1; from < SIM_IDS; from++)
        for (uint32_t to = 1; to < SIM_IDS; to++)
            for (const sim_mail *mail = world->lines[from][to].head; mail; mail = mail->next) {
                const void *body = mail->body;
                const wf_credit *credit = body;
                if (mail->type == WF_MSG_RECORDS) visit_chain(blocks_of(mail), count_credit, sum);
                if (mail->type != WF_MSG_CREDIT) continue;
                sum->credit_records += credit->records;
                sum->credit_bytes += (int64_t)credit->bytes;
            }
}

static void audit_slot(const wf_work_slot *slot) {
    uint32_t out = 0, parked = 0;
    int64_t last = -1;
    for (const wf_record *block = slot->head; block; block = block->slot_next) {
        SIM_CHECK(block->offset > last, "records of a partition are out of order in the work manager");
        SIM_CHECK(block->epoch == slot->epoch, "a record of an old epoch is in the list of the new one");
        last = block->offset;
        out += block->state != WF_RECORD_QUEUED;
        parked += block->state == WF_RECORD_PARKED;
    }
    SIM_CHECK(out == slot->out && parked == slot->parked, "%s/%d: out=%u of %u, parked=%u of %u", slot->topic,
              slot->partition, slot->out, out, slot->parked, parked);
}

void sim_audit_blocks(const sim_world *world) {
    const wf_poller_state *poller = sim_poller(world);
    const wf_work_manager_state *manager = sim_manager(world);
    tally sum = {.credit_records = poller->credit_records + manager->credit_records - manager->owed_records,
                 .credit_bytes = poller->credit_bytes + (int64_t)manager->credit_bytes - (int64_t)manager->owed_bytes};
    visit_chain(manager->home.head, count_block, &sum);
    visit_mail(world, count_block, &sum);
    visit_manager(manager, count_block, &sum);
    visit_manager(manager, count_credit, &sum);
    count_mail_credit(world, &sum);
    SIM_CHECK(sum.blocks_bytes == wf_record_pool_held_bytes(&poller->pool),
              "%llu bytes of blocks are somewhere, the pool misses %llu", (unsigned long long)sum.blocks_bytes,
              (unsigned long long)wf_record_pool_held_bytes(&poller->pool));
    SIM_CHECK(sum.credit_records == poller->options.queue_max_records, "credit adds up to %lld records of %u",
              (long long)sum.credit_records, poller->options.queue_max_records);
    SIM_CHECK(sum.credit_bytes == (int64_t)poller->options.queue_max_bytes, "credit adds up to %lld bytes of %llu",
              (long long)sum.credit_bytes, (unsigned long long)poller->options.queue_max_bytes);
    wf_lanes_check(&manager->lanes);
    for (uint32_t i = 0; i < manager->slot_count; i++) {
        audit_slot(&manager->slots[i]);
        if (manager->lanes.slots[i].parked.count && !manager->lanes.slots[i].stopped) sim_seen(SIM_SEEN_GATE);
    }
    SIM_CHECK(manager->lent_records == world->truth->lent, "%u records are lent, the manager says %u",
              world->truth->lent, manager->lent_records);
    bool abandons = world->plan->manager.handler_deadline_ns && world->plan->manager.stuck_policy == WF_STUCK_ABANDON;
    SIM_CHECK(abandons || manager->parked_records == world->truth->parked,
              "%u records are deferred, the manager says %u", world->truth->parked, manager->parked_records);
}

static bool could_dispatch(const sim_world *world) {
    const wf_work_manager_state *manager = sim_manager(world);
    const wf_work_manager_options *options = &manager->options;
    if (manager->failed || manager->lent_records >= options->in_flight_max_records) return false;
    if (manager->out_bytes >= options->in_flight_max_bytes) return false;
    if (manager->defers && manager->parked_records + manager->lent_records >= options->pending_max_records)
        return false;
    uint32_t retries_max = manager->workers.live * WF_SLICES_MAX / 4;
    bool retries = manager->lanes.retry_ready.count > 0 && manager->retries_out < (retries_max ? retries_max : 1);
    return manager->workers.by_load[0] && (manager->lanes.ready.count > 0 || retries);
}

void sim_audit_idle(const sim_world *world) {
    const wf_poller_state *poller = sim_poller(world);
    if (world->actors[SIM_POLLER].is_drained) return;
    bool reads = poller->credit_records > 0 && poller->credit_bytes > 0;
    SIM_CHECK(!world->broker->ready, "the poller sleeps while an event waits for it");
    SIM_CHECK(!reads || !sim_broker_has_records(world->broker), "the poller sleeps with credit while records wait");
    SIM_CHECK(!could_dispatch(world), "the work manager sleeps while records and workers wait");
}

void sim_audit_drained(const sim_world *world) {
    const wf_poller_state *poller = sim_poller(world);
    const wf_work_manager_state *manager = sim_manager(world);
    SIM_CHECK(world->mail_count == 0, "drained, and %u messages are on their way", world->mail_count);
    SIM_CHECK(world->truth->flight_count == 0, "drained, and %u records are out", world->truth->flight_count);
    SIM_CHECK(wf_record_pool_held_bytes(&poller->pool) == 0, "drained, and %llu bytes are not home",
              (unsigned long long)wf_record_pool_held_bytes(&poller->pool));
    SIM_CHECK(poller->credit_records == poller->options.queue_max_records, "drained, and credit is %lld",
              (long long)poller->credit_records);
    SIM_CHECK(manager->lanes.lane_count == 0 && manager->lanes.queued == 0, "drained, and %u lanes are left",
              manager->lanes.lane_count);
    SIM_CHECK(manager->active_count == 0, "drained, and %u partitions are active", manager->active_count);
    SIM_CHECK(manager->lent_records == 0 && manager->parked_records == 0 && manager->out_bytes == 0 &&
                  manager->retries_out == 0,
              "drained, and counters are lent=%u parked=%u bytes=%llu retries=%u", manager->lent_records,
              manager->parked_records, (unsigned long long)manager->out_bytes, manager->retries_out);
}

/* --- the end of an incarnation */

typedef struct heap_of_blocks {
    wf_record **blocks;
    size_t count, room;
} heap_of_blocks;

static void collect(void *context, wf_record *block) {
    heap_of_blocks *heap = context;
    if (heap->count == heap->room) {
        heap->room = heap->room ? 2 * heap->room : 256;
        heap->blocks = realloc(heap->blocks, heap->room * sizeof(wf_record *));
        WF_CHECK(heap->blocks != NULL);
    }
    heap->blocks[heap->count++] = block;
}

/* What a message that nobody will take owns, blocks apart. */
static void dispose(const sim_mail *mail) {
    const void *body = mail->body;
    if (mail->type == WF_MSG_RESTORE) free(((const wf_restore *)body)->metadata);
    if (mail->type == WF_MSG_ASSIGNED) free(((const wf_assigned *)body)->runs);
    if (mail->type == WF_MSG_SNAPSHOT) free(((const wf_snapshot *)body)->runs);
    if (mail->type == WF_MSG_COMMIT || mail->type == WF_MSG_TOO_LARGE) free(((const wf_commit *)body)->metadata);
    if (mail->type == WF_MSG_REPORT) free(((const wf_report *)body)->metrics);
    if (mail->type == WF_MSG_UNPARKED)
        for (size_t i = 0; i < mail->bytes / sizeof(wf_unparked); i++) free(((const wf_unparked *)body)[i].reason);
}

void sim_world_end(sim_world *world) {
    sim_audit_blocks(world);
    heap_of_blocks heap = {0};
    wf_work_manager_state *manager = sim_manager(world);
    visit_mail(world, collect, &heap);
    visit_manager(manager, collect, &heap);
    visit_chain(manager->home.head, collect, &heap);
    for (size_t i = 0; i < heap.count; i++) {
        free(heap.blocks[i]->reason);
        heap.blocks[i]->reason = NULL;
        wf_record_pool_give(&sim_poller(world)->pool, heap.blocks[i]);
    }
    free(heap.blocks);
    sim_poller(world)->fenced_ever = false; /* no handler has any of them */
    for (uint32_t from = 1; from < SIM_IDS; from++)
        for (uint32_t to = 1; to < SIM_IDS; to++)
            while (world->lines[from][to].head) {
                sim_mail *mail = world->lines[from][to].head;
                world->lines[from][to].head = mail->next;
                dispose(mail);
                free(mail);
            }
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++)
        if (world->actors[id].exists) wf_actor_free(&world->actors[id].actor);
    if (world->processes) sim_processes_end(world->processes);
    free(world->processes);
    free(world->report);
    wf_pending_close(&world->pending);
    sim_script_end(world->script);
}

/* --- what is owed */

void sim_world_dump(const sim_world *world) {
    const wf_poller_state *poller = sim_poller(world);
    const wf_work_manager_state *manager = sim_manager(world);
    const sim_broker *broker = world->broker;
    fprintf(
        stderr,
        "at %.3f s: group=%d closing=%d expelled=%d calm=%d mail=%u lent=%u parked=%u credit=%lld/%lld failure=%d\n",
        (double)world->now_ns / 1e9, broker->group, broker->closing, broker->expelled, world->calm, world->mail_count,
        manager->lent_records, manager->parked_records, (long long)poller->credit_records,
        (long long)poller->credit_bytes, world->failure);
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        const sim_log *log = &broker->logs[i];
        fprintf(stderr,
                "  %s/%d log=%lld..%lld committed=%lld map=%zu ours=%d told=%d fetching=%d held=%d position=%lld\n",
                log->topic, log->partition, (long long)log->start, (long long)log->end, (long long)log->committed,
                log->metadata_bytes, log->ours, log->told, log->fetching, log->held, (long long)log->position);
    }
    for (uint32_t i = 0; i < poller->slot_count; i++)
        fprintf(stderr, "  poller slot %u: %s/%d phase=%d epoch=%u next=%lld has_commit=%d in_flight=%d\n", i,
                poller->slots[i].topic, poller->slots[i].partition, poller->slots[i].phase, poller->slots[i].epoch,
                (long long)poller->slots[i].next, poller->slots[i].has_commit, poller->slots[i].in_flight);
    for (uint32_t i = 0; i < manager->slot_count; i++) {
        const wf_work_slot *slot = &manager->slots[i];
        if (slot->phase == WF_WORK_GONE) continue;
        fprintf(stderr,
                "  manager slot %u: phase=%d out=%u parked=%u queued=%llu stalled=%llu stopped=%d held=%d paused=%d "
                "head=%lld state=%d attempt=%d\n",
                i, slot->phase, slot->out, slot->parked, (unsigned long long)manager->lanes.slots[i].queued,
                (unsigned long long)manager->lanes.slots[i].stalled, manager->lanes.slots[i].stopped, slot->held,
                slot->paused, slot->head ? (long long)slot->head->offset : -1, slot->head ? slot->head->state : -1,
                slot->head ? slot->head->attempt : -1);
    }
}
