/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs as services: what they tell their manager, heard on a socket of the test's own (examples/support/service.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "program.h"
#include "service.h"

TestSuite(service, .timeout = 55);

enum { PATIENCE_MS = 25000, TEXT = 512 };

/* A socket that the environment names; '@' for one without a file. */
static int manager_open(char first) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *name = must_name(first == '@' ? "@weft-test" : "/tmp/weft-test");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    size_t bytes = strlen(name);
    MUST(fd >= 0 && bytes < sizeof address.sun_path, "no socket");
    memcpy(address.sun_path, name, bytes);
    if (first == '@') address.sun_path[0] = '\0';
    socklen_t address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    MUST(bind(fd, (const struct sockaddr *)&address, address_bytes) == 0, "bind: %s", strerror(errno));
    setenv("NOTIFY_SOCKET", name, 1);
    free(name);
    return fd;
}

/* What comes next; false: nothing within the time. */
static bool hear(int fd, int timeout_ms, char *ret_text) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, timeout_ms) != 1) return false;
    ssize_t bytes = recv(fd, ret_text, TEXT - 1, 0);
    if (bytes < 0) return false;
    ret_text[bytes] = '\0';
    return true;
}

/* The next one must begin so, with any number of meals for the watchdog before it; returns how many. */
static unsigned await(int fd, const char *beginning) {
    char text[TEXT];
    for (unsigned meals = 0;; meals++) {
        cr_assert(hear(fd, PATIENCE_MS, text), "nothing more is said; expected %s", beginning);
        if (strncmp(text, beginning, strlen(beginning)) == 0) return meals;
        cr_assert_eq(strncmp(text, "WATCHDOG=1\n", 11), 0, "said: %s; expected %s", text, beginning);
    }
}

static mock_cluster *filled_mock(uint64_t records) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = records, .keys = 5, .value_bytes = 50};
    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    return mock;
}

Test(service, orders__says_that_it_runs__feeds_the_watchdog__says_that_it_stops) {
    mock_cluster *mock = filled_mock(100);
    int manager = manager_open('/');
    char path[TEXT];
    snprintf(path, sizeof path, "%s", getenv("NOTIFY_SOCKET"));
    setenv("WATCHDOG_USEC", "400000", 1);
    const char *words[] = {
        WEFT_BUILD_DIR "/bin/orders", "--bootstrap-servers", mock_bootstrap(mock), "--topic", "t", NULL};
    pid_t child = program_start(words, NULL);
    cr_assert_eq(await(manager, "READY=1\n"), 0);
    for (int i = 0; i < 3; i++) cr_assert_eq(await(manager, "WATCHDOG=1\nSTATUS="), 0);
    kill(child, SIGTERM);
    await(manager, "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000");
    cr_assert_eq(program_end(child, 0), 0);
    unlink(path);
    close(manager);
    mock_close(mock);
}

