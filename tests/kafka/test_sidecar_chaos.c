/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-sidecar as a member of a group on a real broker: SIGKILL of its workers, SIGKILL, SIGTERM and SIGHUP of itself,
 * and others that join, while records come. At the end a judge reads what the workers wrote and what the topic holds.
 *
 * Each kind of thing happens in each round; the seed (WEFT_TEST_SEED) says to whom and when. Rounds begin for
 * WEFT_TEST_CHAOS_SECONDS (10).
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chaos_evidence.h"
#include "must.h"
#include "produce.h"
#include "program.h"
#include "require.h"
#include "seeded.h"
#include "topic.h"

enum {
    PARTITIONS = 6,
    KEYS = 200,
    STEP_RECORDS = 600,
    SIDECARS_MAX = 512,
    WORKERS_MAX = 8192,
    COMMITS_MAX = 20000,
    END_MS_MAX = 40000,
    DONE_MS_MAX = 60000
};

typedef struct sidecar {
    pid_t pid;
    bool over;
    uint64_t killed_ns; /* SIGKILL; 0: none */
} sidecar;

typedef struct killed_worker {
    pid_t pid;
    uint64_t ns;
} killed_worker;

typedef struct scene {
    seeded random;
    const char *bootstrap;
    char folder[64];
    char *topic;
    uint64_t produced;
    sidecar sidecars[SIDECARS_MAX];
    size_t sidecar_count;
    killed_worker killed[WORKERS_MAX];
    size_t killed_count;
    chaos_member members[WORKERS_MAX]; /* workers, as their journals are found at the end */
    size_t member_count;
    chaos_commit commits[COMMITS_MAX];
    size_t commit_count;
    unsigned kills, ends, reloads;
} scene;

static void pause_ms(uint64_t milliseconds) {
    nanosleep(&(struct timespec){.tv_sec = (time_t)(milliseconds / 1000),
                                 .tv_nsec = (long)(milliseconds % 1000 * 1000000)},
              NULL);
}

static bool is_gone(pid_t pid) {
    return kill(pid, 0) != 0 && errno == ESRCH;
}

/* --- workers: known by their journals */

typedef bool (*visit)(scene *it, pid_t parent, pid_t pid, const char *path);

/* False: the visitor wanted no more. */
static bool each_worker(scene *it, visit call) {
    DIR *folder = opendir(it->folder);
    struct dirent *entry;
    bool more = true;
    MUST(folder, "no folder %s", it->folder);
    while (more && (entry = readdir(folder))) {
        int parent, pid;
        char path[400];
        snprintf(path, sizeof path, "%s/%s", it->folder, entry->d_name);
        if (sscanf(entry->d_name, "%d-%d", &parent, &pid) == 2) more = call(it, parent, pid, path);
    }
    closedir(folder);
    return more;
}

static const sidecar *parent_of(const scene *it, pid_t parent) {
    for (size_t i = 0; i < it->sidecar_count; i++)
        if (it->sidecars[i].pid == parent) return &it->sidecars[i];
    return NULL;
}

/* 0: it was not. */
static uint64_t killed_ns_of(const scene *it, pid_t pid) {
    for (size_t i = 0; i < it->killed_count; i++)
        if (it->killed[i].pid == pid) return it->killed[i].ns;
    return 0;
}

/* The time before the signal: what runs again may begin right after it. */
static bool kill_if_it_lives(scene *it, pid_t parent, pid_t pid, const char *path) {
    (void)path;
    const sidecar *of = parent_of(it, parent);
    if (!of || of->over || killed_ns_of(it, pid) || is_gone(pid) || !seeded_percent(&it->random, 40)) return true;
    MUST(it->killed_count < WORKERS_MAX, "too many workers");
    it->killed[it->killed_count++] = (killed_worker){pid, chaos_now_ns()};
    kill(pid, SIGKILL);
    return false;
}

static bool is_of_the_dead(scene *it, pid_t parent, pid_t pid, const char *path) {
    (void)path;
    const sidecar *of = parent_of(it, parent);
    return !of || !of->over || is_gone(pid);
}

/* --- sidecars */

static void log_of(const scene *it, size_t index, char path[128]) {
    snprintf(path, 128, "%s/sidecar.%zu", it->folder, index);
}

