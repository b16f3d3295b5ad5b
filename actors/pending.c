/* SPDX-License-Identifier: Apache-2.0 */
#include "pending.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"

enum {
    TABLES_MAX = 64,
    SLOT_BITS = 24,
    GENERATION_BITS =
        34, /* beside 6 bits of table and 24 of slot. A stale token could be taken for a new one after 2^34
             * deferrals through its one slot: five hours at a million a second, if somebody keeps it */
};

typedef enum slot_state { SLOT_FREE = 0, SLOT_OPEN, SLOT_DONE } slot_state;

typedef struct pending_slot {
    _Atomic uint64_t word; /* generation << 2 | slot_state */
    _Atomic(const wf_record *) record;
    char *reason;
    _Atomic uint32_t next; /* in the free list or the completed list: slot plus 1, 0: end */
    weft_result result;
} pending_slot;

struct wf_pending {
    _Atomic bool in_use;
    uint32_t index;
    uint32_t capacity;
    int fd;
    pending_slot *slots;
    _Atomic uint64_t free_head; /* tag << 32 | slot plus 1: the tag defeats the ABA problem */
    _Atomic uint32_t done_head; /* slot plus 1 */
    uint32_t taken;             /* what take() has detached and not handed out: slot plus 1, in order */
};

static wf_pending tables[TABLES_MAX];

static uint64_t word_of(uint64_t generation, slot_state state) {
    return generation << 2 | (uint64_t)state;
}

static void push_free(wf_pending *table, uint32_t number) {
    uint64_t head = atomic_load_explicit(&table->free_head, memory_order_relaxed);
    uint64_t next;
    do {
        atomic_store_explicit(&table->slots[number - 1].next, (uint32_t)head, memory_order_relaxed);
        next = ((head >> 32) + 1) << 32 | number;
    } while (!atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_release,
                                                    memory_order_relaxed));
}

static uint32_t pop_free(wf_pending *table) {
    uint64_t head = atomic_load_explicit(&table->free_head, memory_order_acquire);
    for (;;) {
        uint32_t number = (uint32_t)head;
        if (number == 0) return 0;
        uint32_t after = atomic_load_explicit(&table->slots[number - 1].next, memory_order_relaxed);
        uint64_t next = ((head >> 32) + 1) << 32 | after;
        if (atomic_compare_exchange_weak_explicit(&table->free_head, &head, next, memory_order_acquire,
                                                  memory_order_acquire))
            return number;
    }
}

static weft_status make_slots(wf_pending *table, uint32_t capacity) {
    pending_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots) return WEFT_ENOMEM;
    table->slots = slots;
    table->capacity = capacity;
    for (uint32_t i = capacity; i > 0; i--) push_free(table, i);
    return WEFT_OK;
}

/* First use of a table. It keeps its size for ever: stale tokens may be looked up at any time. */
static weft_status make_table(wf_pending *table, uint32_t index, uint32_t capacity) {
    table->index = index;
    table->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (table->fd < 0) return WEFT_ELIMIT;
    weft_status status = make_slots(table, capacity);
    if (status != WEFT_OK) close(table->fd);
    return status;
}

weft_status wf_pending_open(uint32_t capacity, wf_pending **ret_table) {
    WF_CHECK(capacity > 0 && capacity < 1u << SLOT_BITS);
    for (uint32_t i = 0; i < TABLES_MAX; i++) {
        wf_pending *table = &tables[i];
        bool expected = false;
        if (!atomic_compare_exchange_strong(&table->in_use, &expected, true)) continue;
        weft_status status = table->slots ? WEFT_OK : make_table(table, i, capacity);
        if (status == WEFT_OK && table->capacity >= capacity) {
            *ret_table = table;
            return WEFT_OK;
        }
        atomic_store(&table->in_use, false);
        if (status != WEFT_OK) return status;
    }
    return WEFT_ELIMIT;
}

static void drop_completed(wf_pending *table) {
    wf_pending_done done;
    while (wf_pending_take(table, &done, 1) == 1) free(done.reason);
}

static bool is_free(const wf_pending *table, uint32_t number) {
    return (atomic_load_explicit(&table->slots[number - 1].word, memory_order_acquire) & 3) == SLOT_FREE;
}

void wf_pending_close(wf_pending **table_pointer) {
    wf_pending *table = *table_pointer;
    if (!table) return;
    *table_pointer = NULL;
    for (uint32_t number = 1; number <= table->capacity; number++)
        while (!is_free(table, number) && !wf_pending_cancel(table, number, NULL)) {
            /* Completed. If it is not on the list yet, somebody is in the middle of weft_complete(): the next consumer
             * must not find his record there. */
            drop_completed(table);
            if (!is_free(table, number)) sched_yield();
        }
    uint64_t drained;
    while (read(table->fd, &drained, sizeof drained) > 0) {
    }
    atomic_store(&table->in_use, false);
}

int wf_pending_fd(const wf_pending *table) {
    return table->fd;
}

