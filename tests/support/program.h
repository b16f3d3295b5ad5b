/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that a test runs beside itself.
 */
#ifndef SUPPORT_PROGRAM_H
#define SUPPORT_PROGRAM_H

#include <sys/types.h>

/* words: the program (a path, or a name that PATH has) and its arguments, NULL at the end. Its output is appended to a
 * file; NULL: goes where the test's goes. The environment is the test's. */
pid_t program_start(const char *const *words, const char *output);

/* Send it a signal (0: none) and wait for its end. Returns the status as waitpid() has it. */
int program_end(pid_t program, int signal);

#endif
