/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "route.h"

/* A client that says nothing keeps its slot for so long. A scrape over a slow line has it for each piece. */
#define REQUEST_TIMEOUT_MS "2000"
/* Accepted connections that wait for a slot. */
#define CONNECTIONS_WAITING "16"
/* The head of a request. */
#define REQUEST_BYTES "16384"

struct wf_http {
    struct mg_context *server;
    wf_http_options options;
    uint64_t since_ns;
    uint16_t port;
    _Atomic(unsigned) threads; /* that have a number */
    unsigned numbers[WF_PAGES_READERS];
};

/* --- answers */

static const char *reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 421:
        return "Misdirected Request";
    default:
        return "Service Unavailable";
    }
}

static void write_answer(struct mg_connection *connection, const wf_answer *answer) {
    char head[512];
    size_t text_bytes = strlen(answer->text), count = text_bytes + (answer->body ? answer->body->count : 0);
    int bytes = snprintf(head, sizeof head,
                         "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s"
                         "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                         answer->status, reason_of(answer->status), answer->type, count,
                         answer->body ? "Vary: Accept, Accept-Encoding\r\n" : "",
                         answer->gzip ? "Content-Encoding: gzip\r\n" : "",
                         answer->status == 405   ? "Allow: GET, HEAD\r\n"
                         : answer->status == 503 ? "Retry-After: 1\r\n"
                                                 : "");
    WF_CHECK(bytes > 0 && (size_t)bytes < sizeof head);
    if (mg_write(connection, head, (size_t)bytes) <= 0 || answer->bodiless) return;
    if (answer->body && mg_write(connection, answer->body->bytes, answer->body->count) <= 0) return;
    if (text_bytes) mg_write(connection, answer->text, text_bytes);
}

static bool has_body(struct mg_connection *connection, const struct mg_request_info *info) {
    return info->content_length > 0 || mg_get_header(connection, "Transfer-Encoding") != NULL;
}

static int answer_request(struct mg_connection *connection, const char *path) {
    const struct mg_request_info *info = mg_get_request_info(connection);
    wf_http *self = info->user_data;
    wf_pages *pages = self->options.pages;
    const unsigned *reader = mg_get_thread_pointer(connection);
    WF_CHECK(reader != NULL);
    wf_request request = {.method = info->request_method ? info->request_method : "",
                          .path = path,
                          .accept = mg_get_header(connection, "Accept"),
                          .accept_encoding = mg_get_header(connection, "Accept-Encoding"),
                          .has_body = has_body(connection, info)};
    wf_sight sight = {.page = wf_pages_borrow(pages, *reader),
                      .draining = atomic_load(&pages->draining),
                      .now_ns = wf_clock_now_ns(),
                      .since_ns = self->since_ns,
                      .health_ns = self->options.health_ns};
    wf_answer answer = wf_route(&request, &sight);
    atomic_fetch_add(&pages->requests[answer.status / 100], 1);
    write_answer(connection, &answer);
    wf_pages_give_back(pages, *reader);
    return answer.status;
}

/* Every request for a path comes here first, and none goes further into CivetWeb. */
static int on_request(struct mg_connection *connection) {
    const char *path = mg_get_request_info(connection)->local_uri;
    return answer_request(connection, path ? path : "");
}

/* "OPTIONS *", and "GET http://elsewhere/" with another port than ours: CivetWeb reads such a request, and hangs up
 * without a word. A lock is held meanwhile: only short answers, which no slow client can hold up. */
static void on_close(const struct mg_connection *connection) {
    const struct mg_request_info *info = mg_get_request_info(connection);
    bool unanswered = info && info->request_uri && !info->local_uri && !mg_get_user_connection_data(connection);
    if (unanswered) answer_request((struct mg_connection *)(uintptr_t)connection, NULL);
}

/* What it writes itself for requests that it can't read. */
static int on_error(struct mg_connection *connection, int status, const char *text) {
    static char answered;
    (void)text;
    mg_set_user_connection_data(connection, &answered);
    const struct mg_request_info *info = mg_get_request_info(connection);
    wf_http *self = info->user_data;
    if (status >= 100 && status < 600) atomic_fetch_add(&self->options.pages->requests[status / 100], 1);
    return 1; /* its own answer */
}

