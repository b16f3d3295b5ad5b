/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-sidecar as its users run it: command line, signals, exit statuses, and what becomes of workers when it dies.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"
#include "require.h"
#include "stage.h"
#include "topic.h"

TestSuite(sidecar, .timeout = 60);

enum { PATIENCE_MS = STAGE_PATIENCE_MS, ARGUMENTS_MAX = 40 };

typedef struct sidecar {
    stage stage;
    pid_t pid;
    FILE *output; /* standard output and error */
    bool unheard; /* nobody reads its standard output */
    char text[8192];
} sidecar;

/* A pipe that has a writer only. */
static void close_other_end(int writer) {
    int ends[2];
    MUST(pipe(ends) == 0 && dup2(ends[1], writer) == writer, "no pipe");
    close(ends[0]);
    close(ends[1]);
    signal(SIGPIPE, SIG_DFL);
}

/* Arguments of the program, a NULL behind them; the worker of the stage is its command unless `command` is given. */
static void run(sidecar *self, const char *command, ...) {
    char bootstrap[200], topics[100];
    snprintf(bootstrap, sizeof bootstrap, "bootstrap.servers=%s", self->stage.bootstrap);
    snprintf(topics, sizeof topics, "topics=%s", self->stage.topic);
    const char *arguments[ARGUMENTS_MAX] = {WEFT_BUILD_DIR "/bin/weft-sidecar",
                                            "--set",
                                            bootstrap,
                                            "--set",
                                            topics,
                                            "--set",
                                            "group.id=sidecar",
                                            "--set",
                                            "kafka.session.timeout.ms=6000",
                                            "--set",
                                            "kafka.heartbeat.interval.ms=200",
                                            "--set",
                                            "kafka.fetch.wait.max.ms=10",
                                            "--set",
                                            "commit.interval.ms=20"};
    size_t count = 15;
    va_list more;
    va_start(more, command);
    for (const char *argument; (argument = va_arg(more, const char *));) arguments[count++] = argument;
    va_end(more);
    const char *behind[] = {"--", "/bin/sh", "-c", command ? command : self->stage.command};
    for (size_t i = 0; i < 4; i++) arguments[count++] = behind[i];
    MUST(count < ARGUMENTS_MAX, "too many arguments");
    self->output = tmpfile();
    self->pid = fork();
    MUST(self->pid >= 0, "no process");
    if (self->pid) return;
    dup2(fileno(self->output), STDOUT_FILENO);
    dup2(fileno(self->output), STDERR_FILENO);
    if (self->unheard) close_other_end(STDOUT_FILENO);
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    abort();
}

