/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a consumer: options by name, from a file, from the environment and from the program.
 *
 * What the program sets wins over the environment, the environment over files, files over the defaults, in whatever
 * order they are read; of two files the one read later wins. Names are those of docs/configuration.md; a name that
 * begins with "kafka." is a setting of librdkafka.
 *
 * Nothing stops at the first mistake: every one is kept as a problem, and weft_config_problems() tells them all. A
 * value that is not valid does not take effect.
 *
 * Thread of all functions: one at a time per configuration.
 */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_config weft_config;

WEFT_EXPORT weft_status weft_config_new(weft_config **ret_config);

/* Free it and set *config to NULL. NULL is fine. A consumer keeps a copy of what it needs. */
WEFT_EXPORT void weft_config_free(weft_config **config);

/* Set one option from the program. Setting it again replaces the value, and the problem if the last value had one; a
 * NULL value takes back what was set here. Returns: WEFT_OK; WEFT_EINVAL for an unknown name or a value of the wrong
 * form, WEFT_ERANGE for one outside of its range (both are kept as problems); WEFT_ENOMEM. */
WEFT_EXPORT weft_status weft_config_set(weft_config *config, const char *name, const char *value);

/* Read a file: lines `name = value`; empty lines and lines that begin with # or ! are skipped. A value reaches to the
 * end of its line, without the blanks around it; there are no quotes, escapes or continuation lines. A byte order mark
 * and CRLF are fine. Returns: WEFT_OK; WEFT_ESYSTEM when it can't be read; WEFT_ECONFIG when something in it is a
 * problem; WEFT_ENOMEM. */
WEFT_EXPORT weft_status weft_config_load_file(weft_config *config, const char *path);

/* Read the environment, in place of what was read from it before. WEFT_QUEUE_MAX_RECORDS is queue.max.records,
 * WEFT_KAFKA_SASL_USERNAME is kafka.sasl.username; two underscores are an underscore: WEFT_KAFKA_LOG__LEVEL is
 * kafka.log_level. Other variables that begin with WEFT_ are problems, except WEFT_APP_... (left to programs) and
 * WEFT_TEST_... (to tests). Returns: WEFT_OK; WEFT_ECONFIG when something in it is a problem; WEFT_ENOMEM. */
WEFT_EXPORT weft_status weft_config_load_environment(weft_config *config);

/* The text in effect, secrets included; valid until the next change. NULL: no such option, or a kafka. setting that
 * nobody set. */
WEFT_EXPORT const char *weft_config_get(const weft_config *config, const char *name);

/* All problems, one per line, each with its place, the value and what is allowed; secrets as ****. Options that don't
 * fit together are among them, and what librdkafka says of its settings: where there are any, a client of it is made
 * for some milliseconds, which connects to nothing. NULL when there are none, or no memory to say so. The caller frees
 * it with free(). */
WEFT_EXPORT char *weft_config_problems(const weft_config *config);

/* Returns: WEFT_OK; WEFT_ECONFIG when there are problems; WEFT_ENOMEM when memory ran out here or in an earlier call.
 */
WEFT_EXPORT weft_status weft_config_check(const weft_config *config);

/* All options in effect, one per line with where each comes from; secrets as ****. The caller frees it with free();
 * NULL: no memory. */
WEFT_EXPORT char *weft_config_dump(const weft_config *config);

/* All options with ranges, defaults and explanations, for --help. The caller frees it with free(); NULL: no memory. */
WEFT_EXPORT char *weft_config_help(void);

#ifdef __cplusplus
}
#endif

#endif
