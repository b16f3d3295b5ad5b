/* SPDX-License-Identifier: Apache-2.0 */
#include "own_metrics.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 1 << 20, TRIES = 50 };

static bool scrape(uint16_t port, char *page) {
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t used = 0;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0)
        for (ssize_t got; used + 1 < PAGE_BYTES && (got = recv(fd, page + used, PAGE_BYTES - 1 - used, 0)) > 0;)
            used += (size_t)got;
    if (fd >= 0) close(fd);
    page[used] = '\0';
    return used > 0;
}

static uint64_t processed(const char *page) {
    uint64_t sum = 0;
    for (const char *at = page; (at = strstr(at, "\nconsumer_processed_total{")); at++) {
        const char *value = strstr(at, "} ");
        sum += value ? strtoull(value + 2, NULL, 10) : 0;
    }
    return sum;
}

static void print_some(uint16_t port, char *page) {
    static const char *const names[] = {"consumer_processed_total{",     "consumer_parallel_lag{",
                                        "consumer_exec_seconds_sum{",    "consumer_exec_seconds_count{",
                                        "consumer_backpressure_active{", "process_resident_memory_bytes "};
    printf("from http://127.0.0.1:%u/metrics:\n", port);
    for (char *line = strtok(page, "\n"); line; line = strtok(NULL, "\n"))
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            bool every = strstr(line, "partition=\"") == NULL || strstr(line, "partition=\"0\"") != NULL;
            if (every && strncmp(line, names[i], strlen(names[i])) == 0) printf("  %s\n", line);
        }
    printf("\n");
}

void print_own_metrics(uint16_t port, uint64_t records) {
    char *page = port ? calloc(1, PAGE_BYTES) : NULL;
    const struct timespec tenth = {.tv_nsec = 100000000};
    bool there = false;
    /* The page is as old as tick.ms at most. */
    for (int i = 0; page && i < TRIES; i++) {
        there = scrape(port, page);
        if (there && processed(page) >= records) break;
        nanosleep(&tenth, NULL);
    }
    if (there) print_some(port, page);
    free(page);
}