/* Its exit status; 128 and the signal's number when one ended it. */
static int wait_for(sidecar *self) {
    int status;
    REQUIRE(waitpid(self->pid, &status, 0) == self->pid);
    rewind(self->output);
    size_t bytes = fread(self->text, 1, sizeof self->text - 1, self->output);
    self->text[bytes] = '\0';
    fclose(self->output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool is_gone(int32_t pid) {
    return kill(pid, 0) != 0 && errno == ESRCH;
}

/* Every process that has ever written into the trail. */
static bool all_gone(const stage *scene) {
    for (size_t i = 0; i < trail_count(scene->file); i++)
        if (!is_gone(trail_get(scene->file, i).pid)) return false;
    return true;
}

/* Whoever was killed behind a shell is init's to bury, when it comes to it. */
static bool await_all_gone(const stage *scene) {
    for (int i = 0; i < 400 && !all_gone(scene); i++) pause_ms(5);
    return all_gone(scene);
}

static bool await_begun(const stage *scene, size_t entries) {
    for (int i = 0; i < PATIENCE_MS / 5 && trail_count(scene->file) < entries; i++) pause_ms(5);
    return trail_count(scene->file) >= entries;
}

Test(sidecar, dump__values_with_their_origin__nothing_starts) {
    sidecar self = {0};
    char file[64];
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    snprintf(file, sizeof file, "/tmp/weft-dump.%d", (int)getpid());
    FILE *config = fopen(file, "w");
    REQUIRE(config && fputs("\xef\xbb\xbf# of a test\r\nthreads = 7\r\nkafka.sasl.passwrod = hunter2\r\n", config) > 0);
    fclose(config);
    setenv("WEFT_TICK_MS", "123", 1);
    run(&self, NULL, "--config", file, "--set", "kafka.ssl.key.password=hunter3", "--dump", NULL);
    REQUIRE_EQ(wait_for(&self), 2);
    static const char *const lines[] = {"\nthreads = \"7\" (/tmp/weft-dump.",
                                        "\ntick.ms = \"123\" (environment WEFT_TICK_MS)\n",
                                        "\ngroup.id = \"sidecar\" (code)\n",
                                        "\nlog.level = \"info\" (default)\n",
                                        "\nkafka.sasl.passwrod = **** (/tmp/weft-dump.",
                                        ":3: kafka.sasl.passwrod = ****: No such configuration property",
                                        "\nkafka.ssl.key.password = **** (code)\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        REQUIRE(strstr(self.text, lines[i]) != NULL, "no %s in %s", lines[i], self.text);
    REQUIRE(strstr(self.text, "hunter") == NULL);
    REQUIRE_EQ(trail_count(self.stage.file), 0); /* no worker has ever run */
    unsetenv("WEFT_TICK_MS");
    remove(file);
    stage_close(&self.stage);
}

Test(sidecar, mistakes__of_three_kinds__three_lines_at_once__nothing_starts) {
    static const char *const lines[] = {"code: no option \"thread\"; did you mean threads?\n",
                                        "code: max.attempts = \"0\": must be a whole number from 1 to 1000\n",
                                        "code: kafka.fetch.min.bites = \"1\": No such configuration property"};
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    for (int dump = 0; dump < 2; dump++) {
        run(&self, NULL, "--set", "thread=7", "--set", "max.attempts=0", "--set", "kafka.fetch.min.bites=1",
            dump ? "--dump" : NULL, NULL);
        REQUIRE_EQ(wait_for(&self), 2);
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
            REQUIRE(strstr(self.text, lines[i]) != NULL, "no %s in %s", lines[i], self.text);
    }
    REQUIRE_EQ(trail_count(self.stage.file), 0); /* no worker has ever run */
    stage_close(&self.stage);
}

Test(sidecar, until_end__all_done__status_0_and_a_report) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_fill(&self.stage, 3000, 30);
    run(&self, NULL, "--workers", "2", "--until-end", NULL);
    REQUIRE_EQ(wait_for(&self), 0);
    REQUIRE(strstr(self.text, "3000 done, 0 given up, 0 abandoned"), "%s", self.text);
    trail_verdict verdict = trail_judge(self.stage.file, true);
    REQUIRE(verdict.begun == 3000 && verdict.out_of_order == 0);
    REQUIRE(await_all_gone(&self.stage));
    stage_close(&self.stage);
}

Test(sidecar, report__that_nobody_reads__the_status_is_0_all_the_same) {
    sidecar self = {.unheard = true};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_fill(&self.stage, 100, 10);
    run(&self, NULL, "--workers", "1", "--until-end", NULL);
    REQUIRE_EQ(wait_for(&self), 0);
    stage_close(&self.stage);
}

Test(sidecar, sigterm__in_the_middle__drains_commits_and_ends_with_0) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 2000);
    stage_fill(&self.stage, 5000, 50);
    run(&self, NULL, "--workers", "2", NULL);
    REQUIRE(await_begun(&self.stage, 100));
    kill(self.pid, SIGTERM);
    REQUIRE(wait_for(&self) == 0, "%s", self.text);
    trail_verdict verdict = trail_judge(self.stage.file, true);
    REQUIRE(verdict.cut == 0 && verdict.begun == verdict.done && verdict.done < 5000);
    char done[64];
    snprintf(done, sizeof done, " %llu done", (unsigned long long)verdict.done);
    REQUIRE(strstr(self.text, done), "%s: %s", done, self.text);
    stage_close(&self.stage);
}

Test(sidecar, poison__policy_stop__status_1_with_the_reason) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_put(&self.stage, "k1", "segv 9");
    run(&self, NULL, "--workers", "1", "--set", "max.attempts=2", "--set", "retry.backoff.ms=1", NULL);
    REQUIRE_EQ(wait_for(&self), 1);
    REQUIRE(strstr(self.text, "signal 11: about to fall"), "%s", self.text);
    stage_close(&self.stage);
}

Test(sidecar, configuration__wrong__status_2_and_all_problems) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    run(&self, NULL, "--set", "worker.nice=99", "--set", "wroker.nice=1", NULL);
    REQUIRE_EQ(wait_for(&self), 2);
    REQUIRE(strstr(self.text, "worker.nice") && strstr(self.text, "wroker.nice"), "%s", self.text);
    stage_close(&self.stage);
}

