/* SPDX-License-Identifier: Apache-2.0
 *
 * Deferred records under real threads: several that defer, several that complete, some that cancel, one that takes.
 * Every promise ends exactly once. And consumers that end while others still complete their promises.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "pending.h"
#include "seeded.h"

enum { CAPACITY = 512, DEFERRERS = 2, COMPLETERS = 3, RING = 1024 };

/* The test runner says how it built us: sanitizers are ten times slower. */
static bool under_sanitizer(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    return build && strcmp(build, "test") != 0;
}

static uint64_t per_deferrer(void) {
    return under_sanitizer() ? 30000 : 200000;
}

/* Promises on their way from those who defer to those who complete; each is given to two of them. */
typedef struct promise {
    _Atomic uint64_t token; /* 0: empty */
} promise;

typedef struct stage {
    wf_pending *table;
    promise ring[RING];
    wf_record *records;
    _Atomic uint32_t *ended; /* by record: how often somebody was told that its promise was his to end */
    _Atomic uint64_t deferred;
    _Atomic uint64_t completed;
    _Atomic uint64_t cancelled;
    _Atomic bool stop;
} stage;

typedef struct actor {
    stage *scene;
    uint64_t index;
} actor;

static size_t number_of(const stage *scene, const wf_record *record) {
    return (size_t)(record - scene->records);
}

static void publish(stage *scene, seeded *random, uint64_t token) {
    for (int copies = 0; copies < 2; copies++) atomic_store(&scene->ring[seeded_below(random, RING)].token, token);
}

static void *defer_all(void *argument) {
    const actor *self = argument;
    stage *scene = self->scene;
    seeded random = seeded_start(1, self->index);
    for (uint64_t i = 0; i < per_deferrer(); i++) {
        wf_record *record = &scene->records[self->index * per_deferrer() + i];
        record->offset = (int64_t)i; /* the taker reads what was written here */
        weft_token token;
        uint32_t number;
        while ((number = wf_pending_defer(scene->table, record, &token)) == 0) sched_yield();
        atomic_fetch_add(&scene->deferred, 1);
        publish(scene, &random, token.id);
        /* The others may have been faster. */
        if (seeded_percent(&random, 50)) {
            if (weft_complete(token, WEFT_FAILURE, "by its own thread") == WEFT_OK)
                atomic_fetch_add(&scene->completed, 1);
        } else if (wf_pending_cancel(scene->table, number, record)) {
            atomic_fetch_add(&scene->ended[number_of(scene, record)], 1);
            atomic_fetch_add(&scene->cancelled, 1);
        }
    }
    return NULL;
}

static void *complete_all(void *argument) {
    const actor *self = argument;
    stage *scene = self->scene;
    seeded random = seeded_start(2, self->index);
    while (!atomic_load(&scene->stop)) {
        weft_token token = {atomic_exchange(&scene->ring[seeded_below(&random, RING)].token, 0)};
        if (!token.id) continue;
        if (weft_complete(token, WEFT_SUCCESS, NULL) == WEFT_OK) atomic_fetch_add(&scene->completed, 1);
    }
    return NULL;
}

static uint64_t take_some(stage *scene) {
    wf_pending_done done[64];
    size_t count = wf_pending_take(scene->table, done, 64);
    for (size_t i = 0; i < count; i++) {
        size_t number = number_of(scene, done[i].record);
        MUST(done[i].record->offset == (int64_t)(number % per_deferrer()), "not what the deferring thread wrote");
        MUST((done[i].result == WEFT_FAILURE) == (done[i].reason != NULL), "reason and result don't belong together");
        atomic_fetch_add(&scene->ended[number], 1);
        free(done[i].reason);
    }
    return count;
}

