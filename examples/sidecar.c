/* SPDX-License-Identifier: Apache-2.0
 *
 * weft for people who write no C: consumes topics, and runs COMMAND as worker processes, which get the records.
 *
 * SIGHUP reads the configuration again and replaces the workers one by one. Under systemd with Type=notify it says when
 * it runs, reloads and stops, and feeds the watchdog (support/service.h).
 *
 *     weft-sidecar [--config FILE] [--set option=value]... [--workers N] [--until-end] [--dump] -- COMMAND
 *         [ARGUMENT...]
 *
 * With --dump it starts nothing: it prints every option with its value and where that comes from, and what is wrong.
 *
 * SIGTERM and SIGINT drain: what runs is finished and committed; a second one ends everything now. With --until-end it
 * stops when everything that is in the topics is done. Exit status:
 *     0  stopped, all that was begun is done and committed
 *     1  the consumer failed, for example because a record failed max.attempts times
 *     2  command line or configuration
 *     3  records were still running when drain.timeout.ms was over
 *     4  a second signal
 *     5  finished records could not be committed, since the membership was over or no broker answered: they run again
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/consumer.h>

#include "service.h"
#include "settings.h"

enum { FAILED = 1, MISUSED = 2, ABANDONED = 3, INTERRUPTED = 4, UNCOMMITTED = 5, LOOK_MS = 200 };

typedef struct task {
    bool until_end;
    bool print_help;
    bool dump;
    int argc; /* the command line, to be read again */
    char **argv;
} task;

static weft_consumer *consumer;
static volatile sig_atomic_t signals, hangups;

static void on_signal(int number) {
    static const char now[] = "weft-sidecar: ended by a second signal; what was not committed runs again\n";
    (void)number;
    weft_consumer_request_stop(consumer);
    if (++signals < 2) return;
    if (write(STDERR_FILENO, now, sizeof now - 1) < 0) {
    }
    _exit(INTERRUPTED); /* workers die with us */
}

static void on_hangup(int number) {
    (void)number;
    hangups++;
}

static void report(size_t abandoned) {
    const weft_metrics *metrics = weft_consumer_final_metrics(consumer);
    if (!metrics) {
        printf("%-22s not known, %zu abandoned\n", "records", abandoned);
        return;
    }
    const weft_system_metrics *seen = &metrics->system;
    double seconds = (double)(seen->finished_ns - seen->begun_ns) / 1e9;
    printf("%-22s %" PRIu64 " done, %" PRIu64 " given up, %zu abandoned\n", "records", seen->succeeded, seen->failed,
           abandoned);
    if (seen->finished_ns == 0) return;
    printf("%-22s %.0f records/s (%.3f s)\n", "rate", (double)(seen->succeeded + seen->failed) / seconds, seconds);
}

/* --- command line */

static int usage(const char *problem) {
    if (problem) fprintf(stderr, "weft-sidecar: %s\n", problem);
    fprintf(
        problem ? stderr : stdout,
        "usage: weft-sidecar [--config FILE] [--set option=value]... [--workers N] [--until-end] [--dump] -- COMMAND "
        "[ARGUMENT...]\n");
    if (!problem)
        printf("exit status: 0 stopped, all that was begun is done and committed; 1 the consumer failed;\n"
               "2 command line or configuration; 3 records were still running when drain.timeout.ms was over;\n"
               "4 a second signal; 5 finished records could not be committed, and run again\n");
    if (!problem) settings_print_help();
    return problem ? MISUSED : 0;
}

/* COMMAND and its arguments as they are, each in quotes for the shell. `exec` takes a program where the shell has a
 * command of that name (eval, cd); it may take a name with a dash for an option, and the shell has none of those. */
static char *command_line(char *const *words, int count) {
    const char *before = *words[0] == '-' ? "" : "exec ";
    size_t bytes = strlen(before) + 1;
    for (int i = 0; i < count; i++) bytes += 4 * strlen(words[i]) + 3;
    char *line = malloc(bytes), *at = line;
    if (line) at = stpcpy(line, before);
    for (int i = 0; i < count && line; i++) {
        *at++ = '\'';
        for (const char *c = words[i]; *c; c++) {
            if (*c == '\'') {
                memcpy(at, "'\\''", 4);
                at += 4;
            } else {
                *at++ = *c;
            }
        }
        *at++ = '\'';
        *at++ = ' ';
    }
    if (line) *at = '\0';
    return line;
}

