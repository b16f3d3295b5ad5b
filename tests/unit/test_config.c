/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft/actor.h"

TestSuite(config, .timeout = 20);
TestSuite(config_option, .timeout = 20);
TestSuite(config_file, .timeout = 20);

static weft_config *given_config(void) {
    weft_config *config = NULL;
    cr_assert_eq(wf_config_new(NULL, &config), WEFT_OK);
    return config;
}

/* One that has nothing to complain of. */
static weft_config *given_whole_config(void) {
    weft_config *config = given_config();
    cr_assert_eq(weft_config_set(config, "topics", "orders"), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "bootstrap.servers", "localhost:9092"), WEFT_OK);
    cr_assert_eq(weft_config_check(config), WEFT_OK);
    return config;
}

static void expect_value(const weft_config *config, const char *name, const char *expected) {
    const char *value = weft_config_get(config, name);
    cr_assert_not_null(value, "%s has no value", name);
    cr_assert_str_eq(value, expected, "%s is %s, not %s", name, value, expected);
}

static void expect_problems(const weft_config *config, const char *expected) {
    char *problems = weft_config_problems(config);
    cr_assert_str_eq(problems ? problems : "", expected, "problems:\n%s", problems ? problems : "none");
    cr_assert_eq(weft_config_check(config), *expected ? WEFT_ECONFIG : WEFT_OK);
    free(problems);
}

static weft_status load(weft_config *config, const char *text) {
    return wf_config_load_text(config, "f", text, strlen(text));
}

/* --- single values */

Test(config_option, table__every_row__default_valid_and_named_once) {
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        wf_option_value value;
        char reason[WF_OPTION_REASON_BYTES];
        cr_assert_eq(info->id, (wf_option_id)i);
        cr_assert_eq(wf_option_find(info->name), info, "%s is there twice", info->name);
        cr_assert_gt(strlen(info->help), 0);
        if (info->id == WF_OPTION_ID_topics) continue; /* has no default: must be set */
        cr_assert_eq(wf_option_parse(info, info->default_text, &value, reason), WEFT_OK, "%s: %s", info->name, reason);
    }
}

Test(config_option, table__every_choice__gives_its_constant) {
    for (size_t i = 0; i < wf_option_choice_count; i++) {
        const wf_option_choice *row = &wf_option_choices[i];
        wf_option_value value = {.choice = -1};
        char reason[WF_OPTION_REASON_BYTES];
        cr_assert_eq(wf_option_table[row->id].type, WF_OPTION_CHOICE);
        cr_assert_eq(wf_option_parse(&wf_option_table[row->id], row->text, &value, reason), WEFT_OK);
        cr_assert_eq(value.choice, row->choice);
    }
    cr_assert_str_eq(wf_option_choice_text(WF_OPTION_ID_ordering, WF_ORDERING_KEY), "key");
    cr_assert_str_eq(wf_option_choice_text(WF_OPTION_ID_auto_offset_reset, WF_OFFSET_RESET_LATEST), "latest");
    cr_assert_null(wf_option_choice_text(WF_OPTION_ID_ordering, 99));
}

Test(config_option, integer__table_of_texts__form_and_range) {
    static const struct {
        const char *text;
        weft_status status;
        int64_t value;
    } rows[] = {
        {"0", WEFT_OK, 0},
        {"-5", WEFT_OK, -5},
        {"007", WEFT_OK, 7},
        {"100", WEFT_OK, 100},
        {"101", WEFT_ERANGE, 0},
        {"-6", WEFT_ERANGE, 0},
        {"9223372036854775807", WEFT_ERANGE, 0},
        {"9223372036854775808", WEFT_ERANGE, 0},
        {"99999999999999999999999", WEFT_ERANGE, 0},
        {"18446744073709551621", WEFT_ERANGE, 0}, /* 2^64 + 5 */
        {"", WEFT_EINVAL, 0},
        {"-", WEFT_EINVAL, 0},
        {"--1", WEFT_EINVAL, 0},
        {"+1", WEFT_EINVAL, 0},
        {"1.0", WEFT_EINVAL, 0},
        {"1e3", WEFT_EINVAL, 0},
        {"0x10", WEFT_EINVAL, 0},
        {" 1", WEFT_EINVAL, 0},
        {"10s", WEFT_EINVAL, 0},
    };
    const wf_option_info info = {.type = WF_OPTION_INTEGER, .unit = "ms", .minimum = -5, .maximum = 100};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_option_value value = {.integer = 4711};
        char reason[WF_OPTION_REASON_BYTES] = "";
        cr_assert_eq(wf_option_parse(&info, rows[i].text, &value, reason), rows[i].status, "row %zu", i);
        if (rows[i].status == WEFT_OK)
            cr_assert_eq(value.integer, rows[i].value, "row %zu", i);
        else
            cr_assert_str_eq(reason, "must be a whole number from -5 to 100 ms");
    }
}

