/* SPDX-License-Identifier: Apache-2.0
 *
 * librdkafka alone. The raw loops only count: they are the limit that everything else is compared with; each assigns
 * all partitions from the beginning, without a group. The baseline is the consumer that everybody writes first: a
 * member of a group, one record at a time, the work in between, a commit each second.
 *
 * "Tuned" is a queue of a million records: with the default of 100,000 librdkafka 2.0.2 stops fetching for up to a
 * second whenever its queue has once been full, which a loop that is a little slower than the broker runs into.
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "topic.h"

enum { BATCH = 512, WAIT_MS = 100, LOOK_EACH = 4096, COMMIT_MS = 1000 };

typedef struct raw_loop {
    bench_run *run;
    rd_kafka_t *client;
    rd_kafka_queue_t *queue; /* where records come from, NULL: the consumer's own */
    int64_t next[PARTITIONS_MAX];
    uint64_t done;
    unsigned in_call; /* records of this call of the callback loop */
    bool headers;     /* look whether a record has any */
} raw_loop;

static bool set(bench_run *run, rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) == RD_KAFKA_CONF_OK) return true;
    run_fail(run, "librdkafka: %s", error);
    return false;
}

static rd_kafka_t *open_client(bench_run *run, bool tuned) {
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool fine = set(run, conf, "bootstrap.servers", run->bootstrap) && set(run, conf, "group.id", run->group) &&
                set(run, conf, "enable.auto.commit", "false") && set(run, conf, "auto.offset.reset", "earliest") &&
                set(run, conf, "log_level", "3");
    if (fine && tuned)
        fine =
            set(run, conf, "queued.min.messages", "1000000") && set(run, conf, "queued.max.messages.kbytes", "1048576");
    if (fine && run->is_embedded) /* its answers are as late as these allow */
        fine = set(run, conf, "fetch.wait.max.ms", "10") && set(run, conf, "session.timeout.ms", "6000") &&
               set(run, conf, "heartbeat.interval.ms", "200");
    rd_kafka_t *client = fine ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error) : NULL;
    if (!client) {
        if (fine) run_fail(run, "librdkafka: %s", error);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_poll_set_consumer(client);
    return client;
}

/* Before anything is fetched, lead all partitions into a queue of our own where one is wanted. */
static bool assign(raw_loop *self, bool own_queue) {
    const bench_topic *topic = self->run->topic;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(topic->partitions);
    if (own_queue) self->queue = rd_kafka_queue_new(self->client);
    for (int32_t i = 0; i < topic->partitions; i++) {
        rd_kafka_topic_partition_list_add(list, topic->name, i)->offset = 0;
        if (!own_queue) continue;
        rd_kafka_queue_t *partition = rd_kafka_queue_get_partition(self->client, topic->name, i);
        rd_kafka_queue_forward(partition, self->queue);
        rd_kafka_queue_destroy(partition);
    }
    rd_kafka_resp_err_t error = rd_kafka_assign(self->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error) run_fail(self->run, "assign: %s", rd_kafka_err2str(error));
    return !error;
}

static record_stamp stamp_of(const rd_kafka_message_t *message) {
    record_stamp stamp = {0};
    if (message->payload && message->len >= sizeof stamp) memcpy(&stamp, message->payload, sizeof stamp);
    return stamp;
}

/* Errors that librdkafka gets over by itself are not ours. */
static bool is_record(bench_run *run, rd_kafka_t *client, const rd_kafka_message_t *message) {
    char text[256];
    if (!message->err) return true;
    if (rd_kafka_fatal_error(client, text, sizeof text) != RD_KAFKA_RESP_ERR_NO_ERROR)
        run_fail(run, "librdkafka: %s", text);
    return false;
}

static void count(raw_loop *self, const rd_kafka_message_t *message) {
    bench_run *run = self->run;
    if (!is_record(run, self->client, message)) return;
    if (self->done == 0) run_first(run, now_ns());
    if (self->next[message->partition] != message->offset)
        run_fail(run, "partition %d offset %lld came when %lld should", (int)message->partition,
                 (long long)message->offset, (long long)self->next[message->partition]);
    self->next[message->partition] = message->offset + 1;
    self->done++;
    rd_kafka_headers_t *headers;
    if (self->headers && rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR__NOENT)
        run_fail(run, "a record has headers");
    if (run->options->rate > 0) run_note_end_to_end(run, stamp_of(message).index, now_ns());
}

static bool goes_on(raw_loop *self, bool looks) {
    bench_run *run = self->run;
    if (self->done >= run->data->records || *run->error) return false;
    if (looks && !run_watch(run, self->done)) return false;
    if (looks && run_wants_progress(run)) run_progress(run, (int64_t)(run->data->records - self->done), 0);
    return true;
}

static void loop_poll(raw_loop *self) {
    uint64_t polls = 0;
    for (rd_kafka_message_t *message = NULL; goes_on(self, !message || polls % LOOK_EACH == 0); polls++) {
        message = rd_kafka_consumer_poll(self->client, WAIT_MS);
        if (!message) continue;
        count(self, message);
        rd_kafka_message_destroy(message);
    }
}

