/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"
#include "must.h"

static fake_env *fake_of(const weft_env *env) {
    return (fake_env *)(uintptr_t)env; /* first member of the first member */
}

static uint64_t env_now_ns(const weft_env *env) {
    return fake_of(env)->now_ns;
}

static int64_t env_wall_ms(const weft_env *env) {
    return 1700000000000 + (int64_t)(fake_of(env)->now_ns / 1000000);
}

static uint64_t env_random(weft_env *env) {
    fake_env *fake = fake_of(env);
    return fake->random_fixed ? fake->random : wf_random_next(&fake->actor.random);
}

static void env_send(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t body_bytes) {
    fake_env *fake = fake_of(env);
    const wf_message_info *info = wf_message_find(type);
    MUST(info, "type %u is not in the message table", type);
    bool fits = info->many ? body_bytes % info->body_bytes == 0 : body_bytes == info->body_bytes;
    MUST(fits, "%s has %zu bytes", info->name, body_bytes);
    if (fake->sent_count == fake->sent_room) {
        fake->sent_room = fake->sent_room ? 2 * fake->sent_room : 64;
        fake->sent = realloc(fake->sent, fake->sent_room * sizeof *fake->sent);
        MUST(fake->sent, "out of memory");
    }
    void *copy = must_alloc(1, body_bytes);
    if (body_bytes) memcpy(copy, body, body_bytes);
    fake->sent[fake->sent_count++] =
        (fake_sent){.to = to, .type = type, .body_bytes = body_bytes, .body = copy, .at_ns = fake->now_ns};
}

static void env_arm(weft_env *env, unsigned timer, uint64_t at_ns) {
    fake_of(env)->actor.timers[timer] = at_ns ? at_ns : 1;
}

static void env_disarm(weft_env *env, unsigned timer) {
    fake_of(env)->actor.timers[timer] = 0;
}

static void env_watch(weft_env *env, unsigned watch, int fd) {
    fake_of(env)->watched[watch] = fd;
}

static void env_fail(weft_env *env, weft_status status, const char *text) {
    fake_env *fake = fake_of(env);
    if (fake->failures++) return;
    fake->failure = status;
    snprintf(fake->failure_text, sizeof fake->failure_text, "%s", text);
}

static void env_log(weft_env *env, weft_log_level level, const char *text) {
    fake_env *fake = fake_of(env);
    if (fake->line_count == fake->line_room) {
        fake->line_room = fake->line_room ? 2 * fake->line_room : 64;
        fake->lines = realloc(fake->lines, fake->line_room * sizeof *fake->lines);
        MUST(fake->lines, "out of memory");
    }
    fake_line *line = &fake->lines[fake->line_count++];
    line->level = level;
    snprintf(line->text, sizeof line->text, "%.255s", text);
}

static const wf_env_ops fake_ops = {
    .now_ns = env_now_ns,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .send = env_send,
    .arm = env_arm,
    .disarm = env_disarm,
    .watch = env_watch,
    .fail = env_fail,
    .log = env_log,
};

void fake_env_start(fake_env *fake, const weft_actor_class *class, const void *argument, uint64_t now_ns) {
    *fake = (fake_env){.now_ns = now_ns};
    for (int i = 0; i < WEFT_WATCH_MAX; i++) fake->watched[i] = -1;
    weft_status status = wf_actor_new(&fake->actor, class, &fake_ops, FAKE_SELF, 1, argument);
    MUST(status == WEFT_OK, "init of %s: %s", class->name, weft_status_text(status));
    wf_actor_start(&fake->actor);
    fake_env_turn(fake);
}

void fake_env_end(fake_env *fake) {
    wf_actor_free(&fake->actor);
    for (size_t i = 0; i < fake->sent_count; i++) free(fake->sent[i].body);
    free(fake->sent);
    free(fake->lines);
    *fake = (fake_env){0};
}

void fake_env_deliver(fake_env *fake, weft_actor_id from, uint32_t type, const void *body, size_t body_bytes) {
    weft_message message = {.type = type, .from = from, .body = body, .body_bytes = body_bytes};
    wf_actor_deliver(&fake->actor, &message);
}

void fake_env_turn(fake_env *fake) {
    int turns = 0;
    while (wf_actor_turn(&fake->actor)) MUST(++turns < 100000, "%s wants turns without end", fake->actor.class->name);
    wf_actor_check_drained(&fake->actor);
}

void fake_env_tell(fake_env *fake, weft_actor_id from, uint32_t type, const void *body, size_t body_bytes) {
    fake_env_deliver(fake, from, type, body, body_bytes);
    fake_env_turn(fake);
}

void fake_env_poke(fake_env *fake) {
    fake->actor.touched = true;
    fake_env_turn(fake);
}

void fake_env_advance_to(fake_env *fake, uint64_t at_ns) {
    int fired = 0;
    MUST(at_ns >= fake->now_ns, "time does not go back");
    for (;;) {
        uint64_t next_ns = wf_actor_next_ns(&fake->actor);
        if (next_ns > at_ns) break;
        MUST(++fired < 1000000, "%s arms timers without end", fake->actor.class->name);
        if (next_ns > fake->now_ns) fake->now_ns = next_ns;
        wf_actor_fire(&fake->actor, fake->now_ns);
        fake_env_turn(fake);
    }
    fake->now_ns = at_ns;
}

void fake_env_advance(fake_env *fake, uint64_t by_ns) {
    fake_env_advance_to(fake, fake->now_ns + by_ns);
}

void fake_env_stop(fake_env *fake, uint64_t deadline_ns) {
    wf_actor_stop(&fake->actor, deadline_ns);
    fake_env_turn(fake);
}

bool fake_env_take(fake_env *fake, uint32_t type, fake_sent *ret_sent) {
    while (fake->sent_first < fake->sent_count && fake->sent[fake->sent_first].taken) fake->sent_first++;
    for (size_t i = fake->sent_first; i < fake->sent_count; i++) {
        if (fake->sent[i].taken || (type && fake->sent[i].type != type)) continue;
        fake->sent[i].taken = true;
        *ret_sent = fake->sent[i];
        return true;
    }
    return false;
}

size_t fake_env_waiting(const fake_env *fake, uint32_t type) {
    size_t count = 0;
    for (size_t i = fake->sent_first; i < fake->sent_count; i++)
        count += !fake->sent[i].taken && fake->sent[i].type == type;
    return count;
}

bool fake_env_logged(const fake_env *fake, const char *text) {
    for (size_t i = 0; i < fake->line_count; i++)
        if (strstr(fake->lines[i].text, text)) return true;
    return false;
}
