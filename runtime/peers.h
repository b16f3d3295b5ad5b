/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames to and from other processes over ZeroMQ ipc: `wf_peers` is the side that many connect to (a ROUTER), `wf_peer`
 * the side that connects (a DEALER). Besides mailbox.c the only product file that knows ZeroMQ.
 *
 * Invariants:
 * 1. No send blocks. To whom weft sends is bounded by credit, far below the high-water mark.
 * 2. Only processes of our own user, of root and of the users that are named are let in: whoever else connects is
 *    turned away before he costs more than a moment of a descriptor. ZeroMQ ends the process when there is none left.
 * 3. A message that is not one frame never gets through; who sent it is told to the caller. One beyond the largest size
 * is not read at all: its sender is not connected any more.
 */
#ifndef WF_PEERS_H
#define WF_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/status.h"

enum { WF_PEER_ID_MAX = 32, WF_PEERS_PATH_MAX = 100 };

typedef struct wf_peer_id {
    uint8_t bytes[WF_PEER_ID_MAX];
    uint8_t count;
} wf_peer_id;

typedef struct wf_peers wf_peers;

/* Listen at `path` ("@name": a name without a file), for our own user, for root and for these. WEFT_ESYSTEM: errno says
 * why. */
weft_status wf_peers_open(const char *path, size_t frame_max, const uid_t *users, size_t user_count,
                          wf_peers **ret_peers);
void wf_peers_close(wf_peers **peers);

/* Readable when there may be something to receive: read with wf_peers_receive() until it says false, each time. */
int wf_peers_fd(const wf_peers *peers);

/* The next frame; valid until the next call. *ret_frame is NULL where a peer sent something else than one frame. */
bool wf_peers_receive(wf_peers *peers, wf_peer_id *ret_from, const void **ret_frame, size_t *ret_bytes);

/* The process that the connection of that frame belongs to, as the kernel says, whatever the frame says. 0: one that is
 * not to be seen from here; -1: the kernel says nothing. */
pid_t wf_peers_pid(const wf_peers *peers);

/* Room for a frame of this size; NULL: no memory. Write it, then send it. */
uint8_t *wf_peers_frame(wf_peers *peers, size_t bytes);
/* False: the frame is dropped. errno: EHOSTUNREACH, nobody of this name is connected; EAGAIN, he is, and has far too
 * much to read already. */
bool wf_peers_send(wf_peers *peers, const wf_peer_id *to);

typedef struct wf_peer wf_peer;

weft_status wf_peer_open(const char *path, wf_peer **ret_peer);
void wf_peer_close(wf_peer **peer);

/* The next frame; valid until the next call. False: none came within `timeout_ms` (-1: no limit). */
bool wf_peer_receive(wf_peer *peer, int64_t timeout_ms, const void **ret_frame, size_t *ret_bytes);

/* The frame that came last, kept where it lies, however large it is. NULL: no memory, and it is still there. */
typedef struct wf_kept wf_kept;
wf_kept *wf_peer_keep(wf_peer *peer);
const void *wf_kept_frame(wf_kept *kept, size_t *ret_bytes);
void wf_kept_free(wf_kept *kept);
bool wf_peer_send(wf_peer *peer, const void *frame, size_t bytes);

#endif
