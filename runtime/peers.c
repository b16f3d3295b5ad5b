/* SPDX-License-Identifier: Apache-2.0 */
#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "check.h"

enum {
    HIGH_WATER = 65536,  /* far above what credit and heartbeats allow */
    HANDSHAKE_MS = 5000, /* who connects and says nothing may keep a descriptor so long */
    GOODBYE_MS = 500,    /* what a worker said last may take so long to be sent */
};

struct wf_peers {
    void *context;
    void *socket;
    zmq_msg_t in;
    zmq_msg_t out;
    bool has_out;
};

struct wf_peer {
    void *context;
    void *socket;
    zmq_msg_t in;
};

static void set(void *socket, int option, int value) {
    int result = zmq_setsockopt(socket, option, &value, sizeof value);
    WF_CHECK(result == 0);
}

static void end(void *context, void *socket) {
    if (socket) zmq_close(socket);
    while (context && zmq_ctx_term(context) != 0 && errno == EINTR) {
    }
}

/* ZeroMQ looks at the kernel's word for the peer as soon as it has accepted a connection. */
static bool let_in(void *socket, uid_t user) {
    return zmq_setsockopt(socket, ZMQ_IPC_FILTER_UID, &user, sizeof user) == 0;
}

static bool let_in_all(void *socket, const uid_t *users, size_t user_count) {
    bool all = let_in(socket, geteuid()) && let_in(socket, 0);
    for (size_t i = 0; all && i < user_count; i++) all = let_in(socket, users[i]);
    return all;
}

