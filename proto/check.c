/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

_Thread_local wf_check_context wf_check_now;

_Noreturn void wf_check_failed(const char *file, int line, const char *what) {
    const wf_check_context *now = &wf_check_now;
    fprintf(stderr, "weft: broken invariant: %s (%s:%d) actor=%s message=%s slot=%u epoch=%u\n", what, file, line,
            now->actor ? now->actor : "none", now->message ? now->message : "none", now->slot, now->epoch);
    abort();
}
