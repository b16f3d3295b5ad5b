/* SPDX-License-Identifier: Apache-2.0
 *
 * Mailboxes alone: ns per message between actors of one loop and between two busy threads, and what a sleeping thread
 * costs: there and back.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "mailbox.h"
#include "stats.h"

enum { BODY_BYTES = 24, REPETITIONS = 7, MESSAGES = 500000, TRIPS = 5000, BURST = 16 };

typedef struct wire {
    wf_post *post;
    wf_inbox *here;
    wf_inbox *there;
} wire;

static wf_outbox *open_to(wf_post *post, wf_inbox *inbox, uint32_t index) {
    wf_outbox *outbox = NULL;
    if (wf_outbox_open(post, inbox, index, &outbox) != WEFT_OK) abort();
    return outbox;
}

static void open_line(wire *line) {
    if (wf_post_open(16, &line->post) != WEFT_OK || wf_inbox_open(line->post, 0, &line->here) != WEFT_OK ||
        wf_inbox_open(line->post, 1, &line->there) != WEFT_OK)
        abort();
}

static void close_line(wire *line) {
    wf_inbox_close(&line->here);
    wf_inbox_close(&line->there);
    wf_post_close(&line->post);
}

static void send_one(wf_outbox *outbox, uint64_t number) {
    uint64_t body[BODY_BYTES / 8] = {number};
    wf_outbox_send(outbox, (wf_header){.type = 1, .from = 1, .to = 2}, body, sizeof body);
}

static uint64_t receive_one(wf_inbox *inbox, bool wait) {
    wf_header header;
    const void *body;
    size_t bytes;
    return wf_inbox_receive(inbox, wait, &header, &body, &bytes) ? *(const uint64_t *)body : UINT64_MAX;
}

/* One thread, a few messages at a time: what actors of one loop pay. */
static double same_loop(void *argument) {
    (void)argument;
    wire line;
    open_line(&line);
    wf_outbox *outbox = open_to(line.post, line.here, 0);
    uint64_t sum = 0, begin_ns = stats_now_ns();
    for (uint64_t i = 0; i < MESSAGES; i += BURST) {
        for (uint64_t k = 0; k < BURST; k++) send_one(outbox, i + k);
        for (uint64_t k = 0; k < BURST; k++) sum += receive_one(line.here, false);
    }
    uint64_t end_ns = stats_now_ns();
    stats_use(sum);
    wf_outbox_close(&outbox);
    close_line(&line);
    return (double)(end_ns - begin_ns) / MESSAGES;
}

static void *receive_all(void *argument) {
    wire *line = argument;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) sum += receive_one(line->there, true);
    stats_use(sum);
    return NULL;
}

/* Two threads, both always at it. */
static double two_loops(void *argument) {
    (void)argument;
    wire line;
    open_line(&line);
    pthread_t thread;
    if (pthread_create(&thread, NULL, receive_all, &line) != 0) abort();
    wf_outbox *outbox = open_to(line.post, line.there, 1);
    uint64_t begin_ns = stats_now_ns();
    for (uint64_t i = 0; i < MESSAGES; i++) send_one(outbox, i);
    pthread_join(thread, NULL);
    uint64_t end_ns = stats_now_ns();
    wf_outbox_close(&outbox);
    close_line(&line);
    return (double)(end_ns - begin_ns) / MESSAGES;
}

static void *echo(void *argument) {
    wire *line = argument;
    wf_outbox *outbox = open_to(line->post, line->here, 0);
    for (uint64_t i = 0; i < TRIPS; i++) send_one(outbox, receive_one(line->there, true));
    wf_outbox_close(&outbox);
    return NULL;
}

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Both threads sleep while the other one works: time and CPU of a round trip in us. */
static double round_trip(void *argument) {
    double *cpu_us = argument;
    wire line;
    open_line(&line);
    pthread_t thread;
    if (pthread_create(&thread, NULL, echo, &line) != 0) abort();
    wf_outbox *outbox = open_to(line.post, line.there, 1);
    uint64_t sum = 0, begin_ns = stats_now_ns(), begin_cpu_ns = cpu_ns();
    for (uint64_t i = 0; i < TRIPS; i++) {
        send_one(outbox, i);
        sum += receive_one(line.here, true);
    }
    *cpu_us = (double)(cpu_ns() - begin_cpu_ns) / TRIPS / 1000;
    uint64_t end_ns = stats_now_ns();
    pthread_join(thread, NULL);
    stats_use(sum);
    wf_outbox_close(&outbox);
    close_line(&line);
    return (double)(end_ns - begin_ns) / TRIPS / 1000;
}

static void print_row(const char *name, const char *unit, stats_spread spread) {
    printf("| %-40s | %4s | %8.2f | %8.2f | %8.2f |\n", name, unit, spread.min, spread.median, spread.max);
}

int main(void) {
    double cpu_us = 0;
    printf("mailboxes, messages of %d bytes, %d repetitions\n\n", BODY_BYTES, REPETITIONS);
    printf("| %-40s | %4s | %8s | %8s | %8s |\n| --- | --- | ---: | ---: | ---: |\n", "", "unit", "min", "median",
           "max");
    print_row("one loop, sent and received", "ns", stats_repeat(same_loop, NULL, REPETITIONS));
    print_row("two threads, both busy", "ns", stats_repeat(two_loops, NULL, REPETITIONS));
    print_row("round trip between sleeping threads", "us", stats_repeat(round_trip, &cpu_us, REPETITIONS));
    printf("\nCPU of a round trip: %.1f us (last repetition)\n", cpu_us);
    return 0;
}
