/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata encoder: turns snapshots of the offset tracker into what Kafka stores with a committed offset, and reads
 * it back.
 */
#ifndef WF_METADATA_ENCODER_H
#define WF_METADATA_ENCODER_H

#include "metadata_format.h"
#include "weft/actor.h"

/* Argument of the class; copied by init. */
typedef struct wf_metadata_encoder_options {
    weft_actor_id tracker;
    weft_actor_id poller;
    weft_actor_id manager;
    uint32_t max_bytes;        /* offset.metadata.max.bytes, as configured; the format may allow less */
    wf_metadata_format format; /* of what is written; all are read */
} wf_metadata_encoder_options;

extern const weft_actor_class wf_metadata_encoder;

#endif
