/* SPDX-License-Identifier: Apache-2.0
 *
 * Mailboxes under real threads: several senders, one receiver, order per sender, and bodies that point to memory which
 * the sender wrote.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailbox.h"
#include "must.h"

enum { SENDERS = 4, ROUNDS = 5 };

/* The test runner says how it built us: sanitizers are ten times slower. */
static bool under_sanitizer(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    return build && strcmp(build, "test") != 0;
}

static uint64_t per_sender(void) {
    return under_sanitizer() ? 20000 : 100000;
}

typedef struct parcel {
    uint64_t sender;
    uint64_t number;
    uint64_t *words; /* written by the sender, read and freed by the receiver */
} parcel;

typedef struct sender {
    wf_post *post;
    wf_inbox *inbox;
    uint64_t index;
    uint64_t count;
} sender;

static void *send_all(void *argument) {
    const sender *self = argument;
    wf_outbox *outbox = NULL;
    MUST(wf_outbox_open(self->post, self->inbox, 0, &outbox) == WEFT_OK, "no outbox");
    for (uint64_t i = 0; i < self->count; i++) {
        uint64_t *words = must_alloc(4, sizeof *words);
        for (uint64_t w = 0; w < 4; w++) words[w] = self->index * 1000003 + i * 7 + w;
        parcel body = {.sender = self->index, .number = i, .words = words};
        wf_outbox_send(outbox, (wf_header){.type = 7, .from = (uint16_t)self->index, .to = 1}, &body, sizeof body);
    }
    wf_outbox_close(&outbox);
    return NULL;
}

/* Alternates between sleeping, looking and waiting with a timeout: every way to receive. */
static void receive_all(wf_inbox *inbox, uint64_t count) {
    uint64_t next[SENDERS] = {0};
    for (uint64_t received = 0; received < count;) {
        wf_header header;
        const void *body;
        size_t bytes;
        bool sleep = received % 3 == 0;
        if (!wf_inbox_receive(inbox, sleep, &header, &body, &bytes)) {
            MUST(!sleep, "a receive that waits came back with nothing");
            int fd = -1;
            bool ready;
            wf_inbox_wait(inbox, &fd, &ready, 1, 1000);
            continue;
        }
        const parcel *got = body;
        MUST(bytes == sizeof *got && header.type == 7 && header.from == got->sender, "a damaged message");
        MUST(got->number == next[got->sender]++, "sender %llu out of order", (unsigned long long)got->sender);
        for (uint64_t w = 0; w < 4; w++)
            MUST(got->words[w] == got->sender * 1000003 + got->number * 7 + w, "what the sender wrote is not there");
        free(got->words);
        received++;
    }
}

static void run(void) {
    wf_post *post = NULL;
    wf_inbox *inbox = NULL;
    pthread_t threads[SENDERS];
    sender senders[SENDERS];
    MUST(wf_post_open(64, &post) == WEFT_OK && wf_inbox_open(post, 0, &inbox) == WEFT_OK, "no inbox");
    for (uint64_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){.post = post, .inbox = inbox, .index = i, .count = per_sender()};
        MUST(pthread_create(&threads[i], NULL, send_all, &senders[i]) == 0, "no thread");
    }
    receive_all(inbox, SENDERS * per_sender());
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    wf_inbox_close(&inbox);
    wf_post_close(&post);
}

int main(void) {
    for (int i = 0; i < ROUNDS; i++) run();
    printf("%d rounds, %llu messages each\n", ROUNDS, (unsigned long long)(SENDERS * per_sender()));
    return 0;
}
