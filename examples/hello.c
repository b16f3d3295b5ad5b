/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program: prints each record of a topic, in order per key.
 *
 *     hello BOOTSTRAP TOPIC
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <weft/consumer.h>

static weft_consumer *consumer;

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    size_t bytes;
    const char *value = weft_record_value(record, &bytes);
    printf("%s/%d %lld: %.*s\n", weft_record_topic(record), weft_record_partition(record),
           (long long)weft_record_offset(record), (int)bytes, value ? value : "");
    return WEFT_SUCCESS;
}

static void on_signal(int number) {
    (void)number;
    weft_consumer_request_stop(consumer);
}

static int complain(const char *text) {
    fprintf(stderr, "hello: %s\n", text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    weft_config *config;
    if (argc != 3) return complain("usage: hello BOOTSTRAP TOPIC");
    if (weft_config_new(&config) != WEFT_OK) return complain("out of memory");
    weft_config_set(config, "bootstrap.servers", argv[1]);
    weft_config_set(config, "topics", argv[2]);
    weft_config_set(config, "group.id", "hello");
    if (weft_consumer_new(config, handle, NULL, &consumer) != WEFT_OK) return complain(weft_config_problems(config));
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (weft_consumer_start(consumer) != WEFT_OK) return complain(weft_consumer_error(consumer));
    weft_status reason = weft_consumer_wait(consumer, -1); /* until a signal, or a failure */
    weft_status stopped = weft_consumer_stop(consumer, 30000);
    if (reason != WEFT_OK || stopped != WEFT_OK)
        complain(reason ? weft_consumer_error(consumer) : weft_status_text(stopped));
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    return reason || stopped ? EXIT_FAILURE : EXIT_SUCCESS;
}
