/* SPDX-License-Identifier: Apache-2.0
 *
 * The world behind weft_env: what the loop (production) or the simulator (tests) supplies. Actors see weft/actor.h
 * only.
 */
#ifndef WF_ENV_H
#define WF_ENV_H

#include "weft/actor.h"

typedef struct wf_env_ops {
    uint64_t (*now_ns)(const weft_env *env);
    int64_t (*wall_ms)(const weft_env *env);
    uint64_t (*random)(weft_env *env);
    void (*send)(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t body_bytes);
    void (*arm)(weft_env *env, unsigned timer, uint64_t at_ns);
    void (*disarm)(weft_env *env, unsigned timer);
    void (*watch)(weft_env *env, unsigned watch, int fd);
    void (*fail)(weft_env *env, weft_status status, const char *text);
    void (*log)(weft_env *env, weft_log_level level, const char *text);
} wf_env_ops;

/* First member of every world's own env struct. */
struct weft_env {
    const wf_env_ops *ops;
    weft_actor_id self;
};

/* One step of a splitmix64 generator (public domain, Steele, Lea and Flood 2014): enough for jitter and shuffling. */
uint64_t wf_random_next(uint64_t *state);

/* Texts of weft_env_log and weft_env_fail are cut at this length. */
enum { WF_TEXT_MAX = 1024 };

#endif
