/* SPDX-License-Identifier: Apache-2.0
 *
 * What /bin/sh is given for a command line, so that no shell stays between us and the program.
 *
 * Invariants:
 * 1. The line means to the shell what the command means to it: only one that is certainly a single program, behind
 *    assignments or none, gets anything in front.
 */
#ifndef WF_SHELL_LINE_H
#define WF_SHELL_LINE_H

/* malloc'ed; NULL: no memory. */
char *wf_shell_line(const char *command);

#endif
