/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench on a real broker: it makes its topics and groups, and leaves none, also when it is interrupted.
 */
#include <criterion/criterion.h>

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

TestSuite(bench, .timeout = 100);

enum { PATIENCE_MS = 20000, ARGUMENTS = 16 };

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

static rd_kafka_t *open_client(void) {
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap(), error, sizeof error);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    MUST(client, "%s", error);
    return client;
}

/* How many topics and groups have a name that begins so. */
static int left_behind(const char *prefix) {
    const struct rd_kafka_metadata *topics;
    const struct rd_kafka_group_list *groups;
    rd_kafka_t *client = open_client();
    int count = 0;
    MUST(!rd_kafka_metadata(client, 1, NULL, &topics, PATIENCE_MS), "no metadata");
    for (int i = 0; i < topics->topic_cnt; i++) count += strncmp(topics->topics[i].topic, prefix, strlen(prefix)) == 0;
    rd_kafka_metadata_destroy(topics);
    MUST(!rd_kafka_list_groups(client, NULL, &groups, PATIENCE_MS), "no list of groups");
    for (int i = 0; i < groups->group_cnt; i++) count += strncmp(groups->groups[i].group, prefix, strlen(prefix)) == 0;
    rd_kafka_group_list_destroy(groups);
    rd_kafka_destroy(client);
    return count;
}

/* A topic that was deleted may be known for a moment. */
static void expect_nothing_left(const char *prefix) {
    int count = left_behind(prefix);
    for (int i = 0; i < 100 && count > 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        count = left_behind(prefix);
    }
    cr_expect_eq(count, 0, "%d topics and groups are left", count);
}

static pid_t start(const char *prefix, const char *const *more) {
    const char *arguments[ARGUMENTS] = {"weft-bench", "--bootstrap-servers", bootstrap(), "--topic-prefix", prefix};
    for (size_t i = 0; more[i]; i++) arguments[5 + i] = more[i];
    pid_t pid = fork();
    MUST(pid >= 0, "no process");
    if (pid > 0) return pid;
    execv(WEFT_BUILD_DIR "/bin/weft-bench", (char **)arguments);
    abort();
}

static int finish(pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0) == pid, "lost");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(bench, all_kinds_of_runs__pass_and_leave_nothing) {
    const char *more[] = {"--num-messages", "5000", "--modes", "raw,baseline,async,process",
                          "--repetitions",  "2",    NULL};
    char *prefix = must_name("bench");
    cr_expect_eq(finish(start(prefix, more)), 0);
    expect_nothing_left(prefix);
    free(prefix);
}

Test(bench, at_a_rate__passes_and_leaves_nothing) {
    const char *more[] = {"--num-messages", "2000", "--rate", "2000", "--modes", "baseline,async", NULL};
    char *prefix = must_name("bench");
    cr_expect_eq(finish(start(prefix, more)), 0);
    expect_nothing_left(prefix);
    free(prefix);
}

Test(bench, interrupted__leaves_nothing) {
    const char *more[] = {"--num-messages", "100000", "--workloads", "sleep", "--worker-sleep-ms", "5",
                          "--modes",        "async",  NULL};
    char *prefix = must_name("bench");
    pid_t pid = start(prefix, more);
    for (int i = 0; i < 1000 && left_behind(prefix) < 2; i++) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    kill(pid, SIGINT);
    cr_expect_eq(finish(pid), 130);
    expect_nothing_left(prefix);
    free(prefix);
}