uint32_t wf_pending_defer(wf_pending *table, const wf_record *record, weft_token *ret_token) {
    uint32_t number = pop_free(table);
    if (number == 0) return 0;
    pending_slot *slot = &table->slots[number - 1];
    uint64_t generation = atomic_load_explicit(&slot->word, memory_order_relaxed) >> 2;
    atomic_store_explicit(&slot->record, record, memory_order_relaxed);
    slot->reason = NULL;
    atomic_store_explicit(&slot->word, word_of(generation, SLOT_OPEN), memory_order_release);
    ret_token->id = (uint64_t)table->index << (SLOT_BITS + GENERATION_BITS) | (uint64_t)number << GENERATION_BITS |
                    (generation & ((UINT64_C(1) << GENERATION_BITS) - 1));
    return number;
}

/* The slot is ours: end its generation and put it back. */
static void release(wf_pending *table, uint32_t number, uint64_t generation) {
    atomic_store_explicit(&table->slots[number - 1].word, word_of(generation + 1, SLOT_FREE), memory_order_release);
    push_free(table, number);
}

bool wf_pending_cancel(wf_pending *table, uint32_t number, const wf_record *record) {
    pending_slot *slot = &table->slots[number - 1];
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    if ((word & 3) != SLOT_OPEN) return false;
    uint64_t generation = word >> 2;
    /* The slot may serve another record by now. If it changes hands after this look, its word has changed, too. */
    if (record && atomic_load_explicit(&slot->record, memory_order_relaxed) != record) return false;
    /* SLOT_DONE in passing: nobody else can touch the slot while it is neither open nor free. */
    if (!atomic_compare_exchange_strong_explicit(&slot->word, &word, word_of(generation, SLOT_DONE),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    release(table, number, generation);
    return true;
}

char *wf_reason_copy(const char *reason) {
    return reason && *reason ? strndup(reason, WF_REASON_MAX) : NULL;
}

weft_status weft_complete(weft_token token, weft_result result, const char *reason) {
    if (result != WEFT_SUCCESS && result != WEFT_FAILURE) return WEFT_EINVAL;
    wf_pending *table = &tables[token.id >> (SLOT_BITS + GENERATION_BITS)];
    uint32_t number = (uint32_t)(token.id >> GENERATION_BITS) & ((1u << SLOT_BITS) - 1);
    uint64_t low = token.id & ((UINT64_C(1) << GENERATION_BITS) - 1);
    if (number == 0 || number > table->capacity) return WEFT_ESTALE;
    pending_slot *slot = &table->slots[number - 1];
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    uint64_t generation = word >> 2;
    if ((word & 3) != SLOT_OPEN || (generation & ((UINT64_C(1) << GENERATION_BITS) - 1)) != low) return WEFT_ESTALE;
    char *copy = wf_reason_copy(reason); /* before the swap: after it the slot's owner may be in a hurry */
    if (!atomic_compare_exchange_strong_explicit(&slot->word, &word, word_of(generation, SLOT_DONE),
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        free(copy);
        return WEFT_ESTALE;
    }
    slot->result = result;
    slot->reason = copy;
    uint32_t head = atomic_load_explicit(&table->done_head, memory_order_relaxed);
    do atomic_store_explicit(&slot->next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&table->done_head, &head, number, memory_order_release,
                                                  memory_order_relaxed));
    /* Only the first of a burst wakes the loop. The eventfd lives as long as the table: for ever. */
    if (head == 0) {
        uint64_t one = 1;
        ssize_t written = write(table->fd, &one, sizeof one);
        (void)written; /* it can only fail when the counter is full, and then it is readable */
    }
    return WEFT_OK;
}

/* Detach the completed list and turn it round: it was pushed at the front. */
static uint32_t detach(wf_pending *table) {
    uint32_t number = atomic_exchange_explicit(&table->done_head, 0, memory_order_acquire);
    uint32_t oldest = 0;
    while (number) {
        pending_slot *slot = &table->slots[number - 1];
        uint32_t next = atomic_load_explicit(&slot->next, memory_order_relaxed);
        atomic_store_explicit(&slot->next, oldest, memory_order_relaxed);
        oldest = number;
        number = next;
    }
    return oldest;
}

size_t wf_pending_take(wf_pending *table, wf_pending_done *done, size_t capacity) {
    size_t count = 0;
    while (count < capacity) {
        if (table->taken == 0) table->taken = detach(table);
        if (table->taken == 0) break;
        uint32_t number = table->taken;
        pending_slot *slot = &table->slots[number - 1];
        table->taken = atomic_load_explicit(&slot->next, memory_order_relaxed);
        done[count++] = (wf_pending_done){.record = atomic_load_explicit(&slot->record, memory_order_relaxed),
                                          .reason = slot->reason,
                                          .result = slot->result};
        slot->reason = NULL;
        release(table, number, atomic_load_explicit(&slot->word, memory_order_relaxed) >> 2);
    }
    return count;
}
