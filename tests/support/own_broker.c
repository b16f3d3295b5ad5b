/* SPDX-License-Identifier: Apache-2.0 */
#include "own_broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

enum { AWAY_MS_MAX = 20000 };

static const char script[] = "bash tests/kafka/broker.sh";

void own_broker_start(own_broker *self, const char *properties) {
    char line[512], command[256];
    *self = (own_broker){0};
    snprintf(command, sizeof command, "%s start %s", script, properties ? properties : "");
    FILE *answer = popen(command, "r");
    MUST(answer, "no shell");
    while (fgets(line, sizeof line, answer)) {
        sscanf(line, "bootstrap=%63s", self->bootstrap);
        sscanf(line, "pid_file=%255s", self->pid_file);
    }
    MUST(pclose(answer) == 0 && *self->bootstrap && *self->pid_file, "the broker did not start");
}

void own_broker_stop(const own_broker *self) {
    char command[512];
    snprintf(command, sizeof command, "%s stop %s", script, self->pid_file);
    MUST(system(command) == 0, "%s failed", command);
}

struct own_broker_restart {
    FILE *shell;
};

static bool listens(const own_broker *self) {
    unsigned port = 0;
    MUST(sscanf(self->bootstrap, "127.0.0.1:%u", &port) == 1, "%s", self->bootstrap);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

own_broker_restart *own_broker_begin_restart(const own_broker *self) {
    char command[512];
    own_broker_restart *restart = must_alloc(1, sizeof *restart);
    snprintf(command, sizeof command, "%s restart %s", script, self->pid_file);
    restart->shell = popen(command, "w");
    MUST(restart->shell, "no shell");
    struct timespec pause = {.tv_nsec = 2000000};
    for (uint64_t from_ms = must_now_ms(); listens(self); nanosleep(&pause, NULL))
        MUST(must_now_ms() - from_ms < AWAY_MS_MAX, "the broker does not end");
    return restart;
}

void own_broker_await_restart(own_broker_restart **restart) {
    MUST(pclose((*restart)->shell) == 0, "the broker did not come back");
    free(*restart);
    *restart = NULL;
}
