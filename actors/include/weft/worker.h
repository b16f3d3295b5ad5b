/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker process in C, for consumers with engine = process:
 *
 *     static weft_result handle(const weft_record *record, void *context) { ... }
 *
 *     int main(void) {
 *         return weft_worker_run(handle, NULL);
 *     }
 *
 * weft starts it (worker.command), or it attaches itself (worker.attach.max) where WEFT_SOCKET and WEFT_TOKEN say. What
 * it writes to standard error comes into weft's log. It may die at any moment: the records that it did not report run
 * again elsewhere. The protocol is docs/worker-protocol.md.
 */
#ifndef WEFT_WORKER_H
#define WEFT_WORKER_H

#include "weft/actor.h"
#include "weft/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Serve until weft says goodbye, or is gone. Takes what it needs from the environment:
 *   WEFT_SOCKET       path of the socket, "@name" without a file
 *   WEFT_TOKEN        64 hexadecimal digits; or WEFT_TOKEN_FILE, a file with them
 *   WEFT_WORKER       name, optional for workers that attach themselves
 *   WEFT_PROGRESS_FD  descriptor of the progress word, optional
 * `handler` runs on the calling thread, one record at a time. weft_record_defer() gives no promise here.
 * Returns what main() may return: 0: weft said goodbye; 1: the environment is incomplete; 2: weft refused this worker;
 * 3: weft is gone. Says why on standard error. Blocks. Thread: one per process. */
WEFT_EXPORT int weft_worker_run(weft_handler handler, void *context);

/* A line for weft's log. Thread: the handler's, inside the handler. */
WEFT_EXPORT void weft_worker_log(weft_log_level level, const char *format, ...) WEFT_PRINTF(2, 3);

/* Should the handler give up? weft said so since its deadline passed, or its partition has to go. Looks at what weft
 * sent, so a handler that takes long asks now and then. Thread: the handler's, inside the handler. */
WEFT_EXPORT bool weft_worker_cancelled(void);

/* End soon: weft is asked for no more work, what is here is finished, and weft_worker_run() returns 0. Without a signal
 * that is noticed at the next message. Thread: any; may be called in a signal handler. */
WEFT_EXPORT void weft_worker_stop(void);

#ifdef __cplusplus
}
#endif

#endif
