/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that are each valid and still don't fit together, and settings of librdkafka, which the judge knows. Looked
 * at as a whole, when somebody asks: the order of the settings must not matter.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_store.h"
#include "process.h"

/* librdkafka's default and range. */
enum { POLL_INTERVAL_DEFAULT_MS = 300000, POLL_INTERVAL_MAX_MS = 86400000 };

/* What the last commit and leaving the partition may take behind the drain. */
enum { FINAL_COMMIT_MS = 10000 };

/* Of a pattern of topics: some megabytes. */
enum { PATTERN_PARTS_MAX = 100000 };

static const char poll_interval_name[] = "kafka.max.poll.interval.ms";

struct checker {
    const weft_config *config;
    FILE *out;
    size_t lines;
    const wf_config_setting **kafka; /* what the judge looks at */
    size_t kafka_count;
    bool poll_interval_told;
};

static int64_t number(const struct checker *checker, wf_option_id id) {
    return wf_config_value(checker->config, id).integer;
}

static int choice(const struct checker *checker, wf_option_id id) {
    return wf_config_value(checker->config, id).choice;
}

static bool is_set(const struct checker *checker, wf_option_id id) {
    return wf_config_effective(checker->config, wf_option_table[id].name) != NULL;
}

/* "PLACE: name = "value": ", as for single values; returns where the reason goes. */
static FILE *complain(struct checker *checker, const char *name) {
    const wf_config_setting *setting = wf_config_effective(checker->config, name);
    const char *value = weft_config_get(checker->config, name);
    fprintf(checker->out, "%s: %s = ", setting ? setting->place : "default", name);
    wf_config_print_value(checker->out, name, value ? value : "", WF_CONFIG_SHOWN_BYTES);
    fputs(": ", checker->out);
    checker->lines++;
    return checker->out;
}

static void must_not_be_less(struct checker *checker, wf_option_id id, wf_option_id other) {
    int64_t least = number(checker, other);
    if (number(checker, id) >= least) return;
    const wf_option_info *info = &wf_option_table[other];
    fprintf(complain(checker, wf_option_table[id].name), "must not be less than %s, which is %" PRId64 "\n", info->name,
            least);
}

/* Was a value of it refused? That is told, and whoever made that mistake has not forgotten the option. */
static bool is_refused(const struct checker *checker, wf_option_id id) {
    for (size_t i = 0; i < checker->config->problem_count; i++)
        if (strcmp(checker->config->problems[i].name, wf_option_table[id].name) == 0) return true;
    return false;
}

static bool is_given(const struct checker *checker, wf_option_id id) {
    return *wf_config_text(checker->config, id) != '\0' || is_refused(checker, id);
}

static void must_be_given(struct checker *checker, wf_option_id id, const char *hint) {
    if (is_given(checker, id)) return;
    fprintf(complain(checker, wf_option_table[id].name), "must be set%s\n", hint);
}

/* Kafka's rule for names: ASCII letters, digits, '.', '_' and '-', at most 249, not "." or "..". */
static bool is_topic_name(const char *name, size_t bytes) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (bytes == 0 || bytes > 249 || strspn(name, allowed) < bytes) return false;
    return strncmp(name, "..", bytes) != 0;
}

/* The C library writes repetitions out, x+ as xx* and x{9} nine times, and with them what they enclose: a++++ or
 * (a{99}){99} can cost any memory. So it gets none that may grow beyond this, counted without a look at what encloses
 * what. */
static bool grows_too_large(const char *text, size_t bytes) {
    double parts = (double)bytes;
    for (const char *at = text; at < text + bytes; at++) {
        double times = *at == '+' ? 2 : *at == '{' ? strtod(at + 1, NULL) : 1;
        if (times > 1) parts *= times;
    }
    return parts > PATTERN_PARTS_MAX;
}

/* As librdkafka compiles it. */
static bool is_regular_expression(const char *text, size_t bytes) {
    char *copy = strndup(text, bytes);
    regex_t regex;
    if (!copy) return true; /* no memory: the next call will say so */
    bool valid = regcomp(&regex, copy, REG_EXTENDED | REG_NOSUB) == 0;
    if (valid) regfree(&regex);
    free(copy);
    return valid;
}

