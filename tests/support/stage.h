/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of worker processes share: a cluster with a topic of four partitions, a trail, and workers of each
 * language that write it. The cluster is a mock of the stage's own, or with WEFT_TEST_STAGE=kafka the broker that
 * WEFT_TEST_KAFKA_BOOTSTRAP names.
 */
#ifndef SUPPORT_STAGE_H
#define SUPPORT_STAGE_H

#include "harness.h"
#include "mock.h"
#include "trail.h"

enum { STAGE_PATIENCE_MS = 50000 };

typedef enum stage_language { STAGE_C = 0, STAGE_PYTHON, STAGE_PYTHON_BATCH } stage_language;

typedef struct stage {
    mock_cluster *mock; /* NULL: a real broker */
    const char *bootstrap;
    char *topic;
    trail *file;
    char path[64];     /* of the trail */
    char command[600]; /* a worker */
} stage;

/* `build`, `source`: WEFT_BUILD_DIR and WEFT_SOURCE_DIR. A record takes `work_us`. In place of the worker in C
 * stands the command WEFT_TEST_TRAIL_WORKER, where it is set: the crash tests of a language that has none here. */
void stage_open(stage *self, const char *build, const char *source, stage_language language, unsigned work_us);
void stage_close(stage *self);

#define STAGE_OPEN(self, language, work_us) stage_open(self, WEFT_BUILD_DIR, WEFT_SOURCE_DIR, language, work_us)

/* Of a consumer on the stage's topic. */
harness_plan stage_plan(const stage *self, const char *const *settings);
/* A consumer with engine = process; `more`: pairs of options, NULL at the end, or NULL. */
harness *stage_start(const stage *self, const char *const *more);

/* produce_keyed() into the topic: records of `keys` keys. */
void stage_fill(const stage *self, uint64_t records, uint64_t keys);
/* One record; the number in its key says its partition. */
void stage_put(const stage *self, const char *key, const char *value);

/* Wait until so many records are done and committed, stop, and judge the trail. False: `ret_text` says why. */
bool stage_finish(stage *self, harness *under_test, uint64_t records, trail_verdict *ret_verdict, char *ret_text,
                  size_t text_bytes);

#endif
