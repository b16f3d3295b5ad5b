/* SPDX-License-Identifier: Apache-2.0
 *
 * The exporter: asks the actors for their numbers, puts them together, and hands them to the program and to subscribed
 * actors.
 */
#ifndef WF_EXPORTER_H
#define WF_EXPORTER_H

#include "weft/actor.h"

/* Argument of the class; copied by init. */
typedef struct wf_exporter_options {
    weft_actor_id poller;
    weft_actor_id manager;
    weft_actor_id tracker;
    weft_actor_id encoder;
    uint64_t tick_ns;
} wf_exporter_options;

extern const weft_actor_class wf_exporter;

#endif
