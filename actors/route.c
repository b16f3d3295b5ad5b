/* SPDX-License-Identifier: Apache-2.0 */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "negotiate.h"

/* Smaller ones are not worth it. */
enum { GZIP_FROM_BYTES = 1024 };

static const uint64_t ms = 1000000;
static const char plain[] = "text/plain; charset=utf-8";

static const char *const types[WF_FORM_COUNT] = {
    [WF_FORM_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [WF_FORM_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
    [WF_FORM_STATUS] = "application/json",
    [WF_FORM_HTML] = "text/html; charset=utf-8",
};

static wf_answer say(int status, const char *text) {
    wf_answer answer = {.status = status, .type = plain};
    snprintf(answer.text, sizeof answer.text, "%s\n", text);
    return answer;
}

static wf_answer show(const wf_request *request, const wf_sight *sight, wf_form form) {
    if (!sight->page) return say(503, "starting: there are no numbers yet");
    wf_answer answer = {.status = 200, .type = types[form]};
    answer.body = wf_page_body(sight->page, form, false);
    if (answer.body && answer.body->count >= GZIP_FROM_BYTES && wf_negotiate_gzip(request->accept_encoding)) {
        const wf_body *packed = wf_page_body(sight->page, form, true);
        if (packed) {
            answer.body = packed;
            answer.gzip = true;
        }
    }
    return answer.body ? answer : say(503, "out of memory");
}

/* How old the numbers are; an actor that does not answer lets them grow old. */
static uint64_t age_ns(const wf_sight *sight) {
    uint64_t since_ns = sight->page ? sight->page->made_ns : sight->since_ns;
    return sight->now_ns > since_ns ? sight->now_ns - since_ns : 0;
}

/* Old numbers look like new ones: a line behind the page says it. */
static void warn_of_age(wf_answer *answer, const wf_sight *sight) {
    uint64_t old_ns = age_ns(sight);
    if (answer->status != 200 || old_ns <= sight->health_ns) return;
    answer->body = wf_page_body(sight->page, WF_FORM_HTML, false);
    answer->gzip = false;
    snprintf(answer->text, sizeof answer->text,
             "<p class=\"stale\">These numbers are %llu s old: an actor does not answer, see /healthz.</p>\n",
             (unsigned long long)(old_ns / ms / 1000));
}

static wf_answer health(const wf_sight *sight) {
    if (age_ns(sight) <= sight->health_ns) return say(200, "ok");
    wf_answer answer = say(503, "");
    snprintf(answer.text, sizeof answer.text, "an actor has not answered for %llu ms (metrics.health.ms: %llu)\n",
             (unsigned long long)(age_ns(sight) / ms), (unsigned long long)(sight->health_ns / ms));
    return answer;
}

static wf_answer readiness(const wf_sight *sight) {
    if (sight->draining) return say(503, "draining: the consumer is being stopped");
    if (!sight->page) return say(503, "starting: there are no numbers yet");
    const weft_system_metrics *system = &sight->page->metrics->system;
    if (age_ns(sight) > sight->health_ns) return health(sight);
    if (!system->is_connected) return say(503, "no broker can be reached");
    if (!system->is_member) return say(503, "not a member of the group, or waiting for an assignment");
    if (system->workers == 0 && system->pool.is_held_back)
        return say(503, "no workers: those that are started end before they are ready");
    if (system->workers == 0) return say(503, "no workers");
    if (!system->pool.is_used) return say(200, "ready");
    wf_answer answer = say(200, "");
    snprintf(answer.text, sizeof answer.text, "ready: %u workers, %u are started here\n", system->workers,
             system->pool.wanted);
    return answer;
}

static wf_answer find(const wf_request *request, const wf_sight *sight) {
    const char *path = request->path;
    if (!path) return say(421, "this is no proxy, and serves the port that it listens on");
    if (strcmp(path, "/metrics") == 0) return show(request, sight, wf_negotiate_form(request->accept));
    if (strcmp(path, "/status") == 0) return show(request, sight, WF_FORM_STATUS);
    if (strcmp(path, "/") == 0) {
        wf_answer answer = show(request, sight, WF_FORM_HTML);
        warn_of_age(&answer, sight);
        return answer;
    }
    if (strcmp(path, "/healthz") == 0) return health(sight);
    if (strcmp(path, "/readyz") == 0) return readiness(sight);
    return say(404, "not here: / /metrics /status /healthz /readyz are");
}

wf_answer wf_route(const wf_request *request, const wf_sight *sight) {
    wf_answer answer = find(request, sight);
    bool head = strcmp(request->method, "HEAD") == 0;
    if (answer.status != 404 && !head && strcmp(request->method, "GET") != 0)
        answer = say(405, "only GET and HEAD");
    else if (request->has_body)
        answer = say(413, "a request here has no body");
    answer.bodiless = head;
    return answer;
}
