/* SPDX-License-Identifier: Apache-2.0 */
#include "mailbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "check.h"

#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define HANDOVER_RELEASE(key) __tsan_release(key)
#define HANDOVER_ACQUIRE(key) __tsan_acquire(key)
#else
#define HANDOVER_RELEASE(key) ((void)(key))
#define HANDOVER_ACQUIRE(key) ((void)(key))
#endif

enum {
    /* Messages per side of a pipe. Credits keep real queues in the hundreds (queue.max.records / slices of one, per
     * worker two); this is the point at which something is certainly broken. Memory is taken as it is used. */
    HIGH_WATER = 1000000,
    WAIT_MAX = 16, /* descriptors in one wait */
};

struct wf_post {
    void *context;
};

struct wf_inbox {
    void *socket;
    zmq_msg_t message; /* the last one received, kept for its body */
};

struct wf_outbox {
    void *socket;
    wf_inbox *target; /* only its address is used: the key of the hand-over */
};

weft_status wf_post_open(uint32_t sockets, wf_post **ret_post) {
    wf_post *post = calloc(1, sizeof *post);
    if (!post) return WEFT_ENOMEM;
    post->context = zmq_ctx_new();
    if (!post->context) {
        free(post);
        return WEFT_ESYSTEM;
    }
    /* All transport is inproc: no I/O thread is needed, and no lingering at the end. */
    if (zmq_ctx_set(post->context, ZMQ_MAX_SOCKETS, (int)sockets) != 0) {
        zmq_ctx_term(post->context);
        free(post);
        return WEFT_ELIMIT;
    }
    zmq_ctx_set(post->context, ZMQ_IO_THREADS, 0);
    *ret_post = post;
    return WEFT_OK;
}

void wf_post_close(wf_post **post) {
    if (!*post) return;
    while (zmq_ctx_term((*post)->context) != 0 && errno == EINTR) {
    }
    free(*post);
    *post = NULL;
}

static void *open_socket(wf_post *post, int type, int water_option) {
    void *socket = zmq_socket(post->context, type);
    if (!socket) return NULL;
    int water = HIGH_WATER;
    if (zmq_setsockopt(socket, water_option, &water, sizeof water) != 0) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

static void endpoint(uint32_t index, char text[32]) {
    snprintf(text, 32, "inproc://loop-%u", index);
}

weft_status wf_inbox_open(wf_post *post, uint32_t index, wf_inbox **ret_inbox) {
    wf_inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox) return WEFT_ENOMEM;
    char name[32];
    endpoint(index, name);
    inbox->socket = open_socket(post, ZMQ_PULL, ZMQ_RCVHWM);
    if (!inbox->socket || zmq_bind(inbox->socket, name) != 0) {
        if (inbox->socket) zmq_close(inbox->socket);
        free(inbox);
        return WEFT_ELIMIT;
    }
    zmq_msg_init(&inbox->message);
    *ret_inbox = inbox;
    return WEFT_OK;
}

void wf_inbox_close(wf_inbox **inbox) {
    if (!*inbox) return;
    zmq_msg_close(&(*inbox)->message);
    zmq_close((*inbox)->socket);
    free(*inbox);
    *inbox = NULL;
}

bool wf_inbox_receive(wf_inbox *inbox, bool wait, wf_header *ret_header, const void **ret_body, size_t *ret_bytes) {
    while (zmq_msg_recv(&inbox->message, inbox->socket, wait ? 0 : ZMQ_DONTWAIT) < 0) {
        if (errno == EAGAIN) return false;
        WF_CHECK(errno == EINTR);
    }
    HANDOVER_ACQUIRE(inbox);
    size_t bytes = zmq_msg_size(&inbox->message);
    WF_CHECK(bytes >= sizeof *ret_header);
    const char *data = zmq_msg_data(&inbox->message);
    memcpy(ret_header, data, sizeof *ret_header);
    *ret_body = data + sizeof *ret_header;
    *ret_bytes = bytes - sizeof *ret_header;
    return true;
}

void wf_inbox_wait(wf_inbox *inbox, const int *fds, bool *ready, size_t count, int64_t timeout_ms) {
    zmq_pollitem_t items[WAIT_MAX] = {{.socket = inbox->socket, .events = ZMQ_POLLIN}};
    size_t index[WAIT_MAX];
    int used = 1;
    for (size_t i = 0; i < count; i++) {
        ready[i] = false;
        if (fds[i] < 0) continue;
        WF_CHECK(used < WAIT_MAX);
        index[used] = i;
        items[used++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    }
    if (zmq_poll(items, used, (long)timeout_ms) < 0) {
        WF_CHECK(errno == EINTR);
        return;
    }
    for (int i = 1; i < used; i++) ready[index[i]] = (items[i].revents & ZMQ_POLLIN) != 0;
}

weft_status wf_outbox_open(wf_post *post, wf_inbox *target, uint32_t index, wf_outbox **ret_outbox) {
    wf_outbox *outbox = calloc(1, sizeof *outbox);
    if (!outbox) return WEFT_ENOMEM;
    char name[32];
    endpoint(index, name);
    outbox->target = target;
    outbox->socket = open_socket(post, ZMQ_PUSH, ZMQ_SNDHWM);
    if (!outbox->socket || zmq_connect(outbox->socket, name) != 0) {
        if (outbox->socket) zmq_close(outbox->socket);
        free(outbox);
        return WEFT_ELIMIT;
    }
    *ret_outbox = outbox;
    return WEFT_OK;
}

void wf_outbox_send(wf_outbox *outbox, wf_header header, const void *body, size_t bytes) {
    zmq_msg_t message;
    WF_CHECK(zmq_msg_init_size(&message, sizeof header + bytes) == 0);
    char *data = zmq_msg_data(&message);
    memcpy(data, &header, sizeof header);
    if (bytes) memcpy(data + sizeof header, body, bytes);
    HANDOVER_RELEASE(outbox->target);
    while (zmq_msg_send(&message, outbox->socket, ZMQ_DONTWAIT) < 0) /* EAGAIN: a queue that credits bound is full. */
        WF_CHECK(errno == EINTR);
}

void wf_outbox_close(wf_outbox **outbox) {
    if (!*outbox) return;
    zmq_close((*outbox)->socket);
    free(*outbox);
    *outbox = NULL;
}

void wf_mailbox_version(char ret_text[32]) {
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(ret_text, 32, "%d.%d.%d", major, minor, patch);
}