Test(service, sidecar__reload__is_said__and_workers_know_nothing_of_the_socket) {
    mock_cluster *mock = filled_mock(100);
    int manager = manager_open('@');
    char bootstrap[TEXT], command[TEXT * 2], seen[] = "/tmp/weft-test-XXXXXX", environment[1 << 14];
    setenv("WATCHDOG_USEC", "30000000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* somebody else's */
    snprintf(bootstrap, sizeof bootstrap, "bootstrap.servers=%s", mock_bootstrap(mock));
    close(mkstemp(seen));
    snprintf(command, sizeof command, "env >>%s; exec %s/bin/count_words", seen, WEFT_BUILD_DIR);
    const char *sidecar = WEFT_BUILD_DIR "/bin/weft-sidecar";
    const char *words[] = {sidecar, "--set", bootstrap, "--set", "topics=t", "--workers",
                           "1",     "--",    "sh",      "-c",    command,    NULL};
    pid_t child = program_start(words, NULL);
    await(manager, "READY=1\n");
    kill(child, SIGHUP);
    await(manager, "RELOADING=1\nMONOTONIC_USEC=");
    await(manager, "READY=1\n");
    kill(child, SIGTERM);
    await(manager, "STOPPING=1\n");
    cr_assert_eq(program_end(child, 0), 0);
    FILE *file = fopen(seen, "r");
    cr_assert_not_null(file);
    environment[fread(environment, 1, sizeof environment - 1, file)] = '\0';
    fclose(file);
    unlink(seen);
    cr_assert(strstr(environment, "PATH="), "the worker did not start: %s", environment);
    cr_assert(!strstr(environment, "NOTIFY_SOCKET") && !strstr(environment, "WATCHDOG_"), "%s", environment);
    close(manager);
    mock_close(mock);
}

/* --- a loop that hangs */

typedef struct gate {
    int begun[2], go[2];
} gate;

static weft_result wait_at_gate(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test, (void)record, (void)ticket;
    gate *self = context;
    char byte = 'x';
    MUST(write(self->begun[1], &byte, 1) == 1 && read(self->go[0], &byte, 1) == 1, "the gate is broken");
    return WEFT_SUCCESS;
}

Test(service, watchdog__a_loop_hangs__is_not_fed_until_it_goes_on) {
    mock_cluster *mock = filled_mock(1);
    int manager = manager_open('@');
    gate self;
    char text[TEXT], byte = 'x';
    MUST(pipe(self.begun) == 0 && pipe(self.go) == 0, "no pipe");
    setenv("WATCHDOG_USEC", "2", 1); /* always due */
    service_open();
    cr_assert_null(getenv("NOTIFY_SOCKET"));
    /* An inline handler runs on the loop of the work manager. */
    const char *settings[] = {"engine", "inline", NULL};
    harness *under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                        .topics = "t",
                                                        .settings = settings,
                                                        .work = wait_at_gate,
                                                        .context = &self});
    cr_assert_eq(read(self.begun[0], &byte, 1), 1);
    service_alive(harness_consumer(under_test));
    cr_assert(!hear(manager, 0, text), "fed while the loop hangs: %s", text);
    cr_assert_eq(write(self.go[1], &byte, 1), 1);
    service_alive(harness_consumer(under_test));
    cr_assert(hear(manager, 0, text) && strncmp(text, "WATCHDOG=1\n", 11) == 0);
    cr_assert_eq(harness_stop(under_test, 10000), WEFT_OK);
    harness_free(&under_test);
    mock_close(mock);
}

/* A manager does not count READY=1 as a sign of life. */
Test(service, watchdog__reload_upon_reload__is_fed_all_the_same) {
    mock_cluster *mock = filled_mock(1);
    int manager = manager_open('@');
    char text[TEXT];
    setenv("WATCHDOG_USEC", "200000", 1);
    service_open();
    harness *under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t"});
    unsigned meals = 0;
    for (uint64_t end = must_now_ms() + PATIENCE_MS; meals < 3 && must_now_ms() < end;) {
        service_ready();
        service_alive(harness_consumer(under_test));
        while (hear(manager, 1, text)) meals += strncmp(text, "WATCHDOG=1\n", 11) == 0;
    }
    cr_expect_geq(meals, 3);
    cr_assert_eq(harness_stop(under_test, 10000), WEFT_OK);
    harness_free(&under_test);
    mock_close(mock);
}

Test(service, no_manager__or_a_wrong_name__nothing_happens) {
    static char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    const char *const names[] = {NULL, "", "/", "@", "relative", longest, "/nowhere/at/all"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i])
            setenv("NOTIFY_SOCKET", names[i], 1);
        else
            unsetenv("NOTIFY_SOCKET");
        setenv("WATCHDOG_USEC", "not a number", 1);
        service_open();
        service_ready();
        service_reloading();
        service_alive(NULL); /* nobody watches: not looked at */
        service_stopping(1000);
    }
}