Test(config_option, boolean__only_true_and_false) {
    const wf_option_info info = {.type = WF_OPTION_BOOLEAN, .unit = ""};
    wf_option_value value = {0};
    char reason[WF_OPTION_REASON_BYTES] = "";
    cr_assert_eq(wf_option_parse(&info, "true", &value, reason), WEFT_OK);
    cr_assert(value.boolean);
    cr_assert_eq(wf_option_parse(&info, "false", &value, reason), WEFT_OK);
    cr_assert_not(value.boolean);
    cr_assert_eq(wf_option_parse(&info, "yes", &value, reason), WEFT_EINVAL);
    cr_assert_str_eq(reason, "must be true or false");
}

Test(config_option, list__empty_elements__refused) {
    const wf_option_info info = {.type = WF_OPTION_LIST, .unit = "", .minimum = 0, .maximum = 20};
    static const char *const good[] = {"", "a", "a,b", " a , b ", "a b,c"};
    static const char *const bad[] = {",", "a,", ",a", "a,,b", "a, ,b", " ", "a\nb"};
    wf_option_value value;
    char reason[WF_OPTION_REASON_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert_eq(wf_option_parse(&info, good[i], &value, reason), WEFT_OK, "good row %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(wf_option_parse(&info, bad[i], &value, reason), WEFT_EINVAL, "bad row %zu", i);
    cr_assert_eq(wf_option_parse(&info, "a,b,c,d,e,f,g,h,i,j,k", &value, reason), WEFT_ERANGE);
}

Test(config_option, suggest__table_of_slips) {
    static const struct {
        const char *typed, *expected;
    } rows[] = {
        {"thread", "threads"},
        {"Threads", "threads"},
        {"queue.max.record", "queue.max.records"},
        {"queue_max_records", "queue.max.records"},
        {"bootstrap.server", "bootstrap.servers"},
        {"toipcs", "topics"},
        {"retry.backoff.max", "retry.backoff.max.ms"},
        {"commit.intreval.ms", "commit.interval.ms"},
        {"sasl.username", NULL},
        {"x", NULL},
        {"", NULL},
        {"something.quite.different.and.much.longer.than.any.option.that.there.is", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *found = wf_option_suggest(rows[i].typed);
        cr_assert_eq(found == NULL, rows[i].expected == NULL, "%s: %s", rows[i].typed, found ? found : "none");
        if (found) cr_assert_str_eq(found, rows[i].expected, "%s: %s", rows[i].typed, found);
    }
}

Test(config_option, secret__by_name) {
    static const char *const secret[] = {"kafka.sasl.password",
                                         "kafka.ssl.key.password",
                                         "kafka.ssl.key.pem",
                                         "x.Secret.y",
                                         "kafka.sasl.oauthbearer.client.secret",
                                         "kafka.ssl.key.location",
                                         "auth.TOKEN",
                                         "kafka.sasl.oauthbearer.config",
                                         "kafka.sasl.passwrod",
                                         "kafka.sasl.pasword",
                                         "kafka.sasl_passwd",
                                         "kafka.ssl.keystore.Passwort",
                                         "kafka.sasl.oauthbearer.client.secert",
                                         "passwrod",
                                         "sasl-tokn"};
    static const char *const open[] = {"kafka.sasl.username",
                                       "topics",
                                       "kafka.ssl.ca.location",
                                       "null.key",
                                       "kafka.socket.nagle.disable",
                                       "kafka.security.protocol",
                                       "bootstrap.servers",
                                       "",
                                       "...",
                                       "kafka.topic.metadata.refresh.interval.ms",
                                       "kafka.broker.address.family"};
    for (size_t i = 0; i < sizeof secret / sizeof secret[0]; i++)
        cr_assert(wf_option_is_secret(secret[i]), "%s", secret[i]);
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        cr_assert_not(wf_option_is_secret(open[i]), "%s", open[i]);
}

Test(config_option, secret__of_an_option__by_its_row_and_not_by_its_name) {
    wf_option_info row = {.name = "worker.token"};
    cr_expect_not(wf_option_hides(&row, row.name));
    cr_expect(wf_option_hides(NULL, row.name));
    row = (wf_option_info){.name = "threads", .secret = true};
    cr_expect(wf_option_hides(&row, row.name));
    cr_expect_not(wf_option_hides(NULL, row.name));
    for (size_t i = 0; i < WF_OPTION_COUNT; i++)
        cr_expect_eq(wf_option_is_secret(wf_option_table[i].name), wf_option_table[i].secret);
}

/* --- set, get, precedence */

Test(config, new__nothing_set__defaults_and_what_must_be_set) {
    weft_config *config = given_config();

    for (size_t i = 0; i < WF_OPTION_COUNT; i++)
        expect_value(config, wf_option_table[i].name, wf_option_table[i].default_text);
    cr_assert_null(weft_config_get(config, "kafka.sasl.username"));
    cr_assert_null(weft_config_get(config, "no.such.option"));
    expect_problems(config, "default: bootstrap.servers = \"\": must be set: host:port of a broker\n"
                            "default: topics = \"\": must be set: what should be consumed?\n");

    weft_config_free(&config);
    cr_assert_null(config);
    weft_config_free(&config);
}

/* Whoever gave a wrong value has not forgotten it: one mistake, one line. */
Test(config, check__a_value_that_was_refused__is_not_missing_too) {
    weft_config *config = given_whole_config();
    cr_assert_eq(weft_config_set(config, "engine", "process"), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "workers", "2"), WEFT_OK);
    cr_assert_neq(weft_config_set(config, "worker.command", "two\nlines"), WEFT_OK);
    char *problems = weft_config_problems(config), *end = problems ? strchr(problems, '\n') : NULL;
    cr_assert(end && end[1] == '\0' && strstr(problems, "worker.command") != NULL, "%s", problems);
    free(problems);
    cr_assert_eq(weft_config_set(config, "worker.command", NULL), WEFT_OK);
    cr_assert_eq(weft_config_check(config), WEFT_ECONFIG);
    weft_config_free(&config);

    config = given_config();
    cr_assert_eq(weft_config_set(config, "topics", "orders"), WEFT_OK);
    cr_assert_neq(weft_config_set(config, "bootstrap.servers", "a\nb"), WEFT_OK);
    problems = weft_config_problems(config);
    cr_assert(problems && strstr(problems, "must be set") == NULL, "%s", problems);
    free(problems);
    weft_config_free(&config);
}

Test(config, set__invalid__answers_at_once_and_keeps_the_problem) {
    weft_config *config = given_whole_config();

    cr_assert_eq(weft_config_set(config, "threads", "8"), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "threads", "zero"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, "tick.ms", "5"), WEFT_ERANGE);
    cr_assert_eq(weft_config_set(config, "ordering", "keys"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, "group.id", ""), WEFT_ERANGE);

    expect_value(config, "threads", "8");
    expect_problems(
        config, "code: threads = \"zero\": must be a whole number from 1 to 10000\n"
                "code: tick.ms = \"5\": must be a whole number from 10 to 60000 ms\n"
                "code: ordering = \"keys\": must be one of key, key_hash, partition, unordered (did you mean key?)\n"
                "code: group.id = \"\": must have from 1 to 249 bytes, has 0\n");
    weft_config_free(&config);
}

Test(config, set__again__replaces_value_and_problem) {
    weft_config *config = given_whole_config();

    weft_config_set(config, "threads", "zero");
    cr_assert_eq(weft_config_set(config, "threads", "2"), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "threads", "3"), WEFT_OK);
    expect_value(config, "threads", "3");
    expect_problems(config, "");

    weft_config_set(config, "thread", "2");
    cr_assert_eq(weft_config_set(config, "thread", NULL), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "threads", NULL), WEFT_OK);
    expect_value(config, "threads", "4");
    expect_problems(config, "");
    weft_config_free(&config);
}

