/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded broker with a command beside it: signals and exit statuses.
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