static void join(scene *it) {
    char bootstrap[120], topics[200], group[200], path[128];
    snprintf(bootstrap, sizeof bootstrap, "bootstrap.servers=%s", it->bootstrap);
    snprintf(topics, sizeof topics, "topics=%s", it->topic);
    snprintf(group, sizeof group, "group.id=%s", it->topic);
    const char *words[] = {WEFT_BUILD_DIR "/bin/weft-sidecar",
                           "--set",
                           bootstrap,
                           "--set",
                           topics,
                           "--set",
                           group,
                           "--set",
                           "commit.interval.ms=100",
                           "--set",
                           "worker.restart.backoff.ms=1",
                           "--set",
                           "worker.restart.backoff.max.ms=1",
                           "--set",
                           "max.attempts=100",
                           "--set",
                           "retry.backoff.ms=1",
                           "--set",
                           "kafka.session.timeout.ms=3000",
                           "--set",
                           "kafka.heartbeat.interval.ms=300",
                           "--workers",
                           "2",
                           "--",
                           WEFT_BUILD_DIR "/tests/programs/journal_worker",
                           NULL};
    MUST(it->sidecar_count < SIDECARS_MAX, "too many sidecars");
    log_of(it, it->sidecar_count, path);
    it->sidecars[it->sidecar_count++].pid = program_start(words, path);
}

static sidecar *pick(scene *it) {
    sidecar *live[SIDECARS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < it->sidecar_count; i++)
        if (!it->sidecars[i].over) live[count++] = &it->sidecars[i];
    return live[seeded_below(&it->random, count)];
}

/* Returns its status as of wait(2). */
static int await_end(sidecar *of) {
    int status = -1;
    uint64_t from_ms = must_now_ms();
    while (waitpid(of->pid, &status, WNOHANG) == 0) {
        MUST(must_now_ms() - from_ms < END_MS_MAX, "sidecar %d does not end", (int)of->pid);
        pause_ms(5);
    }
    of->over = true;
    return status;
}

static void look_at_commits(scene *it) {
    it->commit_count =
        chaos_commits_add(it->bootstrap, it->topic, PARTITIONS, it->commits, it->commit_count, COMMITS_MAX);
}

/* None of its workers may live on: whoever is killed behind it is init's to bury, when it comes to it. */
static void kill_a_sidecar(scene *it) {
    sidecar *of = pick(it);
    look_at_commits(it);
    kill(of->pid, SIGKILL);
    int status = await_end(of);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
    for (uint64_t from_ms = must_now_ms(); !each_worker(it, is_of_the_dead); pause_ms(2))
        REQUIRE(must_now_ms() - from_ms < END_MS_MAX, "a worker outlives its sidecar");
    of->killed_ns = chaos_now_ns();
    it->kills++;
}

static void end_a_sidecar(scene *it, sidecar *of) {
    char path[128], line[300];
    bool told = false;
    kill(of->pid, SIGTERM);
    int status = await_end(of);
    log_of(it, (size_t)(of - it->sidecars), path);
    /* 5: who was out of the group at that moment could not commit what it had done. */
    bool in_order = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 5);
    REQUIRE(in_order, "told to end: status %d, see %s", status, path);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log))
        told = told || (strncmp(line, "records", 7) == 0 && strstr(line, " done, 0 given up, 0 abandoned"));
    REQUIRE(told, "it did not say what became of the records, see %s", path);
    fclose(log);
    it->ends++;
}

static void reload_a_sidecar(scene *it) {
    kill(pick(it)->pid, SIGHUP);
    it->reloads++;
}

/* --- a run */

static void produce_some(scene *it) {
    keyed_plan plan = {.topic = it->topic,
                       .partitions = PARTITIONS,
                       .records = STEP_RECORDS,
                       .keys = KEYS,
                       .value_bytes = 40,
                       .first = it->produced};
    produce_keyed(it->bootstrap, &plan);
    it->produced += STEP_RECORDS;
}

static void go_on(scene *it) {
    for (size_t i = 0; i < it->sidecar_count; i++)
        REQUIRE(it->sidecars[i].over || waitpid(it->sidecars[i].pid, NULL, WNOHANG) == 0,
                "sidecar %zu ended by itself, see its log in %s", i, it->folder);
    produce_some(it);
    each_worker(it, kill_if_it_lives);
    pause_ms(seeded_below(&it->random, 500));
    each_worker(it, kill_if_it_lives);
}

/* Two are there at the beginning and at the end. */
static void play_round(scene *it) {
    go_on(it);
    reload_a_sidecar(it);
    go_on(it);
    kill_a_sidecar(it);
    go_on(it);
    join(it);
    go_on(it);
    end_a_sidecar(it, pick(it));
    go_on(it);
    join(it);
    go_on(it);
}

