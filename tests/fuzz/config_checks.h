/* SPDX-License-Identifier: Apache-2.0
 *
 * What holds of a configuration whatever it was made from.
 */
#ifndef FUZZ_CONFIG_CHECKS_H
#define FUZZ_CONFIG_CHECKS_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"

static inline void check_values(const weft_config *config) {
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        const char *text = weft_config_get(config, info->name);
        wf_option_value value;
        char reason[WF_OPTION_REASON_BYTES];
        WF_CHECK(text);
        WF_CHECK(text == info->default_text || wf_option_parse(info, text, &value, reason) == WEFT_OK);
    }
}

static inline void check_options(const wf_options *options) {
    WF_CHECK(options->topics_count > 0);
    for (size_t i = 0; i < options->topics_count; i++) WF_CHECK(*options->topics[i]);
    WF_CHECK(options->in_flight_max_records <= options->queue_max_records);
    for (size_t i = 0; i < options->kafka_count; i++) {
        WF_CHECK(strcmp(options->kafka[i].name, "enable.auto.commit") != 0 && *options->kafka[i].name);
        if (i > 0) WF_CHECK(strcmp(options->kafka[i - 1].name, options->kafka[i].name) < 0);
    }
}

/* "PLACE: what" and nothing below a blank. */
static inline void check_lines(const char *problems) {
    size_t lines = 0;
    for (const char *at = problems; *at; at++) {
        WF_CHECK(*at == '\n' || (unsigned char)*at >= 0x20);
        lines += *at == '\n';
    }
    WF_CHECK(lines > 0 && lines < 200 + 64 + 65536 / 2);
}

/* `loaded`: what all that was read has returned. */
static inline void check_config(weft_config *config, weft_status loaded) {
    check_values(config);

    char *problems = weft_config_problems(config);
    weft_status status = weft_config_check(config);
    WF_CHECK((problems != NULL) == (status == WEFT_ECONFIG));
    WF_CHECK(loaded == WEFT_OK || status == WEFT_ECONFIG);
    if (problems) check_lines(problems);
    free(problems);

    wf_options options;
    weft_status resolved = wf_config_resolve(config, &options);
    WF_CHECK(resolved == status);
    if (resolved == WEFT_OK) {
        check_options(&options);
        wf_options_free(&options);
    }
    free(weft_config_dump(config));
}

#endif
