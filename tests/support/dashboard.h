/* SPDX-License-Identifier: Apache-2.0
 *
 * The expressions of a Grafana dashboard, as Grafana would send them.
 */
#ifndef SUPPORT_DASHBOARD_H
#define SUPPORT_DASHBOARD_H

#include <stddef.h>

typedef struct dashboard_expression {
    char *panel; /* its title */
    char *text;  /* variables have the value that "All" stands for */
} dashboard_expression;

/* Of all panels. A file that is no dashboard, or an unknown variable, ends the test. */
size_t dashboard_read(const char *path, dashboard_expression **ret_list);
void dashboard_free(dashboard_expression *list, size_t count);

/* A text with every `from` (which is not empty) replaced by `to`; free() frees it. */
char *text_with(const char *text, const char *from, const char *to);

#endif