static void loop_batch(raw_loop *self) {
    rd_kafka_message_t *messages[BATCH];
    self->queue = rd_kafka_queue_get_consumer(self->client);
    while (goes_on(self, true)) {
        ssize_t got = rd_kafka_consume_batch_queue(self->queue, WAIT_MS, messages, BATCH);
        for (ssize_t i = 0; i < got; i++) {
            count(self, messages[i]);
            rd_kafka_message_destroy(messages[i]);
        }
    }
}

static void on_message(rd_kafka_message_t *message, void *context) {
    raw_loop *self = context;
    count(self, message);
    if (++self->in_call >= BATCH || self->done >= self->run->data->records) rd_kafka_yield(self->client);
}

static void loop_callback(raw_loop *self) {
    while (goes_on(self, true)) {
        self->in_call = 0;
        rd_kafka_consume_callback_queue(self->queue, WAIT_MS, on_message, self);
        rd_kafka_message_t *event = rd_kafka_consumer_poll(self->client, 0);
        if (event) rd_kafka_message_destroy(event);
    }
}

void run_raw(bench_run *run) {
    raw_loop *self = calloc(1, sizeof *self);
    bench_mode mode = run->cell->mode;
    if (!self) return;
    self->run = run;
    self->headers = mode == MODE_RAW_POLL_HEADERS;
    self->client = open_client(run, mode != MODE_RAW_POLL_DEFAULTS);
    bool fine = self->client && assign(self, mode == MODE_RAW_CALLBACK);
    if (fine && run->options->rate > 0) fine = run_let_produce(run);
    if (fine && mode == MODE_RAW_CALLBACK)
        loop_callback(self);
    else if (fine && mode == MODE_RAW_BATCH)
        loop_batch(self);
    else if (fine)
        loop_poll(self);
    if (fine) run_watch(run, self->done);
    if (!*run->error) {
        run_last(run, now_ns());
        run->final_lag = 0;
    }
    if (self->queue) rd_kafka_queue_destroy(self->queue);
    if (self->client) {
        rd_kafka_consumer_close(self->client);
        rd_kafka_destroy(self->client);
    }
    free(self);
}

/* --- the baseline */

static void handle(bench_run *run, judge_tally *tally, const rd_kafka_message_t *message) {
    record_stamp stamp = stamp_of(message);
    uint64_t begin_ns = now_ns();
    if (!tally->records) run_first(run, begin_ns);
    judge_begin(run->judge, message->partition, message->offset, &stamp);
    judge_tally_add(tally, message->partition, message->offset);
    work_do(&run->cell->work, message->payload, message->len);
    uint64_t end_ns = now_ns();
    times_add(&run->latency, end_ns - begin_ns);
    run_note_end_to_end(run, stamp.index, end_ns);
}

static void consume(bench_run *run, rd_kafka_t *client, judge_tally *tally) {
    uint64_t commit_ns = now_ns(), look_ns = commit_ns;
    for (uint64_t done = 0; done < run->data->records && !*run->error;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, WAIT_MS);
        uint64_t at_ns = now_ns();
        if (message && is_record(run, client, message)) {
            handle(run, tally, message);
            done++;
        }
        if (message) rd_kafka_message_destroy(message);
        if (at_ns - look_ns > 2000000 || !message) {
            run_watch(run, done);
            look_ns = at_ns;
            if (run_wants_progress(run)) run_progress(run, (int64_t)(run->data->records - done), 0);
        }
        if (at_ns - commit_ns > COMMIT_MS * 1000000u) {
            rd_kafka_commit(client, NULL, 1);
            commit_ns = at_ns;
        }
        if (done == run->data->records) run_watch(run, done);
    }
}

/* In the group, with all partitions. */
static bool join(bench_run *run, rd_kafka_t *client) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    int assigned = 0;
    rd_kafka_topic_partition_list_add(list, run->topic->name, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error) run_fail(run, "subscribe: %s", rd_kafka_err2str(error));
    while (run->options->rate > 0 && assigned < run->topic->partitions && run_watch(run, 0)) {
        rd_kafka_message_t *event = rd_kafka_consumer_poll(client, WAIT_MS); /* the topic is empty */
        if (event) rd_kafka_message_destroy(event);
        if (rd_kafka_assignment(client, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        assigned = list->cnt;
        rd_kafka_topic_partition_list_destroy(list);
    }
    return !*run->error;
}

void run_baseline(bench_run *run) {
    judge_tally *tally = aligned_alloc(64, sizeof *tally);
    rd_kafka_t *client = open_client(run, false);
    char text[600];
    if (tally) memset(tally, 0, sizeof *tally);
    bool fine = tally && client && join(run, client);
    if (fine && run->options->rate > 0) fine = run_let_produce(run);
    if (fine) consume(run, client, tally);
    if (fine && !*run->error) run_last(run, now_ns());
    if (fine && !*run->error) {
        rd_kafka_resp_err_t error = rd_kafka_commit(client, NULL, 0);
        if (error) run_fail(run, "commit: %s", rd_kafka_err2str(error));
    }
    if (client) {
        rd_kafka_consumer_close(client);
        rd_kafka_destroy(client);
    }
    if (fine && !judge_verdict(run->judge, tally, 1, text, sizeof text)) run_fail(run, "%s", text);
    if (!*run->error) run_check_committed(run);
    free(tally);
}