static const char *parse(int argc, char **argv, task *job, weft_config *config) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"set", required_argument, NULL, 's'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {"until-end", no_argument, NULL, 'e'},
                                            {"dump", no_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    weft_config_set(config, "engine", "process");
    optind = 0; /* from the beginning, when it is read again */
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (option == 's' && !settings_set(config, optarg)) return "--set: option=value";
        if (option == '?') return "unknown option, or one without its value";
        if (option == 'c') weft_config_load_file(config, optarg); /* what is wrong is told with the other problems */
        if (option == 'w') weft_config_set(config, "workers", optarg);
        if (option == 'e') job->until_end = true;
        if (option == 'd') job->dump = true;
        if (option == 'h') job->print_help = true;
    }
    if (optind == argc) return NULL; /* worker.command may stand in the configuration */
    char *line = command_line(argv + optind, argc - optind);
    if (!line) return "out of memory";
    weft_config_set(config, "worker.command", line);
    free(line);
    return NULL;
}

/* --- the run */

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

static void restart_workers(int argc, char **argv) {
    weft_config *config;
    task again = {0};
    if (weft_config_new(&config) != WEFT_OK) return;
    weft_config_load_environment(config);
    const char *problem = parse(argc, argv, &again, config);
    weft_status status = problem ? WEFT_ECONFIG : weft_consumer_restart_workers(consumer, config);
    char *problems = weft_config_problems(config);
    if (!problem && status == WEFT_EINVAL) problem = "weft starts none, and attached ones are not its own";
    if (status != WEFT_OK)
        fprintf(stderr, "weft-sidecar: workers are not replaced: %s\n%s", problem ? problem : weft_status_text(status),
                problems ? problems : "");
    free(problems);
    weft_config_free(&config);
}

/* Until a signal, a failure, or the end. */
static weft_status run(const task *job) {
    weft_status reason;
    int seen = 0;
    while ((reason = weft_consumer_wait(consumer, LOOK_MS)) == WEFT_ETIMEOUT) {
        if (seen != hangups) {
            seen = hangups;
            service_reloading();
            restart_workers(job->argc, job->argv);
            service_ready();
        }
        service_alive(consumer);
        if (job->until_end && nothing_left()) return WEFT_OK;
    }
    return reason;
}

static int process(const task *job, weft_config *config) {
    if (!settings_are_sound(config)) return MISUSED;
    weft_status status = weft_consumer_new(config, NULL, NULL, &consumer);
    if (status != WEFT_OK) {
        const char *reason = status == WEFT_EINVAL ? "engine must be process" : weft_status_text(status);
        fprintf(stderr, "weft-sidecar: %s\n", reason);
        return status == WEFT_EINVAL ? MISUSED : FAILED;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_hangup);
    signal(SIGPIPE, SIG_IGN); /* the exit status has to be true where nobody reads the report */
    weft_status reason = weft_consumer_start(consumer);
    bool started = reason == WEFT_OK;
    int64_t drain_ms = atoll(weft_config_get(config, "drain.timeout.ms"));
    if (started) {
        service_ready();
        reason = run(job);
        service_stopping(drain_ms);
    }
    weft_status stopped = started ? weft_consumer_stop(consumer, drain_ms) : reason;
    const weft_abandoned *list;
    size_t abandoned = weft_consumer_abandoned(consumer, &list);
    if (reason != WEFT_OK || stopped == WEFT_EUNCOMMITTED)
        fprintf(stderr, "weft-sidecar: %s\n", weft_consumer_error(consumer));
    if (started) report(abandoned);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    weft_consumer_free(&consumer);
    if (reason == WEFT_ECONFIG) return MISUSED; /* worker.directory can't be used, a key in a pipe is none */
    if (reason != WEFT_OK) return FAILED;
    if (stopped == WEFT_EUNCOMMITTED) return UNCOMMITTED;
    return abandoned ? ABANDONED : stopped == WEFT_OK ? 0 : FAILED;
}

/* Secrets are not in it. */
static int dump(const weft_config *config) {
    char *options = weft_config_dump(config);
    printf("%s", options ? options : "");
    free(options);
    return settings_are_sound(config) ? 0 : MISUSED;
}

int main(int argc, char **argv) {
    task job = {.argc = argc, .argv = argv};
    weft_config *config;
    service_open();
    if (weft_config_new(&config) != WEFT_OK) return FAILED;
    weft_config_load_environment(config);
    const char *problem = parse(argc, argv, &job, config);
    int status = problem || job.print_help ? usage(problem) : job.dump ? dump(config) : process(&job, config);
    weft_config_free(&config);
    return status;
}