Test(config, set__unknown__suggests_and_does_not_show_the_value) {
    weft_config *config = given_whole_config();

    cr_assert_eq(weft_config_set(config, "bootstrap.sevrers", "x"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, "sasl.passwrd", "hunter2"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, "", "x"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, "a\nb", "x"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(NULL, "threads", "x"), WEFT_EINVAL);
    cr_assert_eq(weft_config_set(config, NULL, "x"), WEFT_EINVAL);

    expect_problems(config, "code: no option \"bootstrap.sevrers\"; did you mean bootstrap.servers?\n"
                            "code: no option \"sasl.passwrd\"; settings of librdkafka begin with kafka.\n"
                            "code: the name of an option has from 1 to 255 bytes, this one 0\n"
                            "code: no option \"a\\nb\"; settings of librdkafka begin with kafka.\n");
    weft_config_free(&config);
}

/* Sources are read in a random order, some of them twice; the strongest that names the option wins. */
Test(config, precedence__any_order__code_over_environment_over_file_over_default) {
    for (unsigned seed = 1; seed <= 500; seed++) {
        srand(seed);
        weft_config *config = given_config();
        char winner[32] = "4";
        int strongest = 0;
        for (int step = 0; step < 4; step++) {
            int source = 1 + rand() % 3, value = 1 + rand() % 10000;
            char text[64], environment[64];
            snprintf(text, sizeof text, source == 1 ? "threads = %d" : "%d", value);
            snprintf(environment, sizeof environment, "WEFT_THREADS=%d", value);
            char *variables[] = {environment, NULL};
            if (source == 1) cr_assert_eq(load(config, text), WEFT_OK);
            if (source == 2) cr_assert_eq(wf_config_load_variables(config, variables), WEFT_OK);
            if (source == 3) cr_assert_eq(weft_config_set(config, "threads", text), WEFT_OK);
            if (source >= strongest) {
                strongest = source;
                snprintf(winner, sizeof winner, "%d", value);
            }
            cr_assert_str_eq(weft_config_get(config, "threads"), winner, "seed %u step %d", seed, step);
        }
        weft_config_free(&config);
    }
}

/* --- kafka. */

Test(config, kafka__refused_settings__say_why) {
    weft_config *config = given_whole_config();
    static const char *const names[] = {
        "enable.auto.commit",
        "auto.commit.interval.ms",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "group.id",
        "bootstrap.servers",
        "client.id",
        "auto.offset.reset",
        "rebalance_cb",
        "consume_cb",
        "metadata.broker.list",
        "auto.commit.enable",
        "enabled_events",
        "",
        "a b",
    };
    size_t count = sizeof names / sizeof names[0];
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "kafka.%s", names[i]);
        cr_assert_eq(weft_config_set(config, name, "true"), WEFT_EINVAL, "%s", name);
        cr_assert_null(weft_config_get(config, name));
    }

    char *problems = weft_config_problems(config);
    size_t lines = 0;
    for (const char *at = problems; *at; at++) lines += *at == '\n';
    cr_assert_eq(lines, count, "%s", problems);
    cr_assert(strstr(problems, "code: kafka.group.id = \"true\": is an option of weft: set it without the prefix\n"));
    cr_assert(strstr(problems, "code: kafka.auto.commit.interval.ms = \"true\": use commit.interval.ms\n"));
    free(problems);
    weft_config_free(&config);
}