Test(sidecar, sigterm__a_worker_hangs__killed_status_3_and_it_is_named) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_put(&self.stage, "k1", "hang 9");
    run(&self, NULL, "--workers", "2", "--set", "drain.timeout.ms=200", NULL);
    REQUIRE(await_begun(&self.stage, 1));
    kill(self.pid, SIGTERM);
    REQUIRE(wait_for(&self) == 3, "%s", self.text);
    REQUIRE(strstr(self.text, "0 done, 0 given up, 1 abandoned"), "%s", self.text);
    REQUIRE(await_all_gone(&self.stage));
    stage_close(&self.stage);
}

Test(sidecar, sigterm__last_commit_refused__status_5_and_it_is_named) {
    static const int illegal_generation[] = {22, 22, 22, 22};
    sidecar self;
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    if (!self.stage.mock) return; /* a real broker refuses nothing on demand */
    stage_put(&self.stage, "k1", "ok");
    run(&self, NULL, "--workers", "1", "--set", "commit.interval.ms=600000", NULL);
    REQUIRE(await_begun(&self.stage, 1));
    mock_fail(self.stage.mock, MOCK_OFFSET_COMMIT, illegal_generation, 4);
    kill(self.pid, SIGTERM);
    REQUIRE(wait_for(&self) == 5, "%s", self.text);
    REQUIRE(strstr(self.text, "1 done, 0 given up, 0 abandoned"), "%s", self.text);
    REQUIRE(strstr(self.text, "commit refused, not tried again topic="), "%s", self.text);
    REQUIRE(strstr(self.text, "weft-sidecar: finished records of 1 partitions could not"), "%s", self.text);
    stage_close(&self.stage);
}

Test(sidecar, second_signal__ends_at_once_with_4) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_put(&self.stage, "k1", "hang 9");
    run(&self, NULL, "--workers", "1", NULL);
    REQUIRE(await_begun(&self.stage, 1));
    kill(self.pid, SIGTERM);
    pause_ms(300);
    kill(self.pid, SIGTERM);
    REQUIRE(wait_for(&self) == 4, "%s", self.text);
    stage_close(&self.stage);
}

/* The trail says who they are; the operating system says that they are gone. */
Test(sidecar, killed__with_a_worker_that_hangs_and_one_that_is_stopped__all_are_gone) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_put(&self.stage, "k1", "hang 9");
    stage_put(&self.stage, "k2", "stop 9");
    run(&self, NULL, "--workers", "2", NULL);
    REQUIRE(await_begun(&self.stage, 2));
    kill(self.pid, SIGKILL);
    REQUIRE_EQ(wait_for(&self), 128 + SIGKILL);
    REQUIRE(await_all_gone(&self.stage));
    stage_close(&self.stage);
}

/* The guard that a process has, 0: none. */
static pid_t guard_of(pid_t parent) {
    pid_t found = 0;
    DIR *processes = opendir("/proc");
    MUST(processes, "no /proc");
    for (const struct dirent *entry; (entry = readdir(processes));) {
        char path[300], name[16] = "", text[512] = "";
        int its_parent = 0;
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file) (void)!fread(name, 1, sizeof "weft-guard", file);
        if (file) fclose(file);
        if (strcmp(name, "weft-guard") != 0) continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        if ((file = fopen(path, "r"))) (void)!fread(text, 1, sizeof text - 1, file);
        if (file) fclose(file);
        const char *behind_name = strrchr(text, ')');
        if (behind_name && sscanf(behind_name, ") %*c %d", &its_parent) == 1 && its_parent == parent)
            found = (pid_t)atoi(entry->d_name);
    }
    closedir(processes);
    return found;
}

/* What a worker has started outlives nobody, though the guard that was told of it is dead. */
Test(sidecar, guard__killed__is_buried_and_another_one_knows_what_lives) {
    sidecar self;
    char command[800];
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    stage_put(&self.stage, "k1", "hang 9");
    snprintf(command, sizeof command, "sleep 1000 & exec env %s", self.stage.command);
    run(&self, command, "--workers", "1", NULL);
    REQUIRE(await_begun(&self.stage, 1));
    pid_t group = trail_get(self.stage.file, 0).pid, before, after = 0;
    for (int turn = 0; turn < 2; turn++) {
        REQUIRE((before = guard_of(self.pid)));
        kill(before, SIGKILL);
        for (int i = 0; i < 1000 && !(is_gone(before) && (after = guard_of(self.pid))); i++) pause_ms(5);
        REQUIRE(is_gone(before) && after && after != before, "guards %d, %d", (int)before, (int)after);
    }
    pause_ms(100); /* to be told */
    kill(self.pid, SIGKILL);
    REQUIRE_EQ(wait_for(&self), 128 + SIGKILL);
    for (int i = 0; i < 400 && !is_gone(-group); i++) pause_ms(5);
    REQUIRE(is_gone(-group));
    REQUIRE(strstr(self.text, "the guard of what workers start has ended"), "%s", self.text);
    stage_close(&self.stage);
}

