/* SPDX-License-Identifier: Apache-2.0
 *
 * Where weft's log goes. Without a callback every event is one line on stderr:
 *   2026-11-23T22:15:03.123Z level=info actor=poller assigned partitions=3 incremental=0
 * A stderr that can't take a line at once loses it; the log never holds up the work. log.level says which events there
 * are; the latest consumer to start sets it for the process.
 */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include <stdint.h>

#include "weft/actor.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One event. `text` is one line without a line feed, valid during the call. Called on the thread that logs, from
 * several at once: it must not block and must not call weft. */
typedef void (*weft_log_callback)(weft_log_level level, const char *actor, const char *text, void *context);

/* Send events to `callback` instead of stderr; NULL: to stderr again. Thread: any, while no consumer runs. */
WEFT_EXPORT void weft_log_set(weft_log_callback callback, void *context);

/* Lines that could not be written, ever: a full disk or pipe, a closed stderr. Thread: any. */
WEFT_EXPORT uint64_t weft_log_lost(void);

#ifdef __cplusplus
}
#endif

#endif
