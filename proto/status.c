/* SPDX-License-Identifier: Apache-2.0 */
#include "weft/status.h"

const char *weft_status_text(weft_status status) {
    switch (status) {
#define X(name, value, text)                                                                                           \
    case name:                                                                                                         \
        return text;
        WEFT_STATUS_TABLE(X)
#undef X
    default:
        return "unknown status";
    }
}

const char *weft_version(void) {
    return WEFT_VERSION;
}
