/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker process: prints each record. `worker.command = echo_worker` with engine = process.
 */
#include <stdio.h>
#include <weft/worker.h>

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    size_t bytes;
    const char *value = weft_record_value(record, &bytes);
    printf("%s/%d %lld: %.*s\n", weft_record_topic(record), weft_record_partition(record),
           (long long)weft_record_offset(record), (int)bytes, value ? value : "");
    fflush(stdout);
    return WEFT_SUCCESS;
}

int main(void) {
    return weft_worker_run(handle, NULL);
}
