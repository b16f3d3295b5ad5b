/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes sent to the real HTTP door on loopback: it answers in HTTP or hangs up, shows nothing of what was sent, and
 * goes on answering others.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "exposition.h"
#include "http.h"
#include "must.h"

enum { ANSWER_BYTES = 1 << 16, LOOK_EVERY = 64 };

static wf_pages pages;
static uint16_t port;

static void open_door(void) {
    static wf_http *http; /* stays open */
    char error[WF_HTTP_ERROR_BYTES];
    weft_metrics *metrics = must_alloc(1, sizeof *metrics);
    wf_page *page = wf_page_new(metrics);
    WF_CHECK(page != NULL);
    page->limits = (wf_limits){.group = "g", .ordering = "key", .engine = "async", .max_series = 20000};
    page->build = (wf_build){"1", "2", "3", "4", "5"};
    wf_exposition_fit(page);
    wf_pages_publish(&pages, page);
    wf_http_options options = {.address = "127.0.0.1", .threads = 2, .health_ns = UINT64_MAX, .pages = &pages};
    MUST(wf_http_open(&options, &http, error) == WEFT_OK, "%s", error);
    port = wf_http_port(http);
}

/* libFuzzer's clock interrupts whatever waits; a connection that was being made is made all the same. */
static bool is_connected(int fd, const struct sockaddr_in *to) {
    struct pollfd made = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t bytes = sizeof error;
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) return true;
    if (errno != EINTR) return false;
    if (TEMP_FAILURE_RETRY(poll(&made, 1, -1)) != 1) return false;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) return false;
    errno = error;
    return error == 0;
}

/* From one address after the other: the ports of one are used up in half a minute, since each rests after its use. */
static int connect_anew(void) {
    static uint32_t count;
    static const int late = 1; /* the port is chosen when it is known where to */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + count++ % 1000)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late) == 0 &&
             bind(fd, (struct sockaddr *)&from, sizeof from) == 0 && is_connected(fd, &to),
         "the door is closed: %s", strerror(errno));
    return fd;
}

/* The answer, at most so many bytes. */
static size_t send_all(const uint8_t *data, size_t size, char *answer, size_t room) {
    size_t used = 0;
    int fd = connect_anew();
    ssize_t sent = TEMP_FAILURE_RETRY(send(fd, data, size, MSG_NOSIGNAL)), got = 1;
    if (sent == (ssize_t)size && shutdown(fd, SHUT_WR) == 0)
        while (used < room && (got = TEMP_FAILURE_RETRY(recv(fd, answer + used, room - used, 0))) > 0)
            used += (size_t)got;
    close(fd);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char answer[ANSWER_BYTES];
    static const uint8_t healthy[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    static unsigned count;
    if (!port) open_door();
    size_t used = send_all(data, size, answer, sizeof answer);
    WF_CHECK(used == 0 || (used > 12 && memcmp(answer, "HTTP/", 5) == 0));
    if (++count % LOOK_EVERY) return 0;
    used = send_all(healthy, sizeof healthy - 1, answer, sizeof answer);
    WF_CHECK(used > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0);
    return 0;
}