Test(config, kafka__too_many_settings__refused) {
    weft_config *config = given_whole_config();
    char name[64];
    for (int i = 0; i < 512; i++) {
        snprintf(name, sizeof name, "kafka.setting.%d", i);
        cr_assert_eq(weft_config_set(config, name, "x"), WEFT_OK);
    }
    cr_assert_eq(weft_config_set(config, "kafka.setting.7", "y"), WEFT_OK);
    cr_assert_eq(weft_config_set(config, "kafka.one.more", "x"), WEFT_ERANGE);
    expect_problems(config, "code: kafka.one.more: too many settings of librdkafka, at most 512\n");
    weft_config_free(&config);
}

/* --- environment */

Test(config, environment__names__mapped_and_unknown_ones_are_problems) {
    weft_config *config = given_whole_config();
    char *variables[] = {"PATH=/bin",
                         "WEFT_QUEUE_MAX_RECORDS=20000",
                         "WEFT_KAFKA_SASL_USERNAME=me",
                         "WEFT_KAFKA_SASL_PASSWORD=hunter2",
                         "WEFT_KAFKA_LOG__LEVEL=7",
                         "WEFT_APP_NAME=x",
                         "WEFT_TEST_SEED=1",
                         "WEFT_THREAD=3",
                         "WEFT_TICK_MS=",
                         "WEFT_=x",
                         "WEFT_GROUP_ID=a=b",
                         NULL};

    cr_assert_eq(wf_config_load_variables(config, variables), WEFT_ECONFIG);

    expect_value(config, "queue.max.records", "20000");
    expect_value(config, "kafka.sasl.username", "me");
    expect_value(config, "kafka.sasl.password", "hunter2");
    expect_value(config, "kafka.log_level", "7");
    expect_value(config, "group.id", "a=b");
    expect_problems(config, "environment WEFT_THREAD: no option \"thread\"; did you mean threads?\n"
                            "environment WEFT_TICK_MS: tick.ms = \"\": must be a whole number from 10 to 60000 ms\n"
                            "environment WEFT_: the name of an option has from 1 to 255 bytes, this one 0\n");

    char *nothing[] = {NULL};
    cr_assert_eq(wf_config_load_variables(config, nothing), WEFT_OK);
    expect_value(config, "queue.max.records", "16000");
    cr_assert_null(weft_config_get(config, "kafka.sasl.username"));
    expect_problems(config, "");
    weft_config_free(&config);
}

