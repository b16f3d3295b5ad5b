/* SPDX-License-Identifier: Apache-2.0
 *
 * Run a command beside a Kafka that lives in this process, for trying things out: its address, and what it needs to be
 * quick, are in the environment, where every program of weft finds them.
 *
 *     with_broker [--topic NAME] [--records N] [--keys N] [--partitions N] -- COMMAND [ARGUMENT...]
 *
 * The topic (orders) is filled with N (200000) records of N (10000) keys first. The exit status is the command's, also
 * when a signal asks for the end: the broker stays until the command has ended. SIGTERM is passed on to it; what is
 * typed at a terminal reaches it without us.
 */
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "embedded.h"

typedef struct task {
    const char *topic;
    long records;
    long keys;
    long partitions;
} task;

static int complain(const char *text) {
    fprintf(stderr,
            "with_broker: %s\n"
            "usage: with_broker [--topic NAME] [--records N] [--keys N] [--partitions N] -- COMMAND [ARGUMENT...]\n",
            text);
    return 2;
}

static long count_of(const char *text, long most) {
    char *end;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= 1 && value <= most ? value : 0;
}

static const char *parse(int argc, char **argv, task *job) {
    static const struct option options[] = {{"topic", required_argument, NULL, 't'},
                                            {"records", required_argument, NULL, 'n'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"partitions", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (option == 't') job->topic = optarg;
        if (option == 'n') job->records = count_of(optarg, 1000000);
        if (option == 'k') job->keys = count_of(optarg, 1000000);
        if (option == 'p') job->partitions = count_of(optarg, 1000);
        if (option == '?') return "unknown option, or one without its value";
    }
    if (!job->records) return "--records: a whole number from 1 to 1000000";
    if (!job->keys) return "--keys: a whole number from 1 to 1000000";
    if (!job->partitions) return "--partitions: a whole number from 1 to 1000";
    return optind < argc ? NULL : "no command";
}

static pid_t child;

static void pass_on(int number) {
    kill(child, number);
}

static int run(char **command, const char *address, const char *topic) {
    setenv("WEFT_BOOTSTRAP_SERVERS", address, 1);
    setenv("WEFT_TOPICS", topic, 0);
    setenv("WEFT_KAFKA_FETCH_WAIT_MAX_MS", "10", 0); /* it answers an empty fetch only when its time is over */
    setenv("WEFT_KAFKA_SESSION_TIMEOUT_MS", "6000", 0);
    setenv("WEFT_KAFKA_HEARTBEAT_INTERVAL_MS", "200", 0);
    sigset_t ends, before; /* they wait until we know whom they are for */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGQUIT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, &before);
    child = fork();
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    if (child > 0) {
        signal(SIGINT, SIG_IGN);
        signal(SIGQUIT, SIG_IGN);
        signal(SIGTERM, pass_on);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("with_broker");
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    task job = {.topic = "orders", .records = 200000, .keys = 10000, .partitions = 8};
    const char *problem = parse(argc, argv, &job);
    if (problem) return complain(problem);
    embedded_broker *broker = embedded_broker_start(job.topic, (int)job.partitions);
    int status = 1;
    if (broker && fill_topic(embedded_broker_address(broker), job.topic, (uint64_t)job.records, (uint64_t)job.keys))
        status = run(argv + optind, embedded_broker_address(broker), job.topic);
    embedded_broker_stop(broker);
    return status;
}
