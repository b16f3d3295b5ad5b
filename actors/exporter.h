/* SPDX-License-Identifier: Apache-2.0
 *
 * The exporter: asks the actors for their numbers, puts them together, and hands them to the program, to subscribed
 * actors, and as a page to the HTTP door.
 */
#ifndef WF_EXPORTER_H
#define WF_EXPORTER_H

#include "page.h"
#include "weft/actor.h"

struct wf_pages;
struct wf_system;

/* Argument of the class; copied by init. */
typedef struct wf_exporter_options {
    weft_actor_id poller;
    weft_actor_id manager;
    weft_actor_id tracker;
    weft_actor_id encoder;
    weft_actor_id engine; /* of processes; 0: threads have nothing to say */
    uint64_t tick_ns;
    struct wf_system *system; /* whose loops are shown; NULL: none */
    struct wf_pages *pages;   /* gets a new page each tick; NULL: nobody looks */
    wf_limits limits;         /* of the page, these two */
    wf_build build;
} wf_exporter_options;

extern const weft_actor_class wf_exporter;

#endif