Test(config, environment__names_from_before_weft__forms_and_precedence) {
    static const struct {
        const char *variables[3];
        const char *enabled, *port, *problems;
    } table[] = {
        {{"METRICS_ENABLED=true", "METRICS_PORT=9200"}, "true", "9200", ""},
        {{"METRICS_ENABLED=1"}, "true", "9095", ""},
        {{"METRICS_ENABLED=True"}, "true", "9095", ""},
        {{"METRICS_ENABLED=off", "METRICS_PORT=0"}, "false", "0", ""},
        {{"METRICS_ENABLED=false"}, "false", "9095", ""},
        {{"METRICS_ENABLEDX=true", "METRICS_POR=1"}, "false", "9095", ""},
        {{"METRICS_ENABLED=maybe"},
         "false",
         "9095",
         "environment METRICS_ENABLED: metrics.enabled = \"maybe\": must be true or false\n"},
        {{"METRICS_PORT=65536"},
         "false",
         "9095",
         "environment METRICS_PORT: metrics.port = \"65536\": must be a whole number from 0 to 65535\n"},
        {{"METRICS_PORT=9200", "WEFT_METRICS_PORT=9300"}, "false", "9300", ""},
        {{"WEFT_METRICS_PORT=9300", "METRICS_PORT=9200"}, "false", "9300", ""},
        {{"METRICS_PORT=tcp://10.0.0.1:9090", "WEFT_METRICS_PORT=9300"}, "false", "9300", ""},
        {{"WEFT_METRICS_ENABLED=true", "METRICS_ENABLED=maybe"}, "true", "9095", ""},
        {{"METRICS_PORT=9200", "WEFT_METRICS_PORTS=1"},
         "false",
         "9200",
         "environment WEFT_METRICS_PORTS: no option \"metrics.ports\"; did you mean metrics.port?\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        weft_config *config = given_whole_config();
        char *variables[3] = {NULL};
        for (int v = 0; v < 2; v++) variables[v] = (char *)(uintptr_t)table[i].variables[v];
        wf_config_load_variables(config, variables);
        expect_value(config, "metrics.enabled", table[i].enabled);
        expect_value(config, "metrics.port", table[i].port);
        expect_problems(config, table[i].problems);
        weft_config_free(&config);
    }
}

Test(config, environment__every_option__has_a_variable) {
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        weft_config *config = given_config();
        char variable[256] = "WEFT_", *at = variable + 5;
        for (const char *c = info->name; *c; c++) *at++ = (char)(*c == '.' ? '_' : *c - 'a' + 'A');
        snprintf(at, 200, "=%s", info->id == WF_OPTION_ID_topics ? "t" : info->default_text);
        char *variables[] = {variable, NULL};
        cr_assert_eq(wf_config_load_variables(config, variables), WEFT_OK, "%s", variable);
        char *dump = weft_config_dump(config);
        variable[strcspn(variable, "=")] = '\0';
        cr_assert(strstr(dump, variable), "%s is not in\n%s", variable, dump);
        free(dump);
        weft_config_free(&config);
    }
}

Test(config, environment__of_the_process__is_read) {
    weft_config *config = given_whole_config();
    cr_assert_eq(clearenv(), 0);
    setenv("WEFT_THREADS", "17", 1);
    cr_assert_eq(weft_config_load_environment(config), WEFT_OK);
    expect_value(config, "threads", "17");
    weft_config_free(&config);
}

/* --- files */

Test(config_file, text__all_forms__understood) {
    weft_config *config = given_config();
    weft_status status = load(config, "\xef\xbb\xbf# a comment\r\n"
                                      "! another = one\r\n"
                                      "\r\n"
                                      "  threads=7\r\n"
                                      "\ttopics = ^orders\\..*, payments \t\n"
                                      "group.id =  a = b # c  \n"
                                      "bootstrap.servers = b:9092\n"
                                      "kafka.sasl.password = a\\tb\"c \n"
                                      "client.id = last line without an end");
    cr_assert_eq(status, WEFT_OK);
    expect_value(config, "threads", "7");
    expect_value(config, "topics", "^orders\\..*, payments");
    expect_value(config, "group.id", "a = b # c");
    expect_value(config, "kafka.sasl.password", "a\\tb\"c");
    expect_value(config, "client.id", "last line without an end");
    expect_problems(config, "");
    weft_config_free(&config);
}

Test(config_file, text__many_mistakes__all_told_with_their_lines) {
    weft_config *config = given_whole_config();
    cr_assert_eq(load(config, "threads = 0\n"
                              "no equals sign\n"
                              "tick.ms = 100\n"
                              "tick.ms = 100\n"
                              " = 5\n"
                              "kafka.sasl.password = a\n"
                              "kafka.sasl.password = b\n"
                              "kafka.enable.auto.commit = true\n"
                              "log.level = \x01loud\n"),
                 WEFT_ECONFIG);
    expect_problems(config,
                    "f:1: threads = \"0\": must be a whole number from 1 to 10000\n"
                    "f:2: a line must have the form name = value\n"
                    "f:4: tick.ms is given twice, first at f:3\n"
                    "f:5: the name of an option has from 1 to 255 bytes, this one 0\n"
                    "f:7: kafka.sasl.password is given twice, first at f:6\n"
                    "f:8: kafka.enable.auto.commit = \"true\": weft commits what is finished, and nothing else\n"
                    "f:9: log.level = \"\\x01loud\": must be one of error, warn, info, debug\n");
    weft_config_free(&config);
}

