/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of weft_consumer, shared by consumer.c (the public calls) and consumer_build.c (which makes loops and
 * actors of options).
 */
#ifndef WF_CONSUMER_H
#define WF_CONSUMER_H

#include "config.h"
#include "http.h"
#include "kafka.h"
#include "pending.h"
#include "poller.h"
#include "system.h"
#include "weft/consumer.h"

enum {
    WF_USER_ACTORS_MAX = 16,
    WF_FIRST_USER_ACTOR = 7, /* after the program (1) and the five of the ring: known before anything is built */
    WF_ERROR_BYTES = 1200,
};

typedef struct wf_user_actor {
    const weft_actor_class *class;
    const void *argument;
    bool subscribed;
    bool completions;
    bool snapshots;
    uint32_t credit;
} wf_user_actor;

/* Ids of the actors; known before they are made, since each knows others. */
typedef struct wf_cast {
    weft_actor_id poller;
    weft_actor_id manager;
    weft_actor_id tracker;
    weft_actor_id encoder;
    weft_actor_id exporter;
    weft_actor_id waker; /* 0: no threads */
    weft_actor_id first_user;
    weft_actor_id first_worker; /* or the process engine */
} wf_cast;

typedef enum wf_consumer_state { WF_CONSUMER_NEW = 0, WF_CONSUMER_RUNNING, WF_CONSUMER_STOPPED } wf_consumer_state;

struct weft_consumer {
    wf_options options;
    uint64_t files_before; /* descriptors that this process might have before weft asked for more */
    weft_handler handler;
    weft_batch_handler batch_handler;
    void *context;
    wf_user_actor users[WF_USER_ACTORS_MAX];
    uint32_t user_count;
    wf_consumer_state state;
    wf_system *system;
    wf_cast cast;
    wf_pending *pending;
    int stop_fd; /* eventfd: request_stop() */
    bool stop_asked;
    weft_status failure; /* the first reason, WEFT_OK: none */
    char error[WF_ERROR_BYTES];
    uint64_t ticket;
    wf_topic_names names; /* of topics, when the poller has ended */
    weft_metrics *final_metrics; /* NULL: none */
    weft_abandoned *abandoned;
    size_t abandoned_count;
    weft_consumer *left_before; /* in the list of those that are kept for ever */
    uint32_t threads_left;      /* could not be joined */
    wf_pages *pages;            /* both NULL: metrics.enabled is false */
    wf_http *http;
    const char *librdkafka; /* versions of the libraries that run, these two */
    char libzmq[32];
};

/* Make system, loops and actors from the options; on failure `error` says why and everything is undone but the consumer
 * itself. */
weft_status wf_consumer_build(weft_consumer *consumer);

/* End the HTTP door, if there is one. Pages stay when a thread is left that may still write one. */
void wf_consumer_close_http(weft_consumer *consumer);

void wf_consumer_set_error(weft_consumer *consumer, const char *format, ...) WEFT_PRINTF(2, 3);

#endif