static void finish(scene *it) {
    bool done = false;
    for (uint64_t from_ms = must_now_ms(); !done && must_now_ms() - from_ms < DONE_MS_MAX; pause_ms(100))
        done = chaos_all_committed(it->bootstrap, it->topic, PARTITIONS);
    REQUIRE(done, "not everything was committed, see the logs in %s", it->folder);
    for (size_t i = 0; i < it->sidecar_count; i++)
        if (!it->sidecars[i].over) end_a_sidecar(it, &it->sidecars[i]);
    REQUIRE(each_worker(it, is_of_the_dead), "a worker outlives its sidecar");
}

/* --- the evidence */

static chaos_journals journals;

static bool testify(scene *it, pid_t parent, pid_t pid, const char *path) {
    const sidecar *of = parent_of(it, parent);
    MUST(of && it->member_count < WORKERS_MAX, "%s", path);
    it->members[it->member_count] = (chaos_member){
        .is_worker = true, .killed_ns = killed_ns_of(it, pid), .parent_killed_ns = of->killed_ns};
    chaos_journals_add(&journals, path, (uint32_t)it->member_count++);
    return true;
}

static chaos_verdict judge(scene *it) {
    chaos_topic topic;
    MUST(chaos_topic_read(&topic, it->bootstrap, it->topic, PARTITIONS) == it->produced, "the topic is another");
    each_worker(it, testify);
    chaos_case facts = {.partitions = PARTITIONS,
                        .ends = topic.ends,
                        .keys = (const uint32_t *const *)topic.keys,
                        .key_count = KEYS,
                        .members = it->members,
                        .member_count = it->member_count,
                        .events = journals.events,
                        .event_count = journals.count,
                        .commits = it->commits,
                        .commit_count = it->commit_count,
                        .commit_delay_ns = 5000000000,
                        .report_delay_ns = 1000000000};
    chaos_verdict verdict = chaos_judge(&facts);
    chaos_topic_free(&topic);
    free(journals.events);
    return verdict;
}

static bool forget(scene *it, pid_t parent, pid_t pid, const char *path) {
    (void)it, (void)parent, (void)pid;
    unlink(path);
    return true;
}

static void remove_folder(scene *it) {
    char path[128];
    each_worker(it, forget);
    for (size_t i = 0; i < it->sidecar_count; i++) {
        log_of(it, i, path);
        unlink(path);
    }
    rmdir(it->folder);
}

Test(sidecar_chaos, workers_killed__sidecars_killed_ended_reloaded_and_joining__the_judge_finds_nothing) {
    static scene it;
    const char *seconds = getenv("WEFT_TEST_CHAOS_SECONDS"), *base = getenv("TMPDIR");
    uint64_t run_ms = (seconds ? strtoull(seconds, NULL, 10) : 10) * 1000;
    it.random = seeded_start(20261127, 0);
    it.bootstrap = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(it.bootstrap && *it.bootstrap, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    it.topic = must_name("sidecars");
    snprintf(it.folder, sizeof it.folder, "%.40s/weft-sidecars.XXXXXX", base ? base : "/tmp");
    MUST(mkdtemp(it.folder), "no folder");
    setenv("JOURNALS", it.folder, 1);
    setenv("JOURNAL_US", "1500", 1);
    topic_create(it.bootstrap, it.topic, PARTITIONS, NULL);
    join(&it);
    join(&it);
    for (uint64_t from_ms = must_now_ms(); must_now_ms() - from_ms < run_ms;) play_round(&it);
    finish(&it);
    chaos_verdict verdict = judge(&it);
    printf("sidecar chaos: seed %" PRIu64 ": %" PRIu64 " records, %" PRIu64 " executions (%" PRIu64
           " again after a kill); %zu sidecars, %u killed, %u ended in order, %u reloads; %zu workers, %zu killed: "
           "%" PRIu64 " violations %s\n",
           it.random.seed, verdict.records, verdict.executions, verdict.repeated_by_kill, it.sidecar_count, it.kills,
           it.ends, it.reloads, it.member_count, it.killed_count, verdict.violations, verdict.first);
    fflush(stdout);
    cr_assert(eq(u64, verdict.violations, 0), "%s; journals and logs in %s", verdict.first, it.folder);
    REQUIRE(it.killed_count > 0);
    remove_folder(&it);
    free(it.topic);
}
