/* SPDX-License-Identifier: Apache-2.0
 *
 * The main job: processes a topic in parallel, in order per key, and proves it.
 *
 *     orders [--records N] [--keys N]                     on a broker inside this process, filled with N records first
 *     orders --bootstrap-servers HOST:PORT --topic NAME   on a real topic: counts its records (--print: prints them)
 * until a signal, or with --until-end until nothing is left
 *     ... [--group NAME] [--threads N] [--set option=value]... [--work-us N] [--journal FILE]
 *
 * With metrics.enabled (METRICS_ENABLED=true) it prints some lines of its own /metrics in the end. Under systemd it is
 * a service of Type=notify (support/service.h).
 *
 * It ends with 5 when finished records could not be committed, as weft-sidecar does.
 *
 * On its own topic it checks that every record is handled once and in order per key, and that all is committed: exit
 * status 0 only then. With --journal every record leaves two lines there, "B partition offset ns" when its handler
 * begins and E when it ends: what several processes of a group did, whatever becomes of them, can be put together
 * afterwards.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/consumer.h>

#include "embedded.h"
#include "own_metrics.h"
#include "service.h"
#include "settings.h"

enum { PARTITIONS = 8, LATENCY_BUCKETS = 512, CREDIT = INT32_MAX, DRAIN_MS = 30000, MISUSED = 2, UNCOMMITTED = 5 };

typedef struct task {
    const char *bootstrap; /* NULL: the embedded broker */
    const char *topic;
    const char *group;
    uint64_t records;
    uint64_t keys;
    bool print;
    bool until_end;
    bool print_help;
    const char *journal;
    uint64_t work_us; /* what a handler takes */
} task;

/* Per key the next number that its values should have. One atomic each: handlers of different keys run in different
 * threads. */
typedef struct ledger {
    _Atomic uint64_t *next;
    uint64_t keys;
    bool verify;
    bool print;
    int journal_fd; /* -1: none */
    uint64_t work_us;
    _Atomic uint64_t handled;
    _Atomic uint64_t duplicates;
    _Atomic uint64_t order_violations;
} ledger;

/* Latencies as weft measured them, kept by an actor of ours; main reads them when the consumer has stopped. */
typedef struct latencies {
    uint64_t buckets[LATENCY_BUCKETS]; /* 16 to each doubling, of ns */
    uint64_t count;
    uint64_t max_ns;
} latencies;

static weft_consumer *consumer;
static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
    weft_consumer_request_stop(consumer);
}

/* --- the handler */

static void check_order(ledger *book, const char *key, size_t key_bytes, const char *value, size_t value_bytes) {
    char text[32] = "";
    uint64_t customer, number;
    memcpy(text, key, key_bytes < sizeof text ? key_bytes : sizeof text - 1);
    if (sscanf(text, "customer-%" SCNu64, &customer) != 1 || customer >= book->keys) return;
    memset(text, 0, sizeof text);
    memcpy(text, value, value_bytes < sizeof text ? value_bytes : sizeof text - 1);
    number = strtoull(text, NULL, 10);
    uint64_t expected = atomic_load(&book->next[customer]);
    if (number < expected)
        atomic_fetch_add(&book->duplicates, 1);
    else if (number > expected)
        atomic_fetch_add(&book->order_violations, 1);
    else if (!atomic_compare_exchange_strong(&book->next[customer], &expected, number + 1))
        atomic_fetch_add(&book->order_violations, 1);
}

