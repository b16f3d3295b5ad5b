/* SPDX-License-Identifier: Apache-2.0
 *
 * What worker processes write to standard error, in the log: the engine alone with a process that is real and no
 * worker. The clock stands still unless the test moves it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_env.h"
#include "must.h"
#include "process_engine.h"
#include "require.h"

TestSuite(process_stderr, .timeout = 60);

enum { PATIENCE = 3000 }; /* looks of 10 ms */

static const uint64_t second_ns = 1000000000;

typedef struct desk {
    fake_env fake;
    char directory[64];
    char command[400];
} desk;

/* The first process is w-0-1. Its script is in its directory, and writes to standard error. */
static void open_desk(desk *self, const char *script) {
    *self = (desk){.directory = "/tmp/weft-stderr-XXXXXX"};
    MUST(mkdtemp(self->directory), "no directory");
    snprintf(self->command, sizeof self->command, "exec >&2; cd %s; %s", self->directory, script);
    wf_process_engine_options options = {.spawned = 1,
                                         .command = self->command,
                                         .directory = "",
                                         .heartbeat_ns = second_ns,
                                         .grace_ns = second_ns,
                                         .backoff_ns = second_ns,
                                         .backoff_max_ns = second_ns};
    fake_env_start(&self->fake, &wf_process_engine, &options, 1000 * second_ns);
}

static void close_desk(desk *self) {
    char command[100];
    fake_env_end(&self->fake);
    snprintf(command, sizeof command, "rm -r %s", self->directory);
    MUST(system(command) == 0, "%s", command);
}

/* Lines of the first process with this text. */
static size_t count_lines(const desk *self, const char *text) {
    size_t count = 0;
    for (size_t i = 0; i < self->fake.line_count; i++) {
        const char *line = self->fake.lines[i].text;
        count += strstr(line, "w-0-1 ") && strstr(line, text);
    }
    return count;
}

static void look(desk *self) {
    poll(&(struct pollfd){.fd = self->fake.watched[0], .events = POLLIN}, 1, 10);
    fake_env_poke(&self->fake);
}

static void await_line(desk *self, const char *text) {
    for (int i = 0; !count_lines(self, text); i++) {
        REQUIRE(i < PATIENCE, "not logged: %s", text);
        look(self);
    }
}

static void await_end(desk *self) {
    await_line(self, "worker ended");
}

/* Wait until the script has made this file, and until all that it had written by then was read. */
static void await_file(desk *self, const char *name) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", self->directory, name);
    for (int i = 0; access(path, F_OK) != 0; i++) {
        REQUIRE(i < PATIENCE, "no file %s", name);
        look(self);
    }
    for (int i = 0; i < 10; i++) look(self);
}

static void make_file(const desk *self, const char *name) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", self->directory, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    MUST(fd >= 0, "%s can't be made", path);
    close(fd);
}

#define MAKE "touch "
#define AWAIT(name) "while ! [ -e " name " ]; do sleep 0.01; done; "

Test(process_stderr, line__written_in_pieces__one_line_of_the_log) {
    desk self;
    open_desk(&self, "printf 'env: '; " MAKE "one; " AWAIT("two") "printf 'nobody'; printf ': not there\\nnext\\n'");
    await_file(&self, "one");
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 0);
    make_file(&self, "two");
    await_end(&self);
    REQUIRE_EQ(count_lines(&self, "text=\"env: nobody: not there\" not_logged=0"), 1);
    REQUIRE_EQ(count_lines(&self, "text=\"next\" not_logged=0"), 1);
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 2);
    close_desk(&self);
}

Test(process_stderr, line_without_an_end__logged_at_the_death_and_when_the_pipe_ends) {
    desk self;
    open_desk(&self, "printf 'no end'; exit 3");
    await_end(&self);
    REQUIRE_EQ(count_lines(&self, "worker stderr worker=w-0-1 text=\"no end\""), 1);
    REQUIRE_EQ(count_lines(&self, "exit status 3: no end"), 1);
    close_desk(&self);
    open_desk(&self, "printf closed; exec >/dev/null 2>&1; exec sleep 100");
    await_line(&self, "text=\"closed\"");
    REQUIRE_EQ(count_lines(&self, "worker ended"), 0);
    close_desk(&self);
}

/* 1 + 3000 bytes: at an odd place, so that every cut at an even number of bytes hits a character. */
Test(process_stderr, long_line__cut_between_characters__in_the_log_and_in_the_reason) {
    desk self;
    open_desk(&self, "printf a; printf '\xc3\xa4%.0s' $(seq 1500); echo; exit 10");
    await_end(&self);
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 3);
    REQUIRE_EQ(count_lines(&self, "text=\"a\xc3\xa4\xc3\xa4"), 1);
    REQUIRE_EQ(count_lines(&self, "text=\"\xc3\xa4\xc3\xa4"), 2);
    REQUIRE_EQ(count_lines(&self, "exit status 10: \xc3\xa4\xc3\xa4"), 1);
    REQUIRE_EQ(count_lines(&self, "\xef\xbf\xbd"), 0);
    close_desk(&self);
}

Test(process_stderr, bytes_that_are_no_text__replaced_and_lose_nothing_else) {
    desk self;
    open_desk(&self, "printf '\\377\"\\tx\\360\\237\\nlast\\n'");
    await_end(&self);
    REQUIRE_EQ(count_lines(&self, "text=\"\xef\xbf\xbd  x\xef\xbf\xbd\xef\xbf\xbd\""), 1);
    REQUIRE_EQ(count_lines(&self, "text=\"last\""), 1);
    close_desk(&self);
}

Test(process_stderr, flood__bounded__the_next_line_tells_how_many_were_left_out) {
    desk self;
    open_desk(&self, "seq 1000; " MAKE "one; " AWAIT("two") "echo later; " MAKE "three; exec sleep 100");
    await_file(&self, "one");
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 200);
    REQUIRE_EQ(count_lines(&self, "text=\"200\" not_logged=0"), 1);
    fake_env_advance(&self.fake, second_ns);
    make_file(&self, "two");
    await_file(&self, "three");
    REQUIRE_EQ(count_lines(&self, "text=\"later\" not_logged=800"), 1);
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 201);
    close_desk(&self);
}

Test(process_stderr, flood__then_death__the_rest_is_counted_and_the_last_lines_are_in_the_reason) {
    desk self;
    open_desk(&self, "seq 100000; exit 1");
    await_end(&self);
    REQUIRE_EQ(count_lines(&self, "worker stderr"), 200);
    REQUIRE_EQ(count_lines(&self, "worker wrote more to stderr worker=w-0-1 not_logged=99800"), 1);
    REQUIRE_EQ(count_lines(&self, "exit status 1: 9"), 1);
    REQUIRE_EQ(count_lines(&self, "|99979|99980|"), 1);
    close_desk(&self);
}
