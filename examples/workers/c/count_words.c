/* SPDX-License-Identifier: Apache-2.0
 *
 * An example handler: counts the words of each value. worker.command = count_words
 */
#include <ctype.h>
#include <weft/worker.h>

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    size_t bytes, words = 0;
    const char *value = weft_record_value(record, &bytes);
    if (!value) return weft_record_fail(record, "a record without a value");
    for (size_t i = 0; i < bytes; i++)
        words += !isspace((unsigned char)value[i]) && (i == 0 || isspace((unsigned char)value[i - 1]));
    if (words == 0) weft_worker_log(WEFT_LOG_DEBUG, "offset %lld has no words", (long long)weft_record_offset(record));
    return WEFT_SUCCESS;
}

int main(void) {
    return weft_worker_run(handle, NULL);
}
