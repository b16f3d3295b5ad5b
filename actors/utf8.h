/* SPDX-License-Identifier: Apache-2.0
 *
 * Foreign bytes that go into texts of ours.
 */
#ifndef WF_UTF8_H
#define WF_UTF8_H

#include <stddef.h>

#define WF_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the character that begins here, 1 to 4; 0: none does. No overlong forms, no surrogates, nothing above
 * U+10FFFF. */
size_t wf_utf8_length(const char *text, size_t bytes);

/* The text on one line: each byte that is not UTF-8 becomes U+FFFD, each control character a blank. Cut between
 * characters where it does not fit, and ended with a NUL; `room` is at least 1. Returns the bytes before that. */
size_t wf_utf8_clean(char *to, size_t room, const char *from, size_t bytes);

#endif