/* One write at the end of the file: whole, in whatever order the threads come, and it outlives the process. */
static bool note(const ledger *book, char what, const weft_record *record) {
    char line[80];
    struct timespec now;
    if (book->journal_fd < 0) return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int bytes = snprintf(line, sizeof line, "%c %d %" PRId64 " %" PRIu64 "\n", what, weft_record_partition(record),
                         weft_record_offset(record), (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    return write(book->journal_fd, line, (size_t)bytes) == bytes;
}

static weft_result handle(const weft_record *record, void *context) {
    ledger *book = context;
    if (!note(book, 'B', record)) return weft_record_fail(record, "the journal can't be written");
    if (book->work_us) nanosleep(&(struct timespec){.tv_nsec = (long)book->work_us * 1000}, NULL);
    size_t key_bytes, value_bytes;
    const char *key = weft_record_key(record, &key_bytes);
    const char *value = weft_record_value(record, &value_bytes);
    if (book->print)
        printf("%s/%d %" PRId64 " %.*s = %.*s\n", weft_record_topic(record), weft_record_partition(record),
               weft_record_offset(record), (int)key_bytes, key ? key : "", (int)value_bytes, value ? value : "");
    if (book->verify && key && value) check_order(book, key, key_bytes, value, value_bytes);
    if (!note(book, 'E', record)) return weft_record_fail(record, "the journal can't be written");
    atomic_fetch_add(&book->handled, 1);
    return WEFT_SUCCESS;
}

/* --- the actor that keeps latencies */

typedef struct keeper {
    latencies *latencies;
} keeper;

static unsigned bucket_of(uint64_t ns) {
    if (ns < 16) return (unsigned)ns;
    unsigned doubling = 63 - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (doubling - 3) * 16 + (unsigned)(ns >> (doubling - 4) & 15);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static uint64_t bucket_ns(unsigned bucket) {
    if (bucket < 16) return bucket;
    return (uint64_t)(16 + bucket % 16) << (bucket / 16 - 1);
}

static weft_status keeper_init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((keeper *)state)->latencies = *(latencies *const *)argument;
    return WEFT_OK;
}

static void keeper_on_completions(void *state, weft_env *env, const weft_message *message) {
    (void)env; /* the credit never runs out here */
    latencies *to = ((keeper *)state)->latencies;
    const weft_event_completion *completion = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *completion; i++) {
        to->buckets[bucket_of(completion[i].latency_ns)]++;
        to->count++;
        if (completion[i].latency_ns > to->max_ns) to->max_ns = completion[i].latency_ns;
    }
}

static const weft_actor_class keeper_class = {
    .name = "latencies",
    .state_bytes = sizeof(keeper),
    .init = keeper_init,
    .on = {[WEFT_EVENT_COMPLETIONS] = keeper_on_completions},
};

static double percentile_ms(const latencies *from, double share) {
    uint64_t rank = (uint64_t)(share * (double)from->count), seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += from->buckets[i];
        if (seen > rank) return (double)bucket_ns(i) / 1e6;
    }
    return (double)from->max_ns / 1e6;
}

/* --- the run */

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool nothing_left(void) {
    weft_metrics *metrics;
    if (weft_consumer_metrics(consumer, &metrics) != WEFT_OK) return false;
    bool nothing = metrics->partition_count > 0;
    for (size_t i = 0; i < metrics->partition_count; i++)
        nothing = nothing && metrics->partitions[i].log_end >= 0 &&
                  metrics->partitions[i].frontier >= metrics->partitions[i].log_end;
    free(metrics);
    return nothing;
}

static void show_progress(const ledger *book, const task *job, double seconds, bool terminal) {
    uint64_t handled = atomic_load(&book->handled);
    if (!terminal) return;
    if (job->bootstrap)
        printf("\r%" PRIu64 " records, %.0f/s   ", handled, (double)handled / seconds);
    else
        printf("\r%" PRIu64 " of %" PRIu64 " records (%.0f %%), %.0f/s   ", handled, job->records,
               100.0 * (double)handled / (double)job->records, (double)handled / seconds);
    fflush(stdout);
}

/* Until all is handled, a signal, or a failure; returns the seconds from the first to the last record. */
static double run(ledger *book, const task *job, weft_status *ret_reason) {
    bool terminal = isatty(STDOUT_FILENO) && !job->print;
    double first = 0, last = now_seconds();
    *ret_reason = WEFT_ETIMEOUT;
    while (*ret_reason == WEFT_ETIMEOUT) {
        uint64_t before = atomic_load(&book->handled);
        *ret_reason = weft_consumer_wait(consumer, before && !job->bootstrap ? 5 : 100);
        uint64_t handled = atomic_load(&book->handled);
        if (handled && first == 0) first = last;
        if (handled != before || first == 0) last = now_seconds();
        show_progress(book, job, last - first, terminal && first > 0);
        if (!job->bootstrap && handled >= job->records) break;
        if (job->until_end && handled == before && nothing_left()) break;
        service_alive(consumer);
    }
    if (terminal) printf("\r%60s\r", "");
    return first > 0 ? last - first : 0;
}

