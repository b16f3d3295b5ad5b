/* SPDX-License-Identifier: Apache-2.0 */
#include "scrape.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int scrape_connect(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

char *scrape_request(uint16_t port, const char *request) {
    int fd = scrape_connect(port);
    size_t bytes = strlen(request), used = 0, room = 1 << 20;
    char *answer = calloc(1, room);
    if (fd < 0 || !answer || send(fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) {
        if (fd >= 0) close(fd);
        free(answer);
        return NULL;
    }
    while (used + 1 < room) {
        ssize_t got = recv(fd, answer + used, room - 1 - used, 0);
        if (got < 0 && errno == EINTR) continue; /* stopped and continued */
        if (got <= 0) break;
        used += (size_t)got;
    }
    close(fd);
    return answer;
}

char *scrape_get(uint16_t port, const char *path) {
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    return scrape_request(port, request);
}

const char *scrape_body(const char *answer) {
    const char *end = answer ? strstr(answer, "\r\n\r\n") : NULL;
    return end ? end + 4 : NULL;
}
