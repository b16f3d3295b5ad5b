/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"
#include "program.h"
#include "scrape.h"

enum { START_MS = 30000, LOOK_MS = 50, PATH = 256, REQUEST = 1 << 13 };

struct prometheus {
    char folder[64];
    pid_t program;
    uint16_t port;
};

/* Free a moment ago; who takes it in between makes the server, and so the test, fail. */
static uint16_t free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MUST(fd >= 0 && bind(fd, (const struct sockaddr *)&address, bytes) == 0 &&
             getsockname(fd, (struct sockaddr *)&address, &bytes) == 0,
         "no port");
    close(fd);
    return ntohs(address.sin_port);
}

static void configure(const char *path, const uint16_t *ports, size_t count, const char *rules) {
    FILE *file = fopen(path, "w");
    MUST(file, "%s", path);
    fprintf(file, "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n");
    if (rules) fprintf(file, "rule_files: [\"%s/recording.yml\", \"%s/alerts.yml\"]\n", rules, rules);
    fprintf(file, "scrape_configs:\n  - job_name: weft\n    static_configs:\n      - targets: [");
    for (size_t i = 0; i < count; i++) fprintf(file, "%s\"127.0.0.1:%u\"", i ? ", " : "", ports[i]);
    fprintf(file, "]\n");
    MUST(fclose(file) == 0, "%s", path);
}

static bool is_ready(uint16_t port) {
    char *answer = scrape_request(port, "GET /-/ready HTTP/1.0\r\n\r\n");
    bool ready = answer && strstr(answer, " 200 ") == answer + 8;
    free(answer);
    return ready;
}

static void show_log(const prometheus *self) {
    char path[PATH], line[512];
    snprintf(path, sizeof path, "%s/log", self->folder);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) fprintf(stderr, "prometheus: %s", line);
    if (file) fclose(file);
}

prometheus *prometheus_start(const uint16_t *ports, size_t count, const char *rules) {
    prometheus *self = must_alloc(1, sizeof *self);
    char config[PATH], data[PATH], address[PATH], log[PATH];
    snprintf(self->folder, sizeof self->folder, "/tmp/weft-prometheus-XXXXXX");
    MUST(mkdtemp(self->folder), "%s", self->folder);
    self->port = free_port();
    snprintf(config, sizeof config, "--config.file=%s/prometheus.yml", self->folder);
    snprintf(data, sizeof data, "--storage.tsdb.path=%s/data", self->folder);
    snprintf(address, sizeof address, "--web.listen-address=127.0.0.1:%u", self->port);
    snprintf(log, sizeof log, "%s/log", self->folder);
    configure(strchr(config, '=') + 1, ports, count, rules);
    const char *words[] = {"prometheus", config, data, address, "--log.level=warn", NULL};
    self->program = program_start(words, log);
    for (uint64_t end = must_now_ms() + START_MS; !is_ready(self->port);) {
        if (must_now_ms() >= end) show_log(self);
        MUST(must_now_ms() < end, "prometheus does not answer");
        poll(NULL, 0, LOOK_MS);
    }
    return self;
}

void prometheus_stop(prometheus *self) {
    char command[PATH];
    program_end(self->program, SIGKILL); /* nothing of it is kept */
    snprintf(command, sizeof command, "rm -rf '%s'", self->folder);
    MUST(system(command) == 0, "%s", command);
    free(self);
}

json_t *prometheus_api(const prometheus *self, const char *path) {
    char request[REQUEST];
    /* HTTP/1.0: the end of the answer is the end of the connection, and it comes in one piece. */
    int bytes = snprintf(request, sizeof request, "GET /api/v1/%s HTTP/1.0\r\n\r\n", path);
    MUST(bytes < REQUEST, "too long: %s", path);
    char *answer = scrape_request(self->port, request);
    const char *body = scrape_body(answer);
    json_t *whole = body ? json_loads(body, 0, NULL) : NULL;
    const char *status = json_string_value(json_object_get(whole, "status"));
    MUST(status && strcmp(status, "success") == 0, "%s: %s", path, body ? body : "no answer");
    json_t *data = json_incref(json_object_get(whole, "data"));
    json_decref(whole);
    free(answer);
    return data;
}

json_t *prometheus_query(const prometheus *self, const char *expression) {
    char path[REQUEST];
    size_t at = (size_t)snprintf(path, sizeof path, "query?query=");
    for (const char *c = expression; *c; c++) {
        MUST(at + 4 < sizeof path, "too long: %s", expression);
        at += (size_t)snprintf(path + at, sizeof path - at, "%%%02X", (unsigned char)*c);
    }
    json_t *data = prometheus_api(self, path), *result = json_object_get(data, "result");
    MUST(json_is_array(result), "no array: %s", expression);
    json_incref(result);
    json_decref(data);
    return result;
}

const char *prometheus_label(const json_t *sample, const char *label) {
    return json_string_value(json_object_get(json_object_get(sample, "metric"), label));
}

double prometheus_value(const json_t *sample) {
    const char *text = json_string_value(json_array_get(json_object_get(sample, "value"), 1));
    MUST(text, "a sample without a value");
    return strtod(text, NULL);
}
