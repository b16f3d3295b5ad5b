/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile configuration files. Whatever the bytes: no crash, all that was taken is valid, no problem is more than one
 * line, and a file that was taken whole resolves.
 */
#include <stdint.h>

#include "config_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    weft_config *config = NULL;
    if (wf_config_new(NULL, &config) != WEFT_OK) return 0;
    check_config(config, wf_config_load_text(config, "file", (const char *)data, bytes));
    weft_config_free(&config);
    return 0;
}