weft_status wf_peers_open(const char *path, size_t frame_max, const uid_t *users, size_t user_count,
                          wf_peers **ret_peers) {
    char address[WF_PEERS_PATH_MAX + 8];
    if (strlen(path) > WF_PEERS_PATH_MAX) {
        errno = ENAMETOOLONG;
        return WEFT_ESYSTEM;
    }
    snprintf(address, sizeof address, "ipc://%s", path);
    wf_peers *self = calloc(1, sizeof *self);
    if (!self) return WEFT_ENOMEM;
    zmq_msg_init(&self->in);
    self->context = zmq_ctx_new();
    self->socket = self->context ? zmq_socket(self->context, ZMQ_ROUTER) : NULL;
    if (!self->socket) goto fail;
    if (!let_in_all(self->socket, users, user_count)) goto fail;
    set(self->socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set(self->socket, ZMQ_ROUTER_MANDATORY, 1);
    set(self->socket, ZMQ_SNDHWM, HIGH_WATER);
    set(self->socket, ZMQ_RCVHWM, HIGH_WATER);
    set(self->socket, ZMQ_LINGER, 0);
    int64_t size = (int64_t)frame_max;
    zmq_setsockopt(self->socket, ZMQ_MAXMSGSIZE, &size, sizeof size);
    mode_t mask = umask(0177); /* for the socket's file */
    int result = zmq_bind(self->socket, address);
    int error = errno;
    umask(mask);
    errno = error;
    if (result != 0) goto fail;
    *ret_peers = self;
    return WEFT_OK;
fail:;
    int reason = errno;
    wf_peers_close(&self);
    errno = reason;
    return WEFT_ESYSTEM;
}

void wf_peers_close(wf_peers **peers) {
    wf_peers *self = *peers;
    if (!self) return;
    if (self->has_out) zmq_msg_close(&self->out);
    zmq_msg_close(&self->in);
    end(self->context, self->socket);
    free(self);
    *peers = NULL;
}

int wf_peers_fd(const wf_peers *peers) {
    int fd = -1;
    size_t bytes = sizeof fd;
    int result = zmq_getsockopt(peers->socket, ZMQ_FD, &fd, &bytes);
    WF_CHECK(result == 0);
    return fd;
}

static bool take(void *socket, zmq_msg_t *message) {
    int result;
    do result = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
    while (result < 0 && errno == EINTR);
    WF_CHECK(result >= 0 || errno == EAGAIN);
    return result >= 0;
}

/* ZeroMQ takes or gives all parts of a message at once: the others are there. */
static bool drop_rest(void *socket, zmq_msg_t *message) {
    bool any = false;
    while (zmq_msg_more(message)) {
        bool there = take(socket, message);
        WF_CHECK(there);
        any = true;
    }
    return any;
}

bool wf_peers_receive(wf_peers *peers, wf_peer_id *ret_from, const void **ret_frame, size_t *ret_bytes) {
    if (!take(peers->socket, &peers->in)) return false;
    size_t count = zmq_msg_size(&peers->in);
    *ret_from = (wf_peer_id){0};
    *ret_frame = NULL;
    *ret_bytes = 0;
    bool fits = count <= WF_PEER_ID_MAX;
    if (fits) {
        memcpy(ret_from->bytes, zmq_msg_data(&peers->in), count);
        ret_from->count = (uint8_t)count;
    }
    if (!zmq_msg_more(&peers->in)) return true;
    bool there = take(peers->socket, &peers->in);
    WF_CHECK(there);
    if (drop_rest(peers->socket, &peers->in) || !fits) return true;
    *ret_frame = zmq_msg_data(&peers->in);
    *ret_bytes = zmq_msg_size(&peers->in);
    return true;
}

/* ZeroMQ ends the address of an ipc peer with ":uid:gid:pid". */
pid_t wf_peers_pid(const wf_peers *peers) {
    const char *address = zmq_msg_gets(&peers->in, "Peer-Address"), *pid = address ? strrchr(address, ':') : NULL;
    char *end;
    if (!pid || pid[1] < '0' || pid[1] > '9') return -1;
    long number = strtol(pid + 1, &end, 10);
    return *end ? -1 : (pid_t)number;
}

uint8_t *wf_peers_frame(wf_peers *peers, size_t bytes) {
    if (peers->has_out) zmq_msg_close(&peers->out);
    peers->has_out = zmq_msg_init_size(&peers->out, bytes) == 0;
    return peers->has_out ? zmq_msg_data(&peers->out) : NULL;
}

bool wf_peers_send(wf_peers *peers, const wf_peer_id *to) {
    WF_CHECK(peers->has_out);
    peers->has_out = false;
    int result;
    do result = zmq_send(peers->socket, to->bytes, to->count, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    while (result < 0 && errno == EINTR);
    if (result >= 0) {
        do result = zmq_msg_send(&peers->out, peers->socket, ZMQ_DONTWAIT);
        while (result < 0 && errno == EINTR);
        if (result >= 0) return true;
    }
    int reason = errno;
    WF_CHECK(reason == EHOSTUNREACH || reason == EAGAIN);
    zmq_msg_close(&peers->out);
    errno = reason;
    return false;
}

/* --- the side that connects */

weft_status wf_peer_open(const char *path, wf_peer **ret_peer) {
    char address[512];
    if (strlen(path) >= sizeof address - 8) return WEFT_EINVAL;
    snprintf(address, sizeof address, "ipc://%s", path);
    wf_peer *self = calloc(1, sizeof *self);
    if (!self) return WEFT_ENOMEM;
    zmq_msg_init(&self->in);
    self->context = zmq_ctx_new();
    self->socket = self->context ? zmq_socket(self->context, ZMQ_DEALER) : NULL;
    if (!self->socket) goto fail;
    set(self->socket, ZMQ_SNDHWM, HIGH_WATER);
    set(self->socket, ZMQ_RCVHWM, HIGH_WATER);
    set(self->socket, ZMQ_LINGER, GOODBYE_MS);
    if (zmq_connect(self->socket, address) != 0) goto fail;
    *ret_peer = self;
    return WEFT_OK;
fail:
    wf_peer_close(&self);
    return WEFT_ESYSTEM;
}

void wf_peer_close(wf_peer **peer) {
    wf_peer *self = *peer;
    if (!self) return;
    zmq_msg_close(&self->in);
    end(self->context, self->socket);
    free(self);
    *peer = NULL;
}

bool wf_peer_receive(wf_peer *peer, int64_t timeout_ms, const void **ret_frame, size_t *ret_bytes) {
    if (!take(peer->socket, &peer->in)) {
        if (timeout_ms == 0) return false;
        zmq_pollitem_t item = {.socket = peer->socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, timeout_ms) <= 0 || !take(peer->socket, &peer->in)) return false;
    }
    bool more = drop_rest(peer->socket, &peer->in);
    *ret_frame = zmq_msg_data(&peer->in);
    *ret_bytes = more ? 0 : zmq_msg_size(&peer->in);
    return true;
}

struct wf_kept {
    zmq_msg_t message;
};

wf_kept *wf_peer_keep(wf_peer *peer) {
    wf_kept *kept = malloc(sizeof *kept);
    if (!kept) return NULL;
    zmq_msg_init(&kept->message);
    zmq_msg_move(&kept->message, &peer->in);
    return kept;
}

const void *wf_kept_frame(wf_kept *kept, size_t *ret_bytes) {
    *ret_bytes = zmq_msg_size(&kept->message);
    return zmq_msg_data(&kept->message);
}

void wf_kept_free(wf_kept *kept) {
    if (!kept) return;
    zmq_msg_close(&kept->message);
    free(kept);
}

bool wf_peer_send(wf_peer *peer, const void *frame, size_t bytes) {
    int result;
    do result = zmq_send(peer->socket, frame, bytes, ZMQ_DONTWAIT);
    while (result < 0 && errno == EINTR);
    return result >= 0;
}
