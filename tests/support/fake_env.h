/* SPDX-License-Identifier: Apache-2.0
 *
 * One actor in a world made of paper: the test delivers messages, moves the clock and reads what the actor sent.
 * Nothing happens by itself.
 */
#ifndef WF_TEST_FAKE_ENV_H
#define WF_TEST_FAKE_ENV_H

#include "actor.h"

typedef struct fake_sent {
    weft_actor_id to;
    uint32_t type;
    size_t body_bytes;
    void *body; /* aligned; lives until fake_env_end() */
    uint64_t at_ns;
    bool taken;
} fake_sent;

typedef struct fake_line {
    weft_log_level level;
    char text[256];
} fake_line;

typedef struct fake_env {
    wf_actor actor; /* first: the env that handlers get points to it */
    uint64_t now_ns;
    fake_sent *sent;
    size_t sent_count;
    size_t sent_room;
    size_t sent_first; /* all before this one were taken */
    fake_line *lines;
    size_t line_count;
    size_t line_room;
    int watched[WEFT_WATCH_MAX];
    unsigned failures;
    weft_status failure; /* the first one */
    char failure_text[WF_TEXT_MAX];
    bool random_fixed;
    uint64_t random; /* what weft_env_random() gives when fixed */
} fake_env;

enum { FAKE_SELF = 3 };

/* Builds and starts the actor at `now_ns`; a turn follows. */
void fake_env_start(fake_env *fake, const weft_actor_class *class, const void *argument, uint64_t now_ns);
void fake_env_end(fake_env *fake);

/* Deliver without a turn; then run turns until the actor has nothing more to do. `tell` does both. */
void fake_env_deliver(fake_env *fake, weft_actor_id from, uint32_t type, const void *body, size_t body_bytes);
void fake_env_turn(fake_env *fake);
void fake_env_tell(fake_env *fake, weft_actor_id from, uint32_t type, const void *body, size_t body_bytes);

/* As if a watched descriptor had become readable. */
void fake_env_poke(fake_env *fake);

/* Move the clock; every timer fires at its time, with a turn behind it. */
void fake_env_advance_to(fake_env *fake, uint64_t at_ns);
void fake_env_advance(fake_env *fake, uint64_t by_ns);

void fake_env_stop(fake_env *fake, uint64_t deadline_ns);

/* The oldest message of a type (0: of any) that was not taken yet. False: none. */
bool fake_env_take(fake_env *fake, uint32_t type, fake_sent *ret_sent);
/* How many of a type wait to be taken. */
size_t fake_env_waiting(const fake_env *fake, uint32_t type);
/* Whether a line of the log holds this text. */
bool fake_env_logged(const fake_env *fake, const char *text);

#endif
