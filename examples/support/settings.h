/* SPDX-License-Identifier: Apache-2.0
 *
 * weft's options on the command line of a program.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <weft/config.h>

/* --set option=value. False: not of that form; a wrong name or value is told with the other problems. */
bool settings_set(weft_config *config, const char *assignment);

/* --help: every option of weft, below what the program says of itself. */
void settings_print_help(void);

/* Everything that is wrong, on standard error, before anything starts. False: something was. */
bool settings_are_sound(const weft_config *config);

#endif