Test(config_file, text__control_characters_in_names__problems_stay_one_line_each) {
    weft_config *config = given_whole_config();
    cr_assert_eq(wf_config_load_text(config, "a\nb", "kafka.c\x01 = 1\nkafka.d = 2", 24), WEFT_ECONFIG);
    expect_problems(config, "a?b:1: kafka.c? = \"1\": a name must be printable ASCII\n");
    char *dump = weft_config_dump(config);
    cr_assert(strstr(dump, "\nkafka.d = \"2\" (a?b:2)\n"), "%s", dump);
    free(dump);
    weft_config_free(&config);
}

Test(config_file, text__two_files__the_later_one_wins_without_a_problem) {
    weft_config *config = given_whole_config();
    cr_assert_eq(load(config, "threads = 1\ntick.ms = 50"), WEFT_OK);
    cr_assert_eq(load(config, "threads = 2"), WEFT_OK);
    expect_value(config, "threads", "2");
    expect_value(config, "tick.ms", "50");
    expect_problems(config, "");
    weft_config_free(&config);
}

Test(config_file, text__hostile__bounded) {
    weft_config *config = given_whole_config();
    enum { BYTES = WF_CONFIG_FILE_MAX_BYTES + 1 };
    char *text = malloc(BYTES);
    memset(text, '\n', BYTES);
    cr_assert_eq(wf_config_load_text(config, "big", text, BYTES), WEFT_ECONFIG);
    cr_assert_eq(wf_config_load_text(config, "empty lines", text, BYTES - 1), WEFT_OK);
    text[4] = '\0';
    cr_assert_eq(wf_config_load_text(config, "binary", text, 100), WEFT_ECONFIG);
    for (size_t i = 0; i < 2000; i += 2) text[i] = 'a';
    text[2000] = 'b';
    cr_assert_eq(wf_config_load_text(config, "nonsense", text, 2001), WEFT_ECONFIG);

    char *problems = weft_config_problems(config);
    cr_assert_eq(
        strncmp(problems,
                "big: the file has more than 1048576 bytes\nbinary: not a text file: byte 5 is 0\nnonsense:1:", 90),
        0, "%s", problems);
    cr_assert(strstr(problems, "\nand 803 more\n"), "%s", strstr(problems, "\nand "));
    free(problems);
    free(text);
    weft_config_free(&config);
}

Test(config_file, load__what_is_no_file__clear_error) {
    weft_config *config = given_whole_config();
    char fifo[64];
    snprintf(fifo, sizeof fifo, "/tmp/weft_test_fifo_%d", (int)getpid());
    cr_assert_eq(mkfifo(fifo, 0600), 0);

    cr_assert_eq(weft_config_load_file(config, "/nonexistent/weft.properties"), WEFT_ESYSTEM);
    cr_assert_eq(weft_config_load_file(config, "/tmp"), WEFT_ESYSTEM);
    cr_assert_eq(weft_config_load_file(config, "/dev/null"), WEFT_ESYSTEM);
    cr_assert_eq(weft_config_load_file(config, fifo), WEFT_ESYSTEM);
    unlink(fifo);

    char expected[512];
    snprintf(expected, sizeof expected,
             "/nonexistent/weft.properties: the file can't be opened: No such file or directory\n"
             "/tmp: the file can't be read: it is a directory\n"
             "/dev/null: the file can't be read: it is not a regular file\n"
             "%s: the file can't be read: it is not a regular file\n",
             fifo);
    expect_problems(config, expected);
    weft_config_free(&config);
}

Test(config_file, load__real_file__values_with_their_origin) {
    weft_config *config = given_whole_config();
    char path[] = "/tmp/weft_test_config_XXXXXX", expected[128];
    int fd = mkstemp(path);
    dprintf(fd, "# ours\nthreads = 9\n");
    close(fd);

    cr_assert_eq(weft_config_load_file(config, path), WEFT_OK);
    unlink(path);

    char *dump = weft_config_dump(config);
    snprintf(expected, sizeof expected, "\nthreads = \"9\" (%s:2)\n", path);
    cr_assert(strstr(dump, expected), "%s", dump);
    free(dump);
    weft_config_free(&config);
}

/* --- what fits together */

#define TOO_MUCH "repeats too much: with every + and {} written out it may have more than 100000 parts\n"

