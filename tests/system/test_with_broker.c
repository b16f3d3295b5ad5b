/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded broker with a command beside it: signals, exit statuses, and what is said of records that can't be.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"
#include "program.h"

TestSuite(with_broker, .timeout = 55);

static char said[1 << 16];

static void read_said(const char *path) {
    FILE *file = fopen(path, "r");
    said[file ? fread(said, 1, sizeof said - 1, file) : 0] = '\0';
    if (file) fclose(file);
}

static void await_said(const char *path, const char *part) {
    for (int i = 0; i < 4000 && !strstr(said, part); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        read_said(path);
    }
    MUST(strstr(said, part) != NULL, "it says %s", said);
}

/* The command needs a moment from the signal to its end, as one that drains does. */
static void end_by_signal(int number, bool is_typed) {
    static const char script[] = "trap 'sleep 0.3; echo drained; exit 3' INT TERM; echo up; "
                                 "for i in $(seq 300); do sleep 0.1; done";
    const char *const words[] = {"setsid", WEFT_BUILD_DIR "/bin/with_broker", "--records", "10", "--", "sh", "-c",
                                 script,   NULL};
    char *path = must_name("/tmp/weft-with-broker");
    *said = '\0';
    pid_t program = program_start(words, path);
    await_said(path, "up\n");
    kill(is_typed ? -program : program, number);
    int status = program_end(program, 0);
    read_said(path);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 3, "signal %d: status %#x", number, (unsigned)status);
    cr_expect_not_null(strstr(said, "drained\n"), "signal %d: %s", number, said);
    kill(-program, SIGKILL);
    unlink(path);
    free(path);
}

Test(with_broker, signals__while_the_command_runs__it_ends_by_itself_and_its_status_counts) {
    end_by_signal(SIGINT, true);
    end_by_signal(SIGTERM, false);
}

Test(with_broker, topic__of_a_name_too_long_to_be_filled__the_reason_is_told) {
    char name[700] = "", *path = must_name("/tmp/weft-with-broker");
    const char *const words[] = {WEFT_BUILD_DIR "/bin/with_broker", "--topic", name, "--records", "10", "--", "true",
                                 NULL};
    memset(name, 'x', 600);
    int status = program_end(program_start(words, path), 0);
    read_said(path);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x: %s", (unsigned)status, said);
    cr_expect_not_null(strstr(said, "produce: Local: Invalid argument"), "%s", said);
    cr_expect_null(strstr(said, "0 records were not delivered"), "%s", said);
    unlink(path);
    free(path);
}