static void print_row(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_row(const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%-22s ", name);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static void print_table(const ledger *book, const latencies *times, double seconds) {
    uint64_t handled = atomic_load(&book->handled);
    print_row("records", "%" PRIu64, handled);
    print_row("rate", "%.0f records/s (%.3f s)", seconds > 0 ? (double)handled / seconds : 0, seconds);
    print_row("latency, ms", "p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f", percentile_ms(times, 0.5),
              percentile_ms(times, 0.9), percentile_ms(times, 0.99), percentile_ms(times, 0.999),
              (double)times->max_ns / 1e6);
    if (!book->verify) return;
    print_row("duplicates", "%" PRIu64, atomic_load(&book->duplicates));
    print_row("order violations", "%" PRIu64, atomic_load(&book->order_violations));
}

/* Returns the records that the commits cover. */
static uint64_t print_commits(const task *job, const char *address) {
    uint64_t committed = 0;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        int64_t offset = committed_offset(address, job->group, job->topic, i);
        char name[32];
        snprintf(name, sizeof name, "committed, partition %d", i);
        if (offset < 0)
            print_row(name, "nothing");
        else
            print_row(name, "%" PRId64, offset);
        committed += offset > 0 ? (uint64_t)offset : 0;
    }
    return committed;
}

static bool verdict(const ledger *book, const task *job, uint64_t committed) {
    bool once = atomic_load(&book->handled) == job->records && atomic_load(&book->duplicates) == 0;
    bool ordered = atomic_load(&book->order_violations) == 0;
    bool all_committed = committed == job->records;
    printf("\n%s\n", once && ordered && all_committed
                         ? "every record was handled once, in key order, and all is committed"
                     : !once    ? "FAILED: not every record was handled exactly once"
                     : !ordered ? "FAILED: records of a key were handled out of order"
                                : "FAILED: not everything is committed");
    return once && ordered && all_committed;
}

/* --- command line */

static int usage(const char *problem) {
    if (problem) fprintf(stderr, "orders: %s\n", problem);
    fprintf(
        problem ? stderr : stdout,
        "usage: orders [--records N] [--keys N] [--bootstrap-servers HOST:PORT --topic NAME [--print] [--until-end]]\n"
        "              [--group NAME] [--threads N] [--work-us N] [--journal FILE]\n"
        "              [--set option=value]...\n");
    if (!problem) settings_print_help();
    return problem ? MISUSED : 0;
}

static bool parse_count(const char *text, uint64_t *ret_count) {
    char *end;
    *ret_count = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *ret_count > 0 && *ret_count <= 100000000;
}