static void check_topics(struct checker *checker) {
    const char *text = wf_config_text(checker->config, WF_OPTION_ID_topics);
    for (const char *at = text; *at;) {
        at += strspn(at, " ");
        size_t whole = strcspn(at, ","), bytes = whole;
        while (bytes > 0 && at[bytes - 1] == ' ') bytes--;
        const char *problem = NULL;
        if (*at == '^' && grows_too_large(at, bytes))
            problem = "repeats too much: with every + and {} written out it may have more than 100000 parts";
        else if (*at == '^' && !is_regular_expression(at, bytes))
            problem = "is not a regular expression";
        if (*at != '^' && !is_topic_name(at, bytes))
            problem = "is not a topic name: 1 to 249 letters, digits, '.', '_' or '-'";
        if (problem) fprintf(complain(checker, "topics"), "%.*s %s\n", (int)bytes, at, problem);
        at += whole + (at[whole] == ',');
    }
}

static void check_users(struct checker *checker) {
    const char *text = wf_config_text(checker->config, WF_OPTION_ID_worker_users);
    for (const char *at = text; *at;) {
        char name[256];
        uid_t uid;
        at += strspn(at, " ");
        size_t whole = strcspn(at, ","), bytes = whole;
        while (bytes > 0 && at[bytes - 1] == ' ') bytes--;
        snprintf(name, sizeof name, "%.*s", (int)(bytes < sizeof name ? bytes : sizeof name - 1), at);
        if (!wf_user_find(name, &uid))
            fprintf(complain(checker, "worker.users"), "there is no user \"%s\" on this system\n", name);
        at += whole + (at[whole] == ',');
    }
}

static void check_poll_interval(struct checker *checker) {
    const char *text = weft_config_get(checker->config, poll_interval_name);
    const wf_option_info info = {
        .type = WF_OPTION_INTEGER, .unit = "ms", .minimum = 1, .maximum = POLL_INTERVAL_MAX_MS};
    wf_option_value limit = {.integer = POLL_INTERVAL_DEFAULT_MS};
    char reason[WF_OPTION_REASON_BYTES];
    if (text && wf_option_parse(&info, text, &limit, reason) != WEFT_OK) {
        fprintf(complain(checker, poll_interval_name), "%s\n", reason);
        checker->poll_interval_told = true;
        return;
    }
    int64_t drain_ms = number(checker, WF_OPTION_ID_drain_timeout_ms);
    if (drain_ms + FINAL_COMMIT_MS < limit.integer) return;
    /* Past that interval the group expels the member, in the middle of its drain. */
    fprintf(complain(checker, "drain.timeout.ms"),
            "plus %d ms for the last commit must be less than %s, which is %" PRId64 "%s\n", FINAL_COMMIT_MS,
            poll_interval_name, limit.integer, text ? "" : " by default");
}

/* A text of the judge's, which may quote any value, as the rest of a line. */
static void end_line(FILE *out, const char *text) {
    size_t bytes = strlen(text);
    while (bytes > 0 && (unsigned char)text[bytes - 1] <= 0x20) bytes--;
    for (size_t i = 0; i < bytes; i++) fputc((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i], out);
    fputc('\n', out);
}

static void on_refused(void *context, size_t index, const char *reason) {
    struct checker *checker = context;
    if (index != wf_settings_all) {
        end_line(complain(checker, checker->kafka[index]->name), reason);
        return;
    }
    fputs("settings that begin with kafka.: ", checker->out);
    end_line(checker->out, reason);
    checker->lines++;
}

static weft_status check_kafka(struct checker *checker) {
    if (!checker->config->judge) return WEFT_OK;
    checker->kafka = wf_config_kafka(checker->config, &checker->kafka_count);
    wf_setting *settings = checker->kafka ? calloc(checker->kafka_count + 1, sizeof *settings) : NULL;
    size_t count = 0;
    for (size_t i = 0; settings && i < checker->kafka_count; i++) {
        const wf_config_setting *setting = checker->kafka[i];
        if (checker->poll_interval_told && strcmp(setting->name, poll_interval_name) == 0) continue;
        checker->kafka[count] = setting;
        settings[count++] = (wf_setting){wf_config_kafka_name(setting->name), setting->value};
    }
    if (settings) checker->config->judge(settings, count, on_refused, checker);
    weft_status status = settings ? WEFT_OK : WEFT_ENOMEM;
    free(settings);
    free(checker->kafka);
    return status;
}