/* SIGHUP: the file is read again, and its new command replaces the workers. */
Test(sidecar, sighup__a_new_command_in_the_file__replaces_the_workers) {
    sidecar self = {0};
    STAGE_OPEN(&self.stage, STAGE_C, 500);
    stage_fill(&self.stage, 3000, 30);
    char file[64] = "/tmp/weft-sidecar-XXXXXX", command[800], set[700];
    FILE *config = fdopen(mkstemp(file), "w");
    fprintf(config, "topics = %s\nworker.command = %s\n", self.stage.topic, self.stage.command);
    fflush(config);
    snprintf(set, sizeof set, "%s", file);
    snprintf(command, sizeof command, "bootstrap.servers=%s", self.stage.bootstrap);
    self.output = tmpfile();
    self.pid = fork();
    if (self.pid == 0) {
        dup2(fileno(self.output), STDOUT_FILENO);
        dup2(fileno(self.output), STDERR_FILENO);
        execl(WEFT_BUILD_DIR "/bin/weft-sidecar", "weft-sidecar", "--config", set, "--set", command, "--set",
              "kafka.session.timeout.ms=6000", "--set", "kafka.heartbeat.interval.ms=200", "--set",
              "kafka.fetch.wait.max.ms=10", "--workers", "2", "--until-end", NULL);
        abort();
    }
    REQUIRE(await_begun(&self.stage, 400));
    rewind(config);
    REQUIRE(ftruncate(fileno(config), 0) == 0);
    fprintf(config, "topics = %s\nworker.command = NEW=1 %s\n", self.stage.topic, self.stage.command);
    fclose(config);
    kill(self.pid, SIGHUP);
    REQUIRE(wait_for(&self) == 0, "%s", self.text);
    trail_verdict verdict = trail_judge(self.stage.file, true);
    REQUIRE(verdict.begun == 3000 && verdict.out_of_order == 0);
    REQUIRE(strstr(self.text, "rolling restart workers=2") && strstr(self.text, "worker=w-1-2"), "%s", self.text);
    unlink(file);
    stage_close(&self.stage);
}

/* An attached worker ends when it hears nothing more; the next run takes the directory over. */
Test(sidecar, killed__with_a_worker_that_attached_itself__it_ends_and_the_next_run_finds_its_place) {
    sidecar self = {0};
    char directory[64] = "/tmp/weft-sidecar-XXXXXX", set[100], path[100], again[800];
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    REQUIRE(mkdtemp(directory));
    snprintf(set, sizeof set, "worker.directory=%s", directory);
    for (int turn = 0; turn < 2; turn++) {
        size_t before = trail_count(self.stage.file);
        stage_put(&self.stage, "k1", "no trouble");
        run(&self, "exec sleep 1000", "--workers", "1", "--set", set, "--set", "worker.attach.max=1", "--set",
            "worker.heartbeat.ms=1000", NULL);
        pid_t pid = fork();
        if (pid == 0) {
            snprintf(path, sizeof path, "%s/workers", directory);
            while (access(path, F_OK) != 0) pause_ms(5);
            setenv("WEFT_SOCKET", path, 1);
            snprintf(path, sizeof path, "%s/token", directory);
            while (access(path, F_OK) != 0) pause_ms(5);
            setenv("WEFT_TOKEN_FILE", path, 1);
            /* Refused (2) with what the killed one had left there: again, as whoever supervises it would. */
            snprintf(again, sizeof again, "while %s; status=$?; [ $status = 2 ]; do sleep 0.1; done; exit $status",
                     self.stage.command);
            execl("/bin/sh", "sh", "-c", again, NULL);
            abort();
        }
        REQUIRE(await_begun(&self.stage, before + 2));
        kill(self.pid, turn == 0 ? SIGKILL : SIGTERM);
        REQUIRE_EQ(wait_for(&self), turn == 0 ? 128 + SIGKILL : 0);
        snprintf(path, sizeof path, "%s/token", directory);
        for (int i = 0; i < PATIENCE_MS / 5 && access(path, F_OK) == 0; i++) pause_ms(5);
        REQUIRE(access(path, F_OK) != 0, "a token was left behind");
        int status;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == (turn == 0 ? 3 : 0), "status %d", status);
    }
    REQUIRE(rmdir(directory) == 0, "something was left behind in %s", directory);
    stage_close(&self.stage);
}

