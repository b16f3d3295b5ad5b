/* SPDX-License-Identifier: Apache-2.0
 *
 * The example application, several processes of one group on a real broker, while everything happens to them that the
 * seed says: SIGKILL, SIGSTOP for longer and for shorter than the session, orderly stops, new members, the broker
 * restarted under load. At the end a judge reads what the handlers wrote and what the topic holds.
 *
 * WEFT_TEST_CHAOS_SECONDS (20) and WEFT_TEST_SEED choose the run; `bash tests/kafka/chaos.sh` makes long ones.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
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
#include "own_broker.h"
#include "produce.h"
#include "seeded.h"
#include "topic.h"

enum {
    PARTITIONS = 6,
    KEYS = 300,
    LIVE_MAX = 4,
    MEMBERS_MAX = 4096,
    COMMITS_MAX = 100000,
    SESSION_MS = 3000,
    STEP_RECORDS = 1500,
    STOP_MS_MAX = 60000,
    DONE_MS_MAX = 60000,
};

static const uint64_t ms = 1000000;
/* After it goes on, a member finds out by its next heartbeat; what its threads had in hand by then is short. */
static const uint64_t finds_out_ns = 6000000000;

typedef struct process {
    pid_t pid; /* 0: over */
    bool stopped;
    uint64_t stopped_ns;
    uint64_t goes_on_ns;
} process;

typedef struct scene {
    seeded random;
    own_broker broker;
    char folder[64];
    char *topic;
    uint64_t produced;
    process processes[MEMBERS_MAX];
    chaos_member members[MEMBERS_MAX];
    size_t member_count;
    chaos_commit commits[COMMITS_MAX];
    size_t commit_count;
    unsigned kills, stops, long_stops, polite, restarts;
} scene;

/* One line of the story, for who has to find out why. */
static void tell(const scene *it, const char *what, size_t member) {
    char path[128];
    snprintf(path, sizeof path, "%s/story", it->folder);
    FILE *file = fopen(path, "a");
    MUST(file, "no story");
    fprintf(file, "%" PRIu64 " %s %zu\n", chaos_now_ns(), what, member);
    fclose(file);
}

static void pause_ms(uint64_t milliseconds) {
    struct timespec wait = {.tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000 * ms)};
    nanosleep(&wait, NULL);
}

/* --- members */

static void file_of(const scene *it, size_t member, const char *kind, char path[128]) {
    snprintf(path, 128, "%s/%zu.%s", it->folder, member, kind);
}

static void excuse(chaos_member *member, uint64_t from_ns, uint64_t until_ns) {
    MUST(member->away_count < CHAOS_SPANS_MAX, "too many absences of one member");
    member->away[member->away_count++] = (chaos_span){from_ns, until_ns};
}

static size_t live_count(const scene *it) {
    size_t count = 0;
    for (size_t i = 0; i < it->member_count; i++) count += it->processes[i].pid > 0;
    return count;
}

static _Noreturn void become_member(const scene *it, const char *journal, const char *log) {
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    setenv("WEFT_LOG_LEVEL", "info", 1);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(WEFT_BUILD_DIR "/bin/orders", "orders", "--bootstrap-servers", it->broker.bootstrap, "--topic", it->topic,
          "--group", it->topic, "--threads", "4", "--work-us", "1500", "--journal", journal, "--set",
          "commit.interval.ms=100", "--set", "kafka.session.timeout.ms=3000", "--set",
          "kafka.heartbeat.interval.ms=300", (char *)NULL);
    abort();
}

static void join(scene *it) {
    char journal[128], log[128];
    size_t member = it->member_count++;
    MUST(member < MEMBERS_MAX, "too many members");
    file_of(it, member, "journal", journal);
    file_of(it, member, "log", log);
    pid_t pid = fork();
    if (pid == 0) become_member(it, journal, log);
    MUST(pid > 0, "fork");
    it->processes[member].pid = pid;
    tell(it, "join", member);
}

/* Of those that run; SIZE_MAX: none. */
static size_t pick(scene *it) {
    size_t live[MEMBERS_MAX], count = 0;
    for (size_t i = 0; i < it->member_count; i++)
        if (it->processes[i].pid > 0 && !it->processes[i].stopped) live[count++] = i;
    return count ? live[seeded_below(&it->random, count)] : SIZE_MAX;
}

