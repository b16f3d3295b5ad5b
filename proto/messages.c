/* SPDX-License-Identifier: Apache-2.0 */
#include "messages.h"

#include <assert.h>

const wf_message_info wf_messages[] = {
#define WF_SHAPE_ONE false
#define WF_SHAPE_MANY true
#define MSG(id, NAME, body, shape, from, to, ownership, help)                                                          \
    {id, #NAME, #body, sizeof(body), WF_SHAPE_##shape, #from, #to, #ownership, help},
#include "messages.def"
#undef MSG
};

const size_t wf_message_count = sizeof wf_messages / sizeof wf_messages[0];

/* Bodies start 8 bytes into a message, so nothing in them may need more. */
#define MSG(id, NAME, body, shape, from, to, ownership, help)                                                          \
    static_assert(_Alignof(body) <= 8 && (id) > 0 && (id) < 48, "message " #NAME);
#include "messages.def"
#undef MSG

/* libzmq keeps messages of up to 33 bytes in place and allocates for longer ones: the hot path stays below, with its
 * 8-byte head. */
static_assert(sizeof(wf_chain) <= 24 && sizeof(wf_slice) <= 24 && sizeof(wf_credit) <= 24,
              "hot messages travel without malloc");

static_assert(sizeof(wf_record) == 128 && offsetof(wf_record, key_hash) == 64, "a record's head is two cache lines");

static_assert(WF_MSG_EVENT_COMPLETIONS == (int)WEFT_EVENT_COMPLETIONS &&
                  WF_MSG_EVENT_SNAPSHOT == (int)WEFT_EVENT_SNAPSHOT && WF_MSG_EVENT_CREDIT == (int)WEFT_EVENT_CREDIT,
              "public names of the events");

const wf_message_info *wf_message_find(uint32_t type) {
    for (size_t i = 0; i < wf_message_count; i++)
        if (wf_messages[i].id == type) return &wf_messages[i];
    return NULL;
}

const char *wf_message_name(uint32_t type) {
    const wf_message_info *info = wf_message_find(type);
    if (info) return info->name;
    return type >= 48 && type < 64 ? "user message" : "unknown";
}