/* What a word in the place of a program, and its argument, make of that program and itself. */
static bool says(const sidecar *self, const char *directory, const char *program) {
    char bootstrap[200], topics[100], said[100], text[200] = "", wanted[200];
    snprintf(bootstrap, sizeof bootstrap, "bootstrap.servers=%s", self->stage.bootstrap);
    snprintf(topics, sizeof topics, "topics=%s", self->stage.topic);
    snprintf(said, sizeof said, "%s/said", directory);
    snprintf(wanted, sizeof wanted, "%s it's \"$A\"\n", strrchr(program, '/') ? strrchr(program, '/') + 1 : program);
    pid_t pid = fork();
    if (pid == 0) {
        execl(WEFT_BUILD_DIR "/bin/weft-sidecar", "weft-sidecar", "--set", bootstrap, "--set", topics, "--workers", "1",
              "--set", "log.level=error", "--", program, "it's \"$A\"", NULL);
        abort();
    }
    for (int i = 0; i < PATIENCE_MS / 5 && access(said, F_OK) != 0; i++) pause_ms(5);
    FILE *file = fopen(said, "r");
    if (file) MUST(fgets(text, sizeof text, file), "it is written before it gets its name");
    if (file) fclose(file);
    unlink(said);
    int status;
    kill(pid, SIGTERM);
    MUST(waitpid(pid, &status, 0) == pid, "no sidecar");
    return strcmp(text, wanted) == 0;
}

Test(sidecar, command__a_name_that_a_shell_would_not_take_for_a_program__is_one) {
    static const char *const names[] = {"a=b.sh", "-i", "eval", "cd", "if"};
    sidecar self;
    char directory[64] = "/tmp/weft-sidecar-XXXXXX", path[200], remove[100];
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    REQUIRE(mkdtemp(directory));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        FILE *file = fopen(path, "w");
        MUST(file, "no file");
        fprintf(file, "#!/bin/sh\ncd '%s'\nprintf '%%s %%s\\n' \"${0##*/}\" \"$1\" >being\n", directory);
        fputs("mv being said; exec sleep 1000\n", file);
        MUST(fclose(file) == 0 && chmod(path, 0700) == 0, "no program");
    }
    REQUIRE(says(&self, directory, path));
    snprintf(path, sizeof path, "%s/a=b.sh", directory);
    REQUIRE(says(&self, directory, path));
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", directory);
    setenv("PATH", path, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        REQUIRE(says(&self, directory, names[i]), "%s", names[i]);
    snprintf(remove, sizeof remove, "rm -r %s", directory);
    REQUIRE(system(remove) == 0);
    stage_close(&self.stage);
}

static bool is_empty(const char *directory) {
    glob_t found;
    char pattern[100];
    snprintf(pattern, sizeof pattern, "%s/weft-*", directory);
    bool empty = glob(pattern, 0, NULL, &found) == GLOB_NOMATCH;
    globfree(&found);
    return empty;
}

Test(sidecar, killed__with_a_socket_directory_of_its_own__nothing_is_left_of_it) {
    sidecar self = {0};
    char base[] = "/tmp/weft-sidecar-XXXXXX", pattern[100];
    glob_t found = {0};
    REQUIRE(mkdtemp(base));
    STAGE_OPEN(&self.stage, STAGE_C, 0);
    setenv("XDG_RUNTIME_DIR", base, 1);
    run(&self, NULL, "--workers", "0", "--set", "worker.attach.max=1", NULL);
    snprintf(pattern, sizeof pattern, "%s/weft-*/token", base);
    for (int i = 0; i < PATIENCE_MS / 5 && glob(pattern, 0, NULL, &found) != 0; i++) pause_ms(5);
    REQUIRE_EQ(found.gl_pathc, 1);
    globfree(&found);
    kill(self.pid, SIGKILL);
    REQUIRE_EQ(wait_for(&self), 128 + SIGKILL);
    for (int i = 0; i < PATIENCE_MS / 5 && !is_empty(base); i++) pause_ms(5);
    REQUIRE(rmdir(base) == 0, "something was left behind in %s", base);
    stage_close(&self.stage);
}
