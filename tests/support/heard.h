/* SPDX-License-Identifier: Apache-2.0
 *
 * What weft logs, kept for a test to look at.
 */
#ifndef SUPPORT_HEARD_H
#define SUPPORT_HEARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From now on events go here instead of to stderr; at most the first mebibyte of text is kept. */
void heard_begin(void);
void heard_end(void);

/* Events that contain both texts (NULL: any). */
size_t heard_count(const char *text, const char *other);
/* Wait until there is one. */
bool heard_await(const char *text, const char *other, uint64_t timeout_ms);

#endif
