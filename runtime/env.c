/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that actors call: each goes to the world that hosts the actor.
 */
#include "env.h"

#include <stdarg.h>
#include <stdio.h>

#include "check.h"

uint64_t weft_env_now_ns(const weft_env *env) {
    return env->ops->now_ns(env);
}

int64_t weft_env_wall_ms(const weft_env *env) {
    return env->ops->wall_ms(env);
}

uint64_t weft_env_random(weft_env *env) {
    return env->ops->random(env);
}

weft_actor_id weft_env_self(const weft_env *env) {
    return env->self;
}

void weft_env_send(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t body_bytes) {
    WF_CHECK(to != 0);
    WF_CHECK(type > 0 && type < WEFT_MESSAGE_MAX);
    env->ops->send(env, to, type, body, body_bytes);
}

void weft_env_arm(weft_env *env, unsigned timer, uint64_t at_ns) {
    WF_CHECK(timer < WEFT_TIMER_MAX);
    env->ops->arm(env, timer, at_ns);
}

void weft_env_disarm(weft_env *env, unsigned timer) {
    WF_CHECK(timer < WEFT_TIMER_MAX);
    env->ops->disarm(env, timer);
}

void weft_env_watch(weft_env *env, unsigned watch, int fd) {
    WF_CHECK(watch < WEFT_WATCH_MAX);
    env->ops->watch(env, watch, fd);
}

void weft_env_fail(weft_env *env, weft_status status, const char *format, ...) {
    char text[WF_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    env->ops->fail(env, status, text);
}

void weft_env_log(weft_env *env, weft_log_level level, const char *format, ...) {
    char text[WF_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    env->ops->log(env, level, text);
}

uint64_t wf_random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
