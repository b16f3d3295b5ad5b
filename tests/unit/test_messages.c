/* SPDX-License-Identifier: Apache-2.0
 *
 * The message table: ids, names, sizes, and that every sender and receiver is somebody.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <string.h>

#include "messages.h"
#include "require.h"
#include "weft/actor.h"

TestSuite(messages, .timeout = 60);

static const wf_message_info *row(size_t i) {
    return &wf_messages[i];
}

Test(messages, ids__unique_ascending_and_below_the_users) {
    REQUIRE(wf_message_count > 0);
    for (size_t i = 0; i < wf_message_count; i++) {
        REQUIRE(row(i)->id > 0 && row(i)->id < WEFT_MESSAGE_USER, "%s", row(i)->name);
        REQUIRE(i == 0 || row(i - 1)->id < row(i)->id, "%s: ids rise, so that a new one is easy to choose",
                row(i)->name);
    }
}

Test(messages, names__unique_and_upper_case) {
    for (size_t i = 0; i < wf_message_count; i++) {
        for (const char *at = row(i)->name; *at; at++)
            REQUIRE(isupper((unsigned char)*at) || *at == '_', "%s", row(i)->name);
        for (size_t j = 0; j < i; j++) REQUIRE(strcmp(row(i)->name, row(j)->name) != 0, "%s", row(i)->name);
    }
}

Test(messages, rows__complete) {
    static const char *const actors[] = {"POLLER",   "WORK_MANAGER", "OFFSET_TRACKER", "METADATA_ENCODER",
                                         "EXPORTER", "ENGINE",       "PROGRAM",        "ANY"};
    static const char *const ownerships[] = {"VALUE", "MOVE", "LOAN", "RETURN"};
    for (size_t i = 0; i < wf_message_count; i++) {
        bool from = false, to = false, ownership = false;
        for (size_t a = 0; a < sizeof actors / sizeof actors[0]; a++) {
            from = from || strcmp(row(i)->from, actors[a]) == 0;
            to = to || strcmp(row(i)->to, actors[a]) == 0;
        }
        for (size_t o = 0; o < 4; o++) ownership = ownership || strcmp(row(i)->ownership, ownerships[o]) == 0;
        REQUIRE(from && to && ownership, "%s: %s -> %s, %s", row(i)->name, row(i)->from, row(i)->to, row(i)->ownership);
        REQUIRE(row(i)->body_bytes > 0 && row(i)->body_bytes % 4 == 0, "%s", row(i)->name);
        REQUIRE(strlen(row(i)->help) > 10 && strlen(row(i)->body) > 0, "%s", row(i)->name);
    }
}

Test(messages, find__every_id_and_none_else) {
    for (uint32_t id = 0; id < 300; id++) {
        const wf_message_info *expected = NULL;
        for (size_t i = 0; i < wf_message_count; i++)
            if (row(i)->id == id) expected = row(i);
        REQUIRE(wf_message_find(id) == expected, "id %u", id);
        const char *name = wf_message_name(id);
        bool user = id >= WEFT_MESSAGE_USER && id < WEFT_MESSAGE_MAX;
        if (expected)
            REQUIRE(strcmp(name, expected->name) == 0, "id %u is %s", id, name);
        else
            REQUIRE(strcmp(name, user ? "user message" : "unknown") == 0, "id %u is %s", id, name);
    }
    REQUIRE(wf_message_find(UINT32_MAX) == NULL);
}

Test(messages, hot_ones__travel_without_an_allocation) {
    /* libzmq keeps 33 bytes in place; 8 are the header. */
    static const uint32_t hot[] = {WF_MSG_RECORDS, WF_MSG_CREDIT, WF_MSG_WORK, WF_MSG_DONE};
    for (size_t i = 0; i < sizeof hot / sizeof hot[0]; i++) {
        const wf_message_info *info = wf_message_find(hot[i]);
        REQUIRE(info && !info->many && info->body_bytes + 8 <= 33, "type %u", hot[i]);
    }
}