static const char *parse(int argc, char **argv, task *job, weft_config *config) {
    static const struct option options[] = {{"records", required_argument, NULL, 'n'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"bootstrap-servers", required_argument, NULL, 'b'},
                                            {"topic", required_argument, NULL, 't'},
                                            {"group", required_argument, NULL, 'g'},
                                            {"threads", required_argument, NULL, 'w'},
                                            {"set", required_argument, NULL, 's'},
                                            {"work-us", required_argument, NULL, 'u'},
                                            {"journal", required_argument, NULL, 'j'},
                                            {"print", no_argument, NULL, 'p'},
                                            {"until-end", no_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n' && !parse_count(optarg, &job->records))
            return "--records: a whole number from 1 to 100000000";
        if (option == 'k' && !parse_count(optarg, &job->keys)) return "--keys: a whole number from 1 to 100000000";
        if (option == 'u' && (!parse_count(optarg, &job->work_us) || job->work_us > 999999))
            return "--work-us: a whole number from 1 to 999999";
        if (option == 's' && !settings_set(config, optarg)) return "--set: option=value";
        if (option == 'b')
            job->bootstrap = optarg;
        else if (option == 't')
            job->topic = optarg;
        else if (option == 'g')
            job->group = optarg;
        else if (option == 'w')
            weft_config_set(config, "threads", optarg);
        else if (option == 'j')
            job->journal = optarg;
        else if (option == 'p')
            job->print = true;
        else if (option == 'e')
            job->until_end = true;
        else if (option == 'h')
            job->print_help = true;
        else if (option == '?')
            return "unknown option, or one without its value";
    }
    if (optind < argc) return "no arguments but options";
    if (job->bootstrap && !job->topic) return "--bootstrap-servers needs --topic";
    return NULL;
}

/* A setting of librdkafka, unless somebody chose it. */
static void prefer(weft_config *config, const char *name, const char *value) {
    if (!weft_config_get(config, name)) weft_config_set(config, name, value);
}

static void configure(const task *job, weft_config *config, const char *address) {
    weft_config_set(config, "bootstrap.servers", address);
    weft_config_set(config, "topics", job->topic);
    weft_config_set(config, "group.id", job->group);
    if (job->bootstrap) return;
    /* The embedded broker answers an empty fetch only when its time is over, and makes members wait for the session
     * time-out; a member that is late for the first join, which takes 3 s, is never answered. */
    prefer(config, "kafka.fetch.wait.max.ms", "10");
    prefer(config, "kafka.session.timeout.ms", "6000");
    prefer(config, "kafka.heartbeat.interval.ms", "200");
}

/* Returns the exit status. */
static int process(const task *job, weft_config *config, const char *address) {
    ledger book = {
        .keys = job->keys, .verify = !job->bootstrap, .print = job->print, .journal_fd = -1, .work_us = job->work_us};
    latencies times = {0}, *times_pointer = &times;
    weft_actor_id id;
    if (job->journal) {
        book.journal_fd = open(job->journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (book.journal_fd < 0) {
            perror(job->journal);
            return MISUSED;
        }
    }
    book.next = calloc(job->keys, sizeof *book.next);
    weft_status made = book.next ? weft_consumer_new(config, handle, &book, &consumer) : WEFT_ENOMEM;
    if (made != WEFT_OK) {
        const char *reason = made == WEFT_EINVAL ? "engine must not be process" : weft_status_text(made);
        fprintf(stderr, "orders: %s\n", reason);
        free(book.next);
        return made == WEFT_EINVAL ? MISUSED : EXIT_FAILURE;
    }
    weft_consumer_spawn(consumer, &keeper_class, &times_pointer, &id);
    weft_consumer_subscribe(consumer, id, true, false, CREDIT);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    weft_status reason = weft_consumer_start(consumer);
    if (reason == WEFT_OK) service_ready();
    double seconds = reason == WEFT_OK ? run(&book, job, &reason) : 0;
    if (reason == WEFT_ETIMEOUT) print_own_metrics(weft_consumer_metrics_port(consumer), atomic_load(&book.handled));
    service_stopping(DRAIN_MS);
    weft_status stopped = weft_consumer_stop(consumer, DRAIN_MS);
    bool failed = (reason != WEFT_OK && reason != WEFT_ETIMEOUT) || stopped != WEFT_OK;
    if (failed)
        fprintf(stderr, "orders: %s\n",
                *weft_consumer_error(consumer) ? weft_consumer_error(consumer) : weft_status_text(stopped));
    weft_consumer_free(&consumer);
    if (!job->print) print_table(&book, &times, seconds);
    if (!job->bootstrap) failed = !verdict(&book, job, print_commits(job, address)) || failed;
    free(book.next);
    if (reason == WEFT_ECONFIG) return MISUSED;
    if (stopped == WEFT_EUNCOMMITTED && job->bootstrap) return UNCOMMITTED;
    return failed || interrupted == 2 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    task job = {.group = "orders", .records = 200000, .keys = 10000};
    weft_config *config;
    service_open();
    if (weft_config_new(&config) != WEFT_OK) return EXIT_FAILURE;
    /* A table is printed: only what matters goes beside it, unless somebody asks for more. */
    if (!getenv("WEFT_LOG_LEVEL")) weft_config_set(config, "log.level", "warn");
    weft_config_load_environment(config); /* what it finds wrong is told with the other problems */
    const char *problem = parse(argc, argv, &job, config);
    if (problem || job.print_help) {
        weft_config_free(&config);
        return usage(problem);
    }
    if (!job.topic) job.topic = "orders";
    embedded_broker *broker = job.bootstrap ? NULL : embedded_broker_start(job.topic, PARTITIONS);
    const char *address = broker ? embedded_broker_address(broker) : job.bootstrap;
    int status = EXIT_FAILURE;
    if (address) {
        configure(&job, config, address);
        if (!settings_are_sound(config))
            status = MISUSED;
        else if (!broker || fill_topic(address, job.topic, job.records, job.keys))
            status = process(&job, config, address);
    }
    embedded_broker_stop(broker);
    weft_config_free(&config);
    return status;
}
