/* SPDX-License-Identifier: Apache-2.0
 *
 * A consumer under test: started with settings and a handler, every call of the handler wired to a judge, stopped, and
 * measured against what its group has committed.
 *
 *     harness *under_test = harness_start(&(harness_plan){.bootstrap = ..., .topics = "t", .settings = settings});
 *     harness_expect(under_test, "t", 4);
 *     harness_await_all(under_test, 20000);
 *     harness_stop(under_test, 10000);
 *     cr_assert(harness_is_content(under_test, text, sizeof text), "%s", text);
 *     harness_free(&under_test);
 *
 * The set-up ends the test by MUST when it fails; what a test is about is returned.
 */
#ifndef SUPPORT_HARNESS_H
#define SUPPORT_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "judge.h"
#include "weft/consumer.h"

typedef struct harness harness;

/* What a test does with a record; the judge knows already that it started. A handler that defers keeps the ticket, and
 * whoever completes the record ends it with harness_complete(). */
typedef weft_result (*harness_work)(harness *under_test, const weft_record *record, judge_ticket ticket, void *context);

typedef struct harness_plan {
    const char *bootstrap;
    const char *group;           /* NULL: one of its own */
    const char *topics;          /* as in the option */
    const char *const *settings; /* pairs of weft's options, NULL at the end, or NULL */
    bool real_broker;            /* without the settings that make a consumer quick on the mock */
    bool batch;                  /* through a batch handler */
    judge_lanes lanes;
    test_judge *judge; /* NULL: one of its own; shared by the consumers of a restart or of a group */
    harness_work work; /* NULL: success at once */
    void *context;
    void (*prepare)(weft_consumer *consumer, void *context); /* between new and start; NULL: nothing */
} harness_plan;

/* Start; NULL and the status when weft_consumer_start() refuses (then *ret_error has its text, to be freed). */
harness *harness_try(const harness_plan *plan, weft_status *ret_status, char **ret_error);
harness *harness_start(const harness_plan *plan);

weft_consumer *harness_consumer(harness *under_test);
test_judge *harness_judge(harness *under_test);
const char *harness_group(const harness *under_test);

/* Everything that is in the log of these partitions now must be handled. Returns how many records that is. */
uint64_t harness_expect(harness *under_test, const char *topic, int partitions);

/* The same without expecting records: for logs with holes. The ends of these partitions must be committed in the end.
 */
void harness_watch(harness *under_test, const char *topic, int partitions);

/* Wait until that many records have ended; until all that are expected have. False: the time is over. */
bool harness_await(harness *under_test, uint64_t ended, uint64_t timeout_ms);
bool harness_await_all(harness *under_test, uint64_t timeout_ms);

/* Wait until the gauges say so, looking at them every few milliseconds. The metrics that did are in *ret_metrics (free
 * it) when that is not NULL. */
typedef bool (*harness_condition)(const weft_metrics *metrics, void *context);
bool harness_await_metrics(harness *under_test, harness_condition condition, void *context, uint64_t timeout_ms,
                           weft_metrics **ret_metrics);
/* Ready-made conditions; the context is not used. */
bool harness_is_assigned(const weft_metrics *metrics, void *context); /* something is assigned */
bool harness_is_committed(const weft_metrics *metrics,
                          void *context); /* no lag, and the frontier is committed everywhere */

/* Where the records are just now, for the text of a test that waited in vain. */
void harness_describe(harness *under_test, char *ret_text, size_t text_bytes);

/* Complete a deferred record and tell the judge, in the right order. */
weft_status harness_complete(harness *under_test, weft_token token, judge_ticket ticket, weft_result result);

weft_status harness_stop(harness *under_test, int64_t timeout_ms);

/* After stop. The judge is content, and everything that is in the partitions of harness_expect() is committed, without
 * a map. `ret_text` says what was seen. */
bool harness_is_content(harness *under_test, char *ret_text, size_t text_bytes);
/* The second half of it alone. */
bool harness_is_all_committed(harness *under_test, char *ret_text, size_t text_bytes);

void harness_free(harness **under_test);

#endif