static void check_limits(struct checker *checker) {
    bool threads_run = choice(checker, WF_OPTION_ID_engine) == WF_ENGINE_ASYNC;
    /* A default above the queue is cut to it without a word, a number that somebody chose is not. */
    if (is_set(checker, WF_OPTION_ID_in_flight_max_records))
        must_not_be_less(checker, WF_OPTION_ID_queue_max_records, WF_OPTION_ID_in_flight_max_records);
    if (threads_run) {
        must_not_be_less(checker, WF_OPTION_ID_queue_max_records, WF_OPTION_ID_threads);
        must_not_be_less(checker, WF_OPTION_ID_in_flight_max_records, WF_OPTION_ID_threads);
    }
    must_not_be_less(checker, WF_OPTION_ID_queue_max_records, WF_OPTION_ID_partition_max_records);
    must_not_be_less(checker, WF_OPTION_ID_retry_backoff_max_ms, WF_OPTION_ID_retry_backoff_ms);
    int64_t tick_ms = number(checker, WF_OPTION_ID_tick_ms);
    bool served = wf_config_value(checker->config, WF_OPTION_ID_metrics_enabled).boolean;
    if (served && number(checker, WF_OPTION_ID_metrics_health_ms) < 3 * tick_ms)
        fprintf(complain(checker, "metrics.health.ms"),
                "must not be less than three times tick.ms, which is %" PRId64 "\n", tick_ms);
    struct in_addr address;
    if (inet_pton(AF_INET, wf_config_text(checker->config, WF_OPTION_ID_metrics_bind), &address) != 1)
        fprintf(complain(checker, "metrics.bind"), "must be an IPv4 address, like 127.0.0.1 or 0.0.0.0\n");
}

/* Settings that would silently do nothing. */
static void check_without_effect(struct checker *checker) {
    int64_t deadline_ms = number(checker, WF_OPTION_ID_handler_deadline_ms);
    if (choice(checker, WF_OPTION_ID_engine) == WF_ENGINE_INLINE && deadline_ms > 0)
        fprintf(complain(checker, "handler.deadline.ms"),
                "must be 0 when engine is inline: nothing can watch the handler\n");
    if (choice(checker, WF_OPTION_ID_stuck_policy) == WF_STUCK_ABANDON && deadline_ms == 0)
        fprintf(complain(checker, "stuck.policy"), "needs a handler.deadline.ms above 0\n");
    if (choice(checker, WF_OPTION_ID_ordering) == WF_ORDERING_UNORDERED &&
        choice(checker, WF_OPTION_ID_null_key) == WF_NULL_KEY_SERIAL)
        fprintf(complain(checker, "null.key"), "must be unordered when ordering is unordered\n");
}

static void check_workers(struct checker *checker) {
    if (choice(checker, WF_OPTION_ID_engine) != WF_ENGINE_PROCESS) return;
    bool command = is_given(checker, WF_OPTION_ID_worker_command);
    int64_t workers = number(checker, WF_OPTION_ID_workers), attached = number(checker, WF_OPTION_ID_worker_attach_max);
    if (!command && attached == 0)
        fprintf(complain(checker, "worker.command"),
                "must be set when engine is process, unless workers attach themselves (worker.attach.max)\n");
    else if (!command && workers > 0 && is_set(checker, WF_OPTION_ID_workers))
        fprintf(complain(checker, "workers"), "needs a worker.command\n");
    else if (command && workers == 0 && attached == 0)
        fprintf(complain(checker, "workers"), "must be above 0, or worker.attach.max must be: nobody would work\n");
    must_not_be_less(checker, WF_OPTION_ID_worker_restart_backoff_max_ms, WF_OPTION_ID_worker_restart_backoff_ms);
    if (choice(checker, WF_OPTION_ID_stuck_policy) == WF_STUCK_ABANDON)
        fprintf(complain(checker, "stuck.policy"),
                "must be stop when engine is process: a worker past its deadline is killed (worker.grace.ms)\n");
}

weft_status wf_config_cross_check(const weft_config *config, FILE *out, size_t *ret_lines) {
    struct checker checker = {.config = config, .out = out};
    /* librdkafka waits for ever without a broker; its mock cluster is one, unless it has none. */
    const char *mock = weft_config_get(config, "kafka.test.mock.num.brokers");
    if (!mock || strtol(mock, NULL, 10) <= 0)
        must_be_given(&checker, WF_OPTION_ID_bootstrap_servers, ": host:port of a broker");
    must_be_given(&checker, WF_OPTION_ID_topics, ": what should be consumed?");
    check_topics(&checker);
    check_users(&checker);
    check_poll_interval(&checker);
    check_limits(&checker);
    check_without_effect(&checker);
    check_workers(&checker);
    weft_status status = check_kafka(&checker);
    *ret_lines = checker.lines;
    return status;
}
