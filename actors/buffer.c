/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 16384, PRINTF_BYTES = 256 };

static bool reserve(wf_buffer *buffer, size_t count) {
    size_t used = buffer->body ? buffer->body->count : 0;
    if (buffer->failed) return false;
    if (buffer->body && used + count <= buffer->room) return true;
    size_t room = buffer->room ? 2 * buffer->room : ROOM_FIRST;
    while (room < used + count) room *= 2;
    wf_body *body = realloc(buffer->body, sizeof *body + room);
    if (!body) {
        buffer->failed = true;
        return false;
    }
    body->count = used;
    buffer->body = body;
    buffer->room = room;
    return true;
}

void wf_buffer_put(wf_buffer *buffer, const char *bytes, size_t count) {
    if (!reserve(buffer, count)) return;
    memcpy(buffer->body->bytes + buffer->body->count, bytes, count);
    buffer->body->count += count;
}

void wf_buffer_puts(wf_buffer *buffer, const char *text) {
    wf_buffer_put(buffer, text, strlen(text));
}

void wf_buffer_printf(wf_buffer *buffer, const char *format, ...) {
    char text[PRINTF_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (bytes > 0) wf_buffer_put(buffer, text, (size_t)bytes < sizeof text ? (size_t)bytes : sizeof text - 1);
}

void wf_buffer_number(wf_buffer *buffer, double number) {
    char text[64];
    if (isnan(number)) {
        wf_buffer_puts(buffer, "NaN");
        return;
    }
    if (isinf(number)) {
        wf_buffer_puts(buffer, number > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (number == floor(number) && fabs(number) < 9e15) {
        wf_buffer_printf(buffer, "%lld", (long long)number);
        return;
    }
    int bytes = snprintf(text, sizeof text, "%.15g", number);
    if (strtod(text, NULL) != number) bytes = snprintf(text, sizeof text, "%.17g", number);
    /* A locale may have another sign for the point, of several bytes perhaps: all of it becomes one '.'. */
    bool inside = false;
    for (int i = 0; i < bytes; i++) {
        bool usual = strchr("0123456789+-e", text[i]) != NULL;
        if (usual || !inside) wf_buffer_put(buffer, usual ? &text[i] : ".", 1);
        inside = !usual;
    }
}

wf_body *wf_buffer_body(wf_buffer *buffer) {
    wf_body *body = buffer->body;
    if (!buffer->failed && !body && (body = calloc(1, sizeof *body)) == NULL) buffer->failed = true;
    if (buffer->failed) {
        free(body);
        body = NULL;
    }
    *buffer = (wf_buffer){0};
    return body;
}