static int on_message(const struct mg_connection *connection, const char *message) {
    (void)connection, (void)message; /* clients that hang up and the like: not worth a line */
    return 1;
}

/* Threads that answer get a number, and keep it. */
static void *on_thread(const struct mg_context *server, int type) {
    enum { WORKER = 1 };
    wf_http *self = mg_get_user_data(server);
    if (type != WORKER) return NULL;
    unsigned number = atomic_fetch_add(&self->threads, 1);
    WF_CHECK(number < WF_PAGES_READERS);
    self->numbers[number] = number;
    return &self->numbers[number];
}

/* --- life */

/* CivetWeb says the same of every trouble with a port: ask the system what it is. Returns errno, 0: free. */
static int try_port(const wf_http_options *options) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    int yes = 1, error = 0;
    if (inet_pton(AF_INET, options->address, &address.sin_addr) != 1) return EINVAL;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) error = errno;
    close(fd);
    return error;
}

static struct mg_context *start(wf_http *self, char *text, size_t text_bytes) {
    char ports[64], threads[16];
    snprintf(ports, sizeof ports, "%s:%u", self->options.address, self->options.port);
    snprintf(threads, sizeof threads, "%u", self->options.threads);
    const char *settings[] = {"listening_ports",
                              ports,
                              "num_threads",
                              threads,
                              "request_timeout_ms",
                              REQUEST_TIMEOUT_MS,
                              "enable_keep_alive",
                              "no",
                              "connection_queue",
                              CONNECTIONS_WAITING,
                              "max_request_size",
                              REQUEST_BYTES,
                              "enable_directory_listing",
                              "no",
                              "access_control_allow_origin",
                              "",
                              "enable_auth_domain_check",
                              "no",
                              NULL};
    struct mg_callbacks callbacks = {.begin_request = on_request,
                                     .connection_close = on_close,
                                     .http_error = on_error,
                                     .log_message = on_message,
                                     .init_thread = on_thread};
    struct mg_init_data data = {.callbacks = &callbacks, .user_data = self, .configuration_options = settings};
    unsigned code = 0;
    struct mg_error_data error = {.code = &code, .text = text, .text_buffer_size = text_bytes};
    return mg_start2(&data, &error);
}

weft_status wf_http_open(const wf_http_options *options, wf_http **ret_http, char error[WF_HTTP_ERROR_BYTES]) {
    WF_CHECK(options->threads >= 1 && options->threads <= WF_PAGES_READERS);
    int reason = try_port(options);
    if (reason) {
        snprintf(error, WF_HTTP_ERROR_BYTES, "metrics.port = %u on metrics.bind = %s can't be used: %s", options->port,
                 options->address, strerror(reason));
        return WEFT_ESYSTEM;
    }
    wf_http *self = calloc(1, sizeof *self);
    if (!self) return WEFT_ENOMEM;
    self->options = *options;
    self->since_ns = wf_clock_now_ns();
    char text[128] = "";
    mg_init_library(0);
    self->server = start(self, text, sizeof text);
    struct mg_server_port port = {0};
    if (!self->server || mg_get_server_ports(self->server, 1, &port) < 1) {
        snprintf(error, WF_HTTP_ERROR_BYTES,
                 "metrics.port = %u on metrics.bind = %s: the HTTP server does not start: %s", options->port,
                 options->address, text);
        wf_http_close(self);
        return WEFT_ESYSTEM;
    }
    self->port = (uint16_t)port.port;
    *ret_http = self;
    return WEFT_OK;
}

uint16_t wf_http_port(const wf_http *http) {
    return http->port;
}

void wf_http_close(wf_http *http) {
    if (!http) return;
    if (http->server) mg_stop(http->server);
    mg_exit_library();
    free(http);
}

const char *wf_http_version(void) {
    return mg_version();
}
