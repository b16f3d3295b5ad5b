/* SPDX-License-Identifier: Apache-2.0
 *
 * A real Prometheus server on a loopback port, which scrapes consumers four times a second, as job "weft"; asked
 * through its HTTP API.
 */
#ifndef SUPPORT_PROMETHEUS_H
#define SUPPORT_PROMETHEUS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct prometheus prometheus;

/* Scrapes /metrics of these ports of 127.0.0.1; `rules`: a folder with recording.yml and alerts.yml, or NULL. Returns
 * when it answers. */
prometheus *prometheus_start(const uint16_t *ports, size_t count, const char *rules);
void prometheus_stop(prometheus *server);

/* The value of "data" of what it answers to /api/v1/PATH, to be released; an error of the server ends the test. */
json_t *prometheus_api(const prometheus *server, const char *path);

/* An expression now: an array of {"metric": labels, "value": [time, "number"]}, to be released. */
json_t *prometheus_query(const prometheus *server, const char *expression);

/* Of such an element. NULL: no such label. */
const char *prometheus_label(const json_t *sample, const char *label);
double prometheus_value(const json_t *sample);

#endif
