/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is not let in to be a worker: processes of other users, and those that have left the group in which they would
 * end. They cost nothing that matters, and nothing of theirs counts.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heard.h"
#include "must.h"
#include "peers.h"
#include "require.h"
#include "stage.h"
#include "wire.h"

TestSuite(worker_strangers, .timeout = 60);

enum { STRANGER = 65534, CONNECTIONS = 1500, FILES_MAX = 1024 };

/* "@name" has no file. Returns a connected socket, or -1. */
static int connect_raw(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    MUST(strlen(path) < sizeof address.sun_path, "a long path");
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@') address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, bytes) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static pid_t fork_as(uid_t user) {
    pid_t pid = fork();
    MUST(pid >= 0, "no process");
    if (pid == 0 && user != getuid()) MUST(setgid(user) == 0 && setuid(user) == 0, "can't be user %u", user);
    return pid;
}

/* ZeroMQ greets first whom it lets in. */
static bool is_greeted(const char *path, uid_t user) {
    pid_t pid = fork_as(user);
    if (pid == 0) {
        char byte;
        int fd = connect_raw(path);
        must_leave(fd >= 0 && recv(fd, &byte, 1, 0) == 1 ? 0 : 1);
    }
    int status;
    MUST(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "status %d", status);
    return WEXITSTATUS(status) == 0;
}

Test(worker_strangers, peers__let_in__are_those_of_our_user_of_root_and_of_who_is_named) {
    static const uid_t named[] = {STRANGER};
    if (getuid() != 0) cr_skip("only root can be somebody else");
    for (size_t count = 0; count <= 1; count++) {
        char path[64];
        wf_peers *peers;
        snprintf(path, sizeof path, "@weft-strangers-%d-%zu", (int)getpid(), count);
        REQUIRE_EQ(wf_peers_open(path, WF_WIRE_FRAME_MAX, named, count, &peers), WEFT_OK);
        REQUIRE(is_greeted(path, getuid()));
        REQUIRE_EQ(is_greeted(path, STRANGER), count == 1);
        wf_peers_close(&peers);
    }
}

/* The socket of a consumer of this process, as everybody on the machine can see it. */
static void find_socket(char path[200]) {
    char line[400], mark[64];
    FILE *file = fopen("/proc/net/unix", "r");
    snprintf(mark, sizeof mark, "@weft-%d-", (int)getpid());
    *path = '\0';
    while (file && fgets(line, sizeof line, file)) {
        char *at = strstr(line, mark);
        if (at) snprintf(path, 200, "%.*s", (int)strcspn(at, "\n"), at);
    }
    MUST(file && *path, "no socket");
    fclose(file);
}

static bool is_ready(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->system.pool.by_state[WEFT_WORKER_READY] == 1;
}

/* More connections than this process may have descriptors, all kept. */
Test(worker_strangers, crowd__of_another_user__the_consumer_lives_and_works) {
    enum { RECORDS = 1000 };
    static const char *const settings[] = {"workers", "1", NULL};
    stage scene;
    trail_verdict verdict;
    char text[2000], path[200];
    int go[2], done[2];
    if (getuid() != 0) cr_skip("only root can be somebody else");
    MUST(pipe(go) == 0 && pipe(done) == 0, "no pipes");
    pid_t crowd = fork_as(STRANGER);
    if (crowd == 0) {
        close(go[1]);
        if (read(go[0], path, sizeof path) != sizeof path) must_leave(1);
        for (int i = 0; i < CONNECTIONS; i++) connect_raw(path);
        must_leave(write(done[1], "x", 1) == 1 && read(go[0], path, 1) == 0 ? 0 : 1);
    }
    MUST(setrlimit(RLIMIT_NOFILE, &(struct rlimit){FILES_MAX, FILES_MAX}) == 0, "no limit");
    STAGE_OPEN(&scene, STAGE_C, 0);
    harness *under_test = stage_start(&scene, settings);
    REQUIRE(harness_await_metrics(under_test, is_ready, NULL, STAGE_PATIENCE_MS, NULL));
    find_socket(path);
    MUST(write(go[1], path, sizeof path) == sizeof path && read(done[0], text, 1) == 1, "no crowd");
    stage_fill(&scene, RECORDS, 10);
    REQUIRE(stage_finish(&scene, under_test, RECORDS, &verdict, text, sizeof text), "%s", text);
    REQUIRE_EQ(verdict.begun, RECORDS);
    close(go[1]);
    MUST(waitpid(crowd, NULL, 0) == crowd, "no crowd");
    stage_close(&scene);
}

/* Killing its group would not end it. */
Test(worker_strangers, spawned__that_has_left_its_group__is_refused_with_the_reason_and_gets_nothing) {
    stage scene;
    char command[900], once[80];
    STAGE_OPEN(&scene, STAGE_C, 0);
    /* The next ones are nothing but a sleep: one that was about to say HELLO at the stop would not end with it. */
    snprintf(once, sizeof once, "%s.once", scene.path);
    snprintf(command, sizeof command,
             "mkdir %s || exec sleep 1000; TRAIL=%s setsid --wait %s/tests/programs/trail_worker; exit 3",
             once, scene.path, WEFT_BUILD_DIR);
    const char *const settings[] = {"workers", "1", "worker.command", command, "log.level", "info", NULL};
    stage_put(&scene, "k1", "no trouble");
    heard_begin();
    harness *under_test = stage_start(&scene, settings);
    REQUIRE(heard_await("frame rejected", "not in that one's process group", STAGE_PATIENCE_MS));
    REQUIRE(heard_await("worker ended", "exit status 3", STAGE_PATIENCE_MS));
    REQUIRE_EQ(heard_count("worker ready", NULL), 0);
    REQUIRE_EQ(trail_count(scene.file), 0);
    REQUIRE_EQ(harness_stop(under_test, 10000), WEFT_OK);
    heard_end();
    REQUIRE_EQ(rmdir(once), 0);
    harness_free(&under_test);
    stage_close(&scene);
}
