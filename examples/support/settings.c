/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool settings_set(weft_config *config, const char *assignment) {
    const char *equals = strchr(assignment, '=');
    char *name = equals ? strndup(assignment, (size_t)(equals - assignment)) : NULL;
    if (name) weft_config_set(config, name, equals + 1);
    free(name);
    return equals != NULL;
}

void settings_print_help(void) {
    char *help = weft_config_help();
    printf("\n%s", help ? help : "");
    free(help);
}

bool settings_are_sound(const weft_config *config) {
    weft_status status = weft_config_check(config);
    char *problems = weft_config_problems(config);
    if (status != WEFT_OK) fprintf(stderr, "%s", problems ? problems : "out of memory\n");
    free(problems);
    return status == WEFT_OK;
}
