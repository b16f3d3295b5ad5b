/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_consume: end to end through a topic, weft beside librdkafka alone, on the same topic in the same run.
 *
 * The program starts itself again for every single run, so that each has a process of its own, and interleaves the
 * runs, so that what changes on the machine changes for all. Compare ratios within one table, never absolute figures
 * with another machine's; differences below 15 % are noise.
 */
#include "consume.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS_MAX = 64, CHILD_SECONDS_MAX = 900 };

static const consume_mode modes[] = {
    {"raw-poll", consume_raw_poll, CONSUME_RAW, "rd_kafka_consumer_poll, tuned"},
    {"raw-callback", consume_raw_callback, CONSUME_RAW, "rd_kafka_consume_callback_queue on an own queue, tuned"},
    {"raw-batch", consume_raw_batch, CONSUME_RAW, "rd_kafka_consume_batch_queue, tuned"},
    {"weft-async", consume_weft_async, CONSUME_WEFT, "weft, --threads handler threads"},
    {"weft-plain", consume_weft_plain, CONSUME_WEFT, "weft-async with record.headers = false"},
    {"weft-inline", consume_weft_inline, CONSUME_EXTRA, "weft, handlers on the work manager's loop"},
    {"weft-pending", consume_weft_pending, CONSUME_EXTRA, "weft, --pending records deferred at once for --sleep-us"},
    {"raw-poll-headers", consume_raw_poll_headers, CONSUME_EXTRA, "raw-poll, and asks each record for its headers"},
    {"raw-poll-defaults", consume_raw_poll_defaults, CONSUME_EXTRA, "rd_kafka_consumer_poll, library defaults"},
    {"floor", consume_floor, CONSUME_FLOOR, "threads that only sleep, no Kafka"},
    {"floor-hot", consume_floor_hot, CONSUME_FLOOR, "one thread that sleeps for the records of the hot key"},
};
enum { MODES = sizeof modes / sizeof *modes };

/* What one run of one mode came to. */
typedef struct measured {
    bool valid;
    double rate; /* records per second */
    double cpu_seconds_per_million;
    double rss_max_bytes;
    char note[96];
} measured;

typedef struct table_row {
    const consume_mode *mode;
    measured runs[RUNS_MAX];
} table_row;

static const struct option options[] = {
    {"bootstrap-servers", required_argument, NULL, 'b'},
    {"records", required_argument, NULL, 'n'},
    {"partitions", required_argument, NULL, 'p'},
    {"keys", required_argument, NULL, 'k'},
    {"value-bytes", required_argument, NULL, 'v'},
    {"hot-percent", required_argument, NULL, 'H'},
    {"threads", required_argument, NULL, 't'},
    {"sleep-us", required_argument, NULL, 's'},
    {"pending", required_argument, NULL, 'P'},
    {"set", required_argument, NULL, 'S'},
    {"runs", required_argument, NULL, 'r'},
    {"modes", required_argument, NULL, 'm'},
    {"help", no_argument, NULL, 'h'},
    {"child", required_argument, NULL, 'C'},
    {NULL, 0, NULL, 0},
};

static void usage(void) {
    puts("bench_consume --bootstrap-servers HOST:PORT [option ...]\n"
         "  --records N       in the topic (3000000)         --runs N         of each mode, interleaved (3)\n"
         "  --partitions N    (8)                            --modes A,B,...  see below\n"
         "  --keys N          uniformly chosen (10000)       --threads N      of engines and floors (2)\n"
         "  --value-bytes N   (100)                          --sleep-us N     what a handler does (0)\n"
         "  --hot-percent N   of the records have key 0 (0)  --pending N      deferred at once, weft-pending (2000)\n"
         "  --set NAME=VALUE  an option of weft, as often as wanted\n"
         "The topic is created and filled when it is not there; its name says what is in it.\n"
         "Without --modes: the three raw loops, or with --sleep-us the floors; and weft-async, weft-plain.\n");
    for (size_t i = 0; i < MODES; i++) printf("  %-18s %s\n", modes[i].name, modes[i].about);
}

static _Noreturn void fail(const char *what, const char *which) {
    fprintf(stderr, "bench_consume: %s: %s\n", what, which);
    exit(2);
}

static uint64_t number(const char *text, uint64_t min, uint64_t max) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || value < min || value > max) fail("not a number in range", text);
    return value;
}

static const consume_mode *mode_named(const char *name) {
    for (size_t i = 0; i < MODES; i++) {
        if (strcmp(modes[i].name, name) == 0) return &modes[i];
    }
    return NULL;
}

/* --- The run itself, in a process of its own: one line on stdout for the parent. */