Test(config, cross_check__table_of_pairs) {
    static const struct {
        const char *settings, *problems;
    } rows[] = {
        {"drain.timeout.ms = 289999", ""},
        {"drain.timeout.ms = 290000",
         "f:1: drain.timeout.ms = \"290000\": plus 10000 ms for the last commit must be less than "
         "kafka.max.poll.interval.ms, which is 300000 by default\n"},
        {"kafka.max.poll.interval.ms = 40001", ""},
        {"kafka.max.poll.interval.ms = 40000",
         "default: drain.timeout.ms = \"30000\": plus 10000 ms for the last commit must be less "
         "than kafka.max.poll.interval.ms, which is 40000\n"},
        {"kafka.max.poll.interval.ms = 5m",
         "f:1: kafka.max.poll.interval.ms = \"5m\": must be a whole number from 1 to 86400000 ms\n"},
        {"retry.backoff.ms = 500\nretry.backoff.max.ms = 500", ""},
        {"retry.backoff.ms = 501\nretry.backoff.max.ms = 500",
         "f:2: retry.backoff.max.ms = \"500\": must not be less than retry.backoff.ms, which is 501\n"},
        {"queue.max.records = 100", ""},
        {"queue.max.records = 100\nin.flight.max.records = 101",
         "f:1: queue.max.records = \"100\": must not be less than in.flight.max.records, which is 101\n"},
        {"threads = 17\nqueue.max.records = 16",
         "f:2: queue.max.records = \"16\": must not be less than threads, which is 17\n"},
        {"threads = 17\nqueue.max.records = 16\nengine = inline", ""},
        {"in.flight.max.records = 3",
         "f:1: in.flight.max.records = \"3\": must not be less than threads, which is 4\n"},
        {"partition.max.records = 16001",
         "default: queue.max.records = \"16000\": must not be less than partition.max.records, which is 16001\n"},
        {"engine = inline\nhandler.deadline.ms = 5",
         "f:2: handler.deadline.ms = \"5\": must be 0 when engine is inline: nothing can watch the handler\n"},
        {"stuck.policy = abandon", "f:1: stuck.policy = \"abandon\": needs a handler.deadline.ms above 0\n"},
        {"stuck.policy = abandon\nhandler.deadline.ms = 1", ""},
        {"ordering = unordered\nnull.key = serial",
         "f:2: null.key = \"serial\": must be unordered when ordering is unordered\n"},
        {"topics = a.b_c-D9, ^x[0-9]+$, ^y{30}(a+b+)+{3}", ""},
        {"topics = ^y{1", "f:1: topics = \"^y{1\": ^y{1 is not a regular expression\n"},
        {"topics = ^a++++++++++++++++", "f:1: topics = \"^a++++++++++++++++\": ^a++++++++++++++++ " TOO_MUCH},
        {"topics = ^((a{99}){99}){99}", "f:1: topics = \"^((a{99}){99}){99}\": ^((a{99}){99}){99} " TOO_MUCH},
        {"topics = a b, ^x[, .., c",
         "f:1: topics = \"a b, ^x[, .., c\": a b is not a topic name: 1 to 249 letters, digits, '.', '_' or '-'\n"
         "f:1: topics = \"a b, ^x[, .., c\": ^x[ is not a regular expression\n"
         "f:1: topics = \"a b, ^x[, .., c\": .. is not a topic name: 1 to 249 letters, digits, '.', '_' or '-'\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weft_config *config = given_whole_config();
        if (strstr(rows[i].settings, "topics")) weft_config_set(config, "topics", NULL);
        cr_assert_eq(load(config, rows[i].settings), WEFT_OK, "row %zu", i);
        expect_problems(config, rows[i].problems);
        weft_config_free(&config);
    }
}

Test(config, cross_check__mock_cluster__needs_no_servers) {
    weft_config *config = given_whole_config();
    weft_config_set(config, "bootstrap.servers", NULL);
    cr_assert_eq(weft_config_check(config), WEFT_ECONFIG);
    weft_config_set(config, "kafka.test.mock.num.brokers", "1");
    expect_problems(config, "");
    weft_config_set(config, "kafka.test.mock.num.brokers", "0");
    cr_assert_eq(weft_config_check(config), WEFT_ECONFIG);
    weft_config_free(&config);
}

/* Refuses whatever has "bad" in its value, and two settings together. */
static void judge(const wf_setting *settings, size_t count, wf_setting_refuse refuse, void *context) {
    for (size_t i = 0; i < count; i++) {
        cr_assert(i == 0 || strcmp(settings[i - 1].name, settings[i].name) < 0);
        cr_assert_neq(strncmp(settings[i].name, "kafka.", 6), 0);
        if (strstr(settings[i].value, "bad")) refuse(context, i, "no\tgood\nat all \n\n");
    }
    if (count == 2) refuse(context, wf_settings_all, "two\nare one too many");
}

Test(config, judge__of_settings__is_asked_with_those_in_effect) {
    static const struct {
        const char *settings, *problems;
    } rows[] = {
        {"", ""},
        {"kafka.a = good", ""},
        {"threads = 0\nkafka.b = bad", "f:1: threads = \"0\": must be a whole number from 1 to 10000\n"
                                      "f:2: kafka.b = \"bad\": no?good?at all\n"},
        {"kafka.b = 1\nkafka.a.password = bad", "f:2: kafka.a.password = ****: no?good?at all\n"
                                                "settings that begin with kafka.: two?are one too many\n"},
        {"kafka.group.id = bad", "f:1: kafka.group.id = \"bad\": is an option of weft: set it without the prefix\n"},
        {"kafka.max.poll.interval.ms = bad",
         "f:1: kafka.max.poll.interval.ms = \"bad\": must be a whole number from 1 to 86400000 ms\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weft_config *config;
        cr_assert_eq(wf_config_new(judge, &config), WEFT_OK);
        weft_config_set(config, "topics", "orders");
        weft_config_set(config, "bootstrap.servers", "localhost:9092");
        load(config, rows[i].settings);
        expect_problems(config, rows[i].problems);
        weft_config_set(config, "kafka.b", "good"); /* in place of that of the file */
        char *problems = weft_config_problems(config);
        cr_expect(!problems || !strstr(problems, "kafka.b"), "%s", problems);
        free(problems);
        weft_config_free(&config);
    }
}

/* --- dump, help, resolve */

Test(config, dump__secrets__hidden_with_their_origin) {
    weft_config *config = given_whole_config();
    char *variables[] = {"WEFT_KAFKA_SASL_PASSWORD=hunter2", "WEFT_KAFKA_SSL_CERTIFICATE_PEM=line\nline", NULL};
    wf_config_load_variables(config, variables);
    load(config, "kafka.sasl.password = hunter3\nkafka.check.crcs = true\n");
    weft_config_set(config, "kafka.enable.auto.commit", "hunter4");

    char *dump = weft_config_dump(config), *problems = weft_config_problems(config);
    cr_assert_null(strstr(dump, "hunter"));
    cr_assert(strstr(dump,
                     "\nkafka.check.crcs = \"true\" (f:2)\n"
                     "kafka.sasl.password = **** (environment WEFT_KAFKA_SASL_PASSWORD)\n"
                     "kafka.ssl.certificate.pem = \"line\\nline\" (environment WEFT_KAFKA_SSL_CERTIFICATE_PEM)\n"),
              "%s", dump);
    cr_assert(strstr(dump, "\ntopics = \"orders\" (code)\n") && strstr(dump, "\nthreads = \"4\" (default)\n"), "%s",
              dump);
    free(dump);
    free(problems);
    weft_config_free(&config);
}

Test(config, problem__secret_value__hidden) {
    weft_config *config = given_whole_config();
    load(config, "kafka.password_cb = hunter2");
    expect_problems(config, "f:1: kafka.password_cb = ****: callbacks are weft's own\n");
    weft_config_free(&config);
}

Test(config, help__every_option__with_range_and_default) {
    char *help = weft_config_help();
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) cr_assert(strstr(help, wf_option_table[i].name));
    cr_assert(strstr(help, "\n    10 to 60000 ms; default 1000\n"), "%s", help);
    cr_assert(strstr(help, "\n    key, key_hash, partition, unordered; default key\n"), "%s", help);
    free(help);
}

Test(config, resolve__typed_values__outlive_the_configuration) {
    weft_config *config = given_config();
    cr_assert_eq(
        load(config,
             "topics = a, ^b.*  ,c\nbootstrap.servers = x:1\nordering = key_hash\nqueue.max.bytes = 68719476736\n"
             "queue.max.records = 5000\nkafka.b = 2\nkafka.a = 1\nlog.level = debug\n"),
        WEFT_OK);
    weft_config_set(config, "kafka.b", "3");

    wf_options options;
    cr_assert_eq(wf_config_resolve(config, &options), WEFT_OK);
    weft_config_free(&config);

    cr_assert_eq(options.topics_count, 3);
    cr_assert_str_eq(options.topics[0], "a");
    cr_assert_str_eq(options.topics[1], "^b.*");
    cr_assert_str_eq(options.topics[2], "c");
    cr_assert_str_eq(options.bootstrap_servers, "x:1");
    cr_assert_str_eq(options.group_id, "weft");
    cr_assert_eq(options.ordering, WF_ORDERING_KEY);
    cr_assert_eq(options.log_level, (int)WEFT_LOG_DEBUG);
    cr_assert_eq(options.threads, 4);
    cr_assert_eq(options.queue_max_bytes, INT64_C(68719476736));
    cr_assert_eq(options.in_flight_max_records, 5000); /* the default is 10000 */
    cr_assert_eq(options.kafka_count, 2);
    cr_assert_str_eq(options.kafka[0].name, "a");
    cr_assert_str_eq(options.kafka[0].value, "1");
    cr_assert_str_eq(options.kafka[1].name, "b");
    cr_assert_str_eq(options.kafka[1].value, "3");
    wf_options_free(&options);
    cr_assert_null(options.topics);
    wf_options_free(&options);
}

Test(config, resolve__with_problems__refused) {
    weft_config *config = given_whole_config();
    wf_options options = {.threads = 4711};
    weft_config_set(config, "threads", "0");
    cr_assert_eq(wf_config_resolve(config, &options), WEFT_ECONFIG);
    cr_assert_eq(options.threads, 4711);
    weft_config_free(&config);
}
