/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that stands outside of weft's tree: includes every public header, joins a group on a broker that librdkafka
 * makes up, looks at its gauges, and stops. Exit status 0: all of it worked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/actor.h>
#include <weft/config.h>
#include <weft/consumer.h>
#include <weft/log.h>
#include <weft/metrics.h>
#include <weft/record.h>
#include <weft/status.h>
#include <weft/worker.h>

static weft_result handle(const weft_record *record, void *context) {
    (void)record;
    (void)context;
    return WEFT_SUCCESS;
}

static int failed(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why ? why : "no memory");
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) return weft_worker_run(handle, NULL); /* never here: that it links is the point */
    if (strcmp(weft_version(), WEFT_VERSION) != 0) return failed("version", weft_version());
    weft_config *config;
    weft_consumer *consumer;
    if (weft_config_new(&config) != WEFT_OK) return failed("configuration", NULL);
    weft_config_set(config, "kafka.test.mock.num.brokers", "1");
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "log.level", "error");
    if (weft_consumer_new(config, handle, NULL, &consumer) != WEFT_OK)
        return failed("consumer", weft_config_problems(config));
    weft_status status = weft_consumer_start(consumer);
    weft_metrics *metrics = NULL;
    if (status == WEFT_OK) status = weft_consumer_metrics(consumer, &metrics);
    if (status == WEFT_OK) status = weft_consumer_stop(consumer, 10000);
    if (status != WEFT_OK) return failed(weft_status_text(status), weft_consumer_error(consumer));
    free(metrics);
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    printf("weft %s runs\n", weft_version());
    return EXIT_SUCCESS;
}