static void look_at_commits(scene *it) {
    it->commit_count =
        chaos_commits_add(it->broker.bootstrap, it->topic, PARTITIONS, it->commits, it->commit_count, COMMITS_MAX);
}

static void kill_one(scene *it) {
    size_t member = pick(it);
    if (member == SIZE_MAX) return;
    look_at_commits(it);
    it->members[member].killed_ns = chaos_now_ns();
    kill(it->processes[member].pid, SIGKILL);
    waitpid(it->processes[member].pid, NULL, 0);
    it->processes[member].pid = 0;
    it->members[member].killed_ns = chaos_now_ns(); /* it is certainly dead now */
    tell(it, "killed", member);
    it->kills++;
}

static void await_exit(scene *it, size_t member) {
    int status = -1;
    for (uint64_t waited = 0; waited < STOP_MS_MAX; waited += 10) {
        if (waitpid(it->processes[member].pid, &status, WNOHANG) > 0) break;
        pause_ms(10);
        status = -1;
    }
    /* 5: who was out of the group at that moment could not commit what it had done. */
    bool in_order = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 5);
    MUST(in_order, "member %zu was told to stop: status %d, see its log in %s",
         member, status, it->folder);
    it->processes[member].pid = 0;
}

static void stop_politely(scene *it) {
    size_t member = pick(it);
    if (member == SIZE_MAX) return;
    tell(it, "stop", member);
    kill(it->processes[member].pid, SIGTERM);
    await_exit(it, member);
    tell(it, "stopped", member);
    it->polite++;
}

/* Shorter than the session, it must cost nothing. */
static void freeze(scene *it, bool longer) {
    size_t member = pick(it);
    if (member == SIZE_MAX) return;
    uint64_t from_ns = chaos_now_ns();
    uint64_t span_ns = (uint64_t)(longer ? seeded_between(&it->random, SESSION_MS + 1000, SESSION_MS + 3000)
                                         : seeded_between(&it->random, 100, SESSION_MS / 4)) *
                       ms;
    kill(it->processes[member].pid, SIGSTOP);
    it->processes[member].stopped = true;
    it->processes[member].stopped_ns = from_ns;
    it->processes[member].goes_on_ns = from_ns + span_ns;
    tell(it, longer ? "frozen beyond the session" : "frozen", member);
    it->stops++;
    it->long_stops += longer;
}

static void thaw_due(scene *it, uint64_t due_ns) {
    for (size_t i = 0; i < it->member_count; i++) {
        process *each = &it->processes[i];
        if (!each->stopped || each->goes_on_ns > due_ns) continue;
        kill(each->pid, SIGCONT);
        each->stopped = false;
        /* What counts is how long it really was. */
        if (chaos_now_ns() - each->stopped_ns > SESSION_MS / 2 * ms)
            excuse(&it->members[i], each->stopped_ns, chaos_now_ns() + finds_out_ns);
        tell(it, "goes on", i);
    }
}

/* Members may be expelled while it is away, and their commits fail. */
static void restart_broker(scene *it) {
    uint64_t from_ns = chaos_now_ns();
    thaw_due(it, UINT64_MAX);
    tell(it, "broker restarts", 0);
    own_broker_restart *restart = own_broker_begin_restart(&it->broker);
    own_broker_await_restart(&restart);
    tell(it, "broker is back", 0);
    for (size_t i = 0; i < it->member_count; i++)
        if (it->processes[i].pid > 0) excuse(&it->members[i], from_ns, chaos_now_ns() + 2 * finds_out_ns);
    it->restarts++;
}

static void expect_alive(const scene *it) {
    for (size_t i = 0; i < it->member_count; i++)
        if (it->processes[i].pid > 0)
            cr_assert(eq(int, waitpid(it->processes[i].pid, NULL, WNOHANG), 0),
                      "member %zu ended by itself, see its log in %s", i, it->folder);
}

/* --- a run */

static void produce_some(scene *it) {
    keyed_plan plan = {.topic = it->topic,
                       .partitions = PARTITIONS,
                       .records = STEP_RECORDS,
                       .keys = KEYS,
                       .value_bytes = 40,
                       .first = it->produced};
    produce_keyed(it->broker.bootstrap, &plan);
    it->produced += STEP_RECORDS;
}