static int run_child(const char *what, const consume_plan *plan) {
    const consume_mode *mode = mode_named(what);
    consume_result result = {0};

    alarm(CHILD_SECONDS_MAX); /* a run that hangs ends the child and is no result */
    if (strcmp(what, "fill") == 0) return consume_topic_fill(plan) ? 0 : 1;
    if (!mode || !mode->run(plan, &result)) return 1;
    printf("%" PRIu64 " %.9f %s\n", result.records, result.seconds, result.note);
    return 0;
}

/* --- The parent. */

static measured measured_of(const char *line, const struct rusage *usage) {
    measured run = {0};
    uint64_t records = 0;
    double seconds = 0;
    int used = 0;
    double cpu_seconds = (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
                         (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;

    if (sscanf(line, "%" SCNu64 " %lf %n", &records, &seconds, &used) < 2 || records == 0 || seconds <= 0) return run;
    run.valid = true;
    run.rate = (double)records / seconds;
    run.cpu_seconds_per_million = cpu_seconds * 1e6 / (double)records;
    run.rss_max_bytes = (double)usage->ru_maxrss * 1024.0;
    snprintf(run.note, sizeof run.note, "%.*s", (int)strcspn(line + used, "\n"), line + used);
    return run;
}

/* Start this program again with the same arguments and one more, and read its line. */
static measured run_in_child(char **arguments, int count, const char *what) {
    char **child_arguments = calloc((size_t)count + 3, sizeof *child_arguments);
    char line[256] = "", *name = strdup(what);
    struct rusage usage;
    measured run = {0};
    int channel[2], status;
    size_t used = 0;
    pid_t child;

    if (!child_arguments || !name || pipe(channel) != 0) fail("no memory or no pipe", what);
    memcpy(child_arguments, arguments, (size_t)count * sizeof *child_arguments);
    child_arguments[count] = "--child";
    child_arguments[count + 1] = name;
    child = fork();
    if (child == 0) {
        dup2(channel[1], STDOUT_FILENO);
        close(channel[0]);
        close(channel[1]);
        execv("/proc/self/exe", child_arguments);
        _exit(127);
    }
    close(channel[1]);
    for (ssize_t got; used < sizeof line - 1 && (got = read(channel[0], line + used, sizeof line - 1 - used)) > 0;) {
        used += (size_t)got;
    }
    close(channel[0]);
    if (child < 0 || wait4(child, &status, 0, &usage) != child) fail("no child", what);
    if (status == 0) run = strcmp(what, "fill") == 0 ? (measured){.valid = true} : measured_of(line, &usage);
    if (status != 0) fprintf(stderr, "bench_consume: %s: no result (status %#x)\n", what, (unsigned)status);
    free(name);
    free(child_arguments);
    return run;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

/* Least, middle and greatest of what is at `field` in the valid runs. Returns how many there are. */
static int spread(const table_row *row, int runs, size_t field, double ret_spread[3]) {
    double values[RUNS_MAX] = {0};
    int count = 0;

    for (int i = 0; i < runs; i++) {
        if (row->runs[i].valid) memcpy(&values[count++], (const char *)&row->runs[i] + field, sizeof *values);
    }
    qsort(values, (size_t)count, sizeof *values, compare);
    ret_spread[0] = values[0];
    ret_spread[1] = count % 2 ? values[count / 2] : (values[count > 0 ? count / 2 - 1 : 0] + values[count / 2]) / 2;
    ret_spread[2] = values[count > 0 ? count - 1 : 0];
    return count;
}

#define SPREAD(row, runs, field, ret_spread) spread(row, runs, offsetof(measured, field), ret_spread)

static void print_ratio(double value, double of) {
    if (of > 0) {
        printf("%8.2f", value / of);
    } else {
        printf("%8s", "-");
    }
}

static void print_table(const table_row *rows, size_t count, int runs) {
    double raw_poll = 0, raw_best = 0, floor = 0, raw_poll_cpu = 0, rate[3], cpu[3], rss[3];

    for (size_t i = 0; i < count; i++) {
        SPREAD(&rows[i], runs, rate, rate);
        SPREAD(&rows[i], runs, cpu_seconds_per_million, cpu);
        if (rows[i].mode->run == consume_raw_poll) raw_poll = rate[1], raw_poll_cpu = cpu[1];
        if (rows[i].mode->kind == CONSUME_RAW && rate[1] > raw_best) raw_best = rate[1];
        /* Where two floors were measured, the lower rate is what can't be beaten. */
        if (rows[i].mode->kind == CONSUME_FLOOR && (floor == 0 || rate[1] < floor)) floor = rate[1];
    }
    printf("%-18s %5s %9s %19s %8s %8s %8s %8s %8s %8s\n", "mode", "runs", "k/s", "(min-max)", "/poll", "/raw",
           "/floor", "CPU s/M", "/poll", "RSS MB");
    for (size_t i = 0; i < count; i++) {
        int valid = SPREAD(&rows[i], runs, rate, rate);
        char range[32];

        SPREAD(&rows[i], runs, cpu_seconds_per_million, cpu);
        SPREAD(&rows[i], runs, rss_max_bytes, rss);
        snprintf(range, sizeof range, "(%.1f-%.1f)", rate[0] / 1e3, rate[2] / 1e3);
        printf("%-18s %2d/%-2d %9.1f %19s", rows[i].mode->name, valid, runs, rate[1] / 1e3, range);
        print_ratio(rate[1], raw_poll);
        printf(" ");
        print_ratio(rate[1], raw_best);
        printf(" ");
        print_ratio(rate[1], floor);
        printf(" %8.3f ", cpu[1]);
        print_ratio(cpu[1], raw_poll_cpu);
        printf(" %8.1f  %s\n", rss[2] / 1e6, rows[i].runs[runs - 1].note);
    }
}

/* The modes to run: those named, or those that fit the plan. Returns how many. */
static size_t choose(const char *names, const consume_plan *plan, table_row *ret_rows) {
    size_t count = 0;
    char *list = strdup(names ? names : ""), *rest = list;

    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        const consume_mode *mode = mode_named(name);

        if (!mode) fail("no such mode", name);
        if (count < MODES) ret_rows[count++].mode = mode;
    }
    free(list);
    if (names) return count;
    for (size_t i = 0; i < MODES; i++) {
        consume_kind kind = modes[i].kind;
        bool fits = kind == CONSUME_WEFT || kind == (plan->sleep_us > 0 ? CONSUME_FLOOR : CONSUME_RAW);

        if (modes[i].run == consume_floor_hot && plan->hot_percent == 0) fits = false;
        if (fits) ret_rows[count++].mode = &modes[i];
    }
    return count;
}

static const char *parse(int argc, char **argv, consume_plan *plan, int *runs, const char **names) {
    const char *child = NULL;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'b':
            plan->bootstrap = optarg;
            break;
        case 'n':
            plan->records = number(optarg, 1, 1000000000);
            break;
        case 'p':
            plan->partitions = (int)number(optarg, 1, CONSUME_PARTITIONS_MAX);
            break;
        case 'k':
            plan->keys = number(optarg, 1, 10000000);
            break;
        case 'v':
            plan->value_bytes = number(optarg, 8, 900000);
            break;
        case 'H':
            plan->hot_percent = (unsigned)number(optarg, 0, 100);
            break;
        case 't':
            plan->threads = (unsigned)number(optarg, 1, 100000);
            break;
        case 's':
            plan->sleep_us = number(optarg, 0, 10000000);
            break;
        case 'P':
            plan->pending = (unsigned)number(optarg, 1, 1000000);
            break;
        case 'S':
            if (!strchr(optarg, '=') || plan->setting_count == CONSUME_SETTINGS_MAX) fail("not a NAME=VALUE", optarg);
            plan->settings[plan->setting_count++] = optarg;
            break;
        case 'r':
            *runs = (int)number(optarg, 1, RUNS_MAX);
            break;
        case 'm':
            *names = optarg;
            break;
        case 'C':
            child = optarg;
            break;
        case 'h':
            usage();
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind < argc) fail("what is this", argv[optind]);
    if (!plan->bootstrap) fail("missing", "--bootstrap-servers");
    return child;
}

int main(int argc, char **argv) {
    consume_plan plan = {
        .partitions = 8, .records = 3000000, .keys = 10000, .value_bytes = 100, .threads = 2, .pending = 2000};
    static table_row rows[MODES];
    const char *names = NULL, *child;
    char topic[128];
    int runs = 3;
    size_t count;
    bool fine = true;

    child = parse(argc, argv, &plan, &runs, &names);
    snprintf(topic, sizeof topic, "weft-bench-n%" PRIu64 "-p%d-k%" PRIu64 "-v%zu-h%u", plan.records, plan.partitions,
             plan.keys, plan.value_bytes, plan.hot_percent);
    plan.topic = topic;
    if (child) return run_child(child, &plan);

    count = choose(names, &plan, rows);
    if (!run_in_child(argv, argc, "fill").valid) return 1;
    /* The first to read a topic that rested finds cold caches on the broker's side; nobody's figure should hold that.
     */
    if (!run_in_child(argv, argc, "raw-batch").valid) return 1;
    for (int run = 0; run < runs; run++) {
        for (size_t i = 0; i < count; i++) {
            rows[i].runs[run] = run_in_child(argv, argc, rows[i].mode->name);
            fine &= rows[i].runs[run].valid;
        }
    }
    printf("%" PRIu64 " records of %zu B, %d partitions, %" PRIu64 " keys, %u %% on one; %u threads, %" PRIu64
           " us of sleep\n",
           plan.records, plan.value_bytes, plan.partitions, plan.keys, plan.hot_percent, plan.threads, plan.sleep_us);
    print_table(rows, count, runs);
    return fine ? 0 : 1;
}