static void run_exchange(void) {
    stage *scene = must_alloc(1, sizeof *scene);
    size_t count = DEFERRERS * per_deferrer();
    scene->records = must_alloc(count, sizeof *scene->records);
    scene->ended = must_alloc(count, sizeof *scene->ended);
    MUST(wf_pending_open(CAPACITY, &scene->table) == WEFT_OK, "no table");
    pthread_t deferrers[DEFERRERS], completers[COMPLETERS];
    actor actors[DEFERRERS + COMPLETERS];
    for (uint64_t i = 0; i < DEFERRERS + COMPLETERS; i++) {
        actors[i] = (actor){.scene = scene, .index = i};
        pthread_t *thread = i < DEFERRERS ? &deferrers[i] : &completers[i - DEFERRERS];
        MUST(pthread_create(thread, NULL, i < DEFERRERS ? defer_all : complete_all, &actors[i]) == 0, "no thread");
    }
    uint64_t taken = 0;
    while (atomic_load(&scene->deferred) < count) taken += take_some(scene);
    for (int i = 0; i < DEFERRERS; i++) pthread_join(deferrers[i], NULL);
    atomic_store(&scene->stop, true);
    for (int i = 0; i < COMPLETERS; i++) pthread_join(completers[i], NULL);
    uint64_t more;
    while ((more = take_some(scene)) > 0) taken += more;
    MUST(taken == atomic_load(&scene->completed), "%llu taken, %llu completed", (unsigned long long)taken,
         (unsigned long long)atomic_load(&scene->completed));
    MUST(taken + atomic_load(&scene->cancelled) == count, "a promise neither kept nor taken back");
    for (size_t i = 0; i < count; i++)
        MUST(atomic_load(&scene->ended[i]) == 1, "a promise ended %u times", scene->ended[i]);
    wf_pending_close(&scene->table);
    printf("%llu completed, %llu cancelled\n", (unsigned long long)taken,
           (unsigned long long)atomic_load(&scene->cancelled));
    free(scene->ended);
    free(scene->records);
    free(scene);
}

/* --- consumers that end while their promises are being kept */

static _Atomic uint64_t board[64];
static _Atomic bool board_stop;

static void *complete_from_board(void *argument) {
    seeded random = seeded_start(3, (uint64_t)(uintptr_t)argument);
    while (!atomic_load(&board_stop)) {
        weft_token token = {atomic_load(&board[seeded_below(&random, 64)])};
        if (token.id) weft_complete(token, WEFT_FAILURE, "late");
    }
    return NULL;
}

static void *live_and_end(void *argument) {
    seeded random = seeded_start(4, (uint64_t)(uintptr_t)argument);
    int lives = under_sanitizer() ? 1000 : 5000;
    for (int life = 0; life < lives; life++) {
        wf_pending *table;
        wf_record *records = must_alloc(32, sizeof *records); /* of this life only: a stale one is a use after free */
        MUST(wf_pending_open(32, &table) == WEFT_OK, "no table");
        for (int i = 0; i < 32; i++) {
            weft_token token;
            MUST(wf_pending_defer(table, &records[i], &token) > 0, "an empty table is full");
            atomic_store(&board[seeded_below(&random, 64)], token.id);
        }
        wf_pending_done done[32];
        size_t count = wf_pending_take(table, done, 32);
        for (size_t i = 0; i < count; i++) {
            MUST(done[i].record >= records && done[i].record < records + 32, "a record of another life");
            free(done[i].reason);
        }
        wf_pending_close(&table);
        free(records);
    }
    return NULL;
}

static void run_lives(void) {
    pthread_t consumers[2], completers[2];
    for (uintptr_t i = 0; i < 2; i++) {
        MUST(pthread_create(&completers[i], NULL, complete_from_board, (void *)i) == 0, "no thread");
        MUST(pthread_create(&consumers[i], NULL, live_and_end, (void *)i) == 0, "no thread");
    }
    for (int i = 0; i < 2; i++) pthread_join(consumers[i], NULL);
    atomic_store(&board_stop, true);
    for (int i = 0; i < 2; i++) pthread_join(completers[i], NULL);
    printf("consumers came and went\n");
}

int main(void) {
    run_exchange();
    run_lives();
    return 0;
}