static void act(scene *it) {
    uint64_t what = seeded_below(&it->random, 100);
    if (live_count(it) < 2 || (what < 30 && live_count(it) < LIVE_MAX))
        join(it);
    else if (what < 50)
        kill_one(it);
    else if (what < 70)
        stop_politely(it);
    else if (what < 82)
        freeze(it, true);
    else if (what < 92)
        freeze(it, false);
    else if (it->restarts < 1 + it->produced / 100000)
        restart_broker(it);
}

static void finish(scene *it) {
    thaw_due(it, UINT64_MAX);
    while (live_count(it) < 2) join(it);
    bool done = false;
    for (uint64_t from = must_now_ms(); !done && must_now_ms() - from < DONE_MS_MAX; pause_ms(100))
        done = chaos_all_committed(it->broker.bootstrap, it->topic, PARTITIONS);
    cr_assert(done, "not everything was committed, see the logs in %s", it->folder);
    for (size_t i = 0; i < it->member_count; i++) {
        if (it->processes[i].pid == 0) continue;
        kill(it->processes[i].pid, SIGTERM);
        await_exit(it, i);
    }
}

/* --- the evidence */

static chaos_verdict judge(scene *it) {
    chaos_topic topic;
    chaos_journals journals = {0};
    char path[128];
    MUST(chaos_topic_read(&topic, it->broker.bootstrap, it->topic, PARTITIONS) == it->produced,
         "the topic has not what was produced");
    for (size_t i = 0; i < it->member_count; i++) {
        file_of(it, i, "journal", path);
        chaos_journals_add(&journals, path, (uint32_t)i);
    }
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
                        .commit_delay_ns = 5000 * ms};
    chaos_verdict verdict = chaos_judge(&facts);
    chaos_topic_free(&topic);
    free(journals.events);
    return verdict;
}

static void report(const scene *it, const chaos_verdict *verdict) {
    printf("chaos: seed %" PRIu64 ": %" PRIu64 " records, %" PRIu64 " executions (%" PRIu64
           " again after a kill, %" PRIu64 " after an absence), %" PRIu64
           " overlaps after an absence; %zu members, %u killed, %u stopped in order, %u frozen "
           "(%u beyond the session), %u restarts of the broker: %" PRIu64 " violations%s%s\n",
           it->random.seed, verdict->records, verdict->executions, verdict->repeated_by_kill,
           verdict->repeated_by_absence, verdict->overlaps_by_absence, it->member_count, it->kills, it->polite,
           it->stops, it->long_stops, it->restarts, verdict->violations, verdict->violations ? ": " : "",
           verdict->first);
    fflush(stdout);
}

static void remove_folder(const scene *it) {
    char path[128];
    for (size_t i = 0; i < it->member_count; i++) {
        file_of(it, i, "journal", path);
        unlink(path);
        file_of(it, i, "log", path);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/story", it->folder);
    unlink(path);
    rmdir(it->folder);
}

Test(chaos, members_killed_frozen_stopped_and_the_broker_restarted__the_judge_finds_nothing) {
    static scene it;
    const char *seconds = getenv("WEFT_TEST_CHAOS_SECONDS");
    uint64_t run_ms = (seconds ? strtoull(seconds, NULL, 10) : 20) * 1000;
    it.random = seeded_start(20261124, 0);
    it.topic = must_name("chaos");
    snprintf(it.folder, sizeof it.folder, "%s/weft-chaos.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    MUST(mkdtemp(it.folder), "no folder");
    own_broker_start(&it.broker, NULL);
    topic_create(it.broker.bootstrap, it.topic, PARTITIONS, NULL);
    join(&it);
    join(&it);
    for (uint64_t from = must_now_ms(); must_now_ms() - from < run_ms;) {
        produce_some(&it);
        expect_alive(&it);
        act(&it);
        thaw_due(&it, chaos_now_ns());
        pause_ms(seeded_below(&it.random, 1200));
    }
    finish(&it);
    chaos_verdict verdict = judge(&it);
    report(&it, &verdict);
    cr_assert(eq(u64, verdict.violations, 0), "%s; journals and logs in %s", verdict.first, it.folder);
    own_broker_stop(&it.broker);
    remove_folder(&it);
    free(it.topic);
}
