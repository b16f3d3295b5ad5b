/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile settings by the other ways in: the environment and weft_config_set(), one text after the other, NUL between
 * them; and whatever they are, as a line of the log. What holds of files must hold here, and a line stays one line.
 */
#include <stdint.h>

#include "config_checks.h"
#include "log.h"
#include "weft/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { TEXTS_MAX = 64 };

static void on_line(weft_log_level level, const char *actor, const char *text, void *context) {
    (void)level;
    (void)actor;
    (void)context;
    for (const char *at = text; *at; at++) WF_CHECK((unsigned char)*at >= 0x20 && *at != 0x7f);
}

/* The texts in a copy that ends with NUL; returns how many. */
static size_t cut(char *copy, size_t bytes, char **ret_texts) {
    size_t count = 0;
    for (char *at = copy; at < copy + bytes && count < TEXTS_MAX; at += strlen(at) + 1) ret_texts[count++] = at;
    return count;
}

/* Those that begin with "+" are set by the program, the others are of the environment. */
static weft_status load(weft_config *config, char **texts, size_t count) {
    char *environment[TEXTS_MAX + 1];
    size_t of_environment = 0;
    weft_status worst = WEFT_OK;
    for (size_t i = 0; i < count; i++) {
        char *equals = texts[i][0] == '+' ? strchr(texts[i], '=') : NULL;
        if (!equals) {
            environment[of_environment++] = texts[i];
            continue;
        }
        *equals = '\0';
        weft_status status = weft_config_set(config, texts[i] + 1, equals + 1);
        *equals = '=';
        if (status == WEFT_ENOMEM) worst = status;
    }
    environment[of_environment] = NULL;
    weft_status status = wf_config_load_variables(config, environment);
    return worst == WEFT_OK ? status : worst;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char *texts[TEXTS_MAX], *copy = malloc(bytes + 1);
    weft_config *config = NULL;
    if (!copy || wf_config_new(NULL, &config) != WEFT_OK) abort();
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    weft_log_set(on_line, NULL);
    size_t count = cut(copy, bytes, texts);
    for (size_t i = 0; i < count; i++) wf_log(WEFT_LOG_WARN, "fuzz", "text=%s", texts[i]);
    weft_log_set(NULL, NULL);
    check_config(config, load(config, texts, count));
    weft_config_free(&config);
    free(copy);
    return 0;
}
