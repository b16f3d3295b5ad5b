/* SPDX-License-Identifier: Apache-2.0
 *
 * Passwords and the like, in every place where somebody could see them: log lines (those of librdkafka too, with all
 * its debugging on), problems, the dump, errors, and everything that is shown over HTTP.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "heard.h"
#include "kafka_setting.h"
#include "mock.h"
#include "produce.h"
#include "scrape.h"

TestSuite(secrets, .timeout = 55);

enum { PATIENCE_MS = 30000, RECORDS = 200 };

/* Every secret has this in it. */
static const char mark[] = "hunter";

static const char *const secrets[][2] = {
    {"kafka.sasl.password", "hunter-1"},
    {"kafka.ssl.key.password", "hunter-2"},
    {"kafka.ssl.keystore.password", "hunter-3"},
    {"kafka.sasl.oauthbearer.config", "principal=hunter-4"},
    {"kafka.sasl.oauthbearer.client.secret", "hunter-5"}, /* needs a library that Debian 12's build has not */
};
enum { SECRETS = sizeof secrets / sizeof secrets[0] };

static void expect_hidden(const char *place, const char *text) {
    cr_assert_not_null(text, "%s: nothing", place);
    const char *found = strstr(text, mark);
    cr_expect(!found, "%s shows a secret: %.60s", place, found);
}

Test(secrets, running_consumer__log_at_debug_and_all_pages__hidden) {
    static const char *const settings[] = {
        "metrics.enabled", "true",        "metrics.port", "0",           "tick.ms",     "20",          "log.level",
        "debug",           "kafka.debug", "all",          secrets[0][0], secrets[0][1], secrets[1][0], secrets[1][1],
        secrets[2][0],     secrets[2][1], secrets[3][0],  secrets[3][1], NULL};
    static const char *const paths[] = {"/", "/status", "/metrics", "/healthz", "/readyz", "/hunted"};
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = RECORDS, .keys = 5, .value_bytes = 20};
    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    heard_begin();
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    harness_expect(under_test, "t", 2);
    cr_assert(harness_await_all(under_test, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL));
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *answer = scrape_get(weft_consumer_metrics_port(harness_consumer(under_test)), paths[i]);
        expect_hidden(paths[i], answer);
        free(answer);
    }
    harness_stop(under_test, 10000);
    cr_expect_gt(heard_count("sasl.password", NULL), 0, "librdkafka says what it is configured with");
    cr_expect_eq(heard_count(mark, NULL), 0, "the log shows a secret");
    heard_end();
    harness_free(&under_test);
    mock_close(mock);
}

Test(secrets, problems_and_dump__hidden) {
    static const char *const mistakes[][2] = {
        {"kafka.sasl.passwrod", "hunter-6"}, /* librdkafka does not know it */
        {"kafka.ssl.key.pasword", "hunter-7"},
        {"kafka.ssl.key.pem", "hunter-8 is no key"},
        {"kafka.sasl.client.secert", "hunter-9"},
    };
    weft_config *config;
    cr_assert_eq(weft_config_new(&config), WEFT_OK);
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "bootstrap.servers", "127.0.0.1:1");
    for (size_t i = 0; i < SECRETS; i++) weft_config_set(config, secrets[i][0], secrets[i][1]);
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++)
        weft_config_set(config, mistakes[i][0], mistakes[i][1]);
    heard_begin();
    weft_config_set(config, "sasl.password", "hunter-10"); /* without its prefix */
    weft_config_set(config, "passwrd", "hunter-11");
    weft_config_set(config, "kafka.password_cb", "hunter-12");
    weft_config_set(config, "kafka.sasl password", "hunter-13");
    char *problems = weft_config_problems(config), *dump = weft_config_dump(config);
    expect_hidden("the problems", problems);
    cr_expect_not_null(strstr(problems, "kafka.sasl.passwrod = ****: No such configuration property"), "%s", problems);
    expect_hidden("the dump", dump);
    cr_expect_not_null(strstr(dump, "kafka.sasl.password = **** (code)"));
    cr_expect_eq(heard_count(mark, NULL), 0);
    heard_end();
    free(problems);
    free(dump);
    weft_config_free(&config);
}

/* A library that quotes what it refuses, whole or in part of a longer text. */
static bool quotes(void *conf, const char *name, const char *value, char *reason, size_t reason_bytes) {
    (void)conf;
    snprintf(reason, reason_bytes, "%s can't be \"%s\", sir", name, value);
    return false;
}

static void count_hidden(void *context, size_t index, const char *reason) {
    if (index == wf_settings_all) return;
    cr_expect_eq(strstr(reason, mark) != NULL, index == 0, "%zu: %s", index, reason);
    (*(size_t *)context)++;
}

Test(secrets, library_that_quotes_them__hidden) {
    static const wf_setting settings[] = {{"client.rack", "hunter-0, which is no secret"},
                                          {"sasl.password", "hunter-1"},
                                          {"sasl.passwrod", "hunter-2"},
                                          {"ssl.key.password", ""}};
    size_t refused = 0;
    char *error = NULL;
    wf_kafka_settings_set(settings, 4, quotes, NULL, count_hidden, &refused);
    cr_expect_eq(refused, 4);
    cr_expect_eq(wf_kafka_settings_apply(settings + 1, 3, quotes, NULL, &error), WEFT_ECONFIG);
    expect_hidden("the door's error", error);
    cr_expect_not_null(strstr(error, "ssl.key.password can't be \"\", sir"), "%s", error);
    free(error);
}

static weft_result never(const weft_record *record, void *context) {
    (void)record, (void)context;
    return WEFT_SUCCESS;
}

/* What comes through a pipe is read by the door, and nobody else. */
Test(secrets, key_through_a_pipe_that_is_none__error_at_the_start__hidden) {
    weft_config *config;
    weft_consumer *consumer;
    int ends[2];
    char path[64];
    cr_assert(pipe(ends) == 0 && write(ends[1], mark, strlen(mark)) > 0);
    close(ends[1]);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    cr_assert_eq(weft_config_new(&config), WEFT_OK);
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "bootstrap.servers", "127.0.0.1:1");
    weft_config_set(config, "kafka.security.protocol", "ssl");
    weft_config_set(config, "kafka.ssl.key.location", path);
    weft_config_set(config, "kafka.ssl.key.password", "hunter-1");
    cr_assert_eq(weft_consumer_new(config, never, NULL, &consumer), WEFT_OK);
    cr_expect_eq(weft_consumer_start(consumer), WEFT_ECONFIG);
    expect_hidden("the error", weft_consumer_error(consumer));
    cr_expect_not_null(strstr(weft_consumer_error(consumer), "ssl.key.location"), "%s", weft_consumer_error(consumer));
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    close(ends[0]);
}
