/* SPDX-License-Identifier: Apache-2.0 */
#include "offsets_group.h"

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 10000 };

struct committed_group {
    rd_kafka_t *client;
    rd_kafka_queue_t *answers;
    char *name;
    char state[64];
};

static void say(char error[GROUP_ERROR_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(char error[GROUP_ERROR_BYTES], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, GROUP_ERROR_BYTES, format, arguments);
    va_end(arguments);
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, char error[GROUP_ERROR_BYTES]) {
    return rd_kafka_conf_set(conf, name, value, error, GROUP_ERROR_BYTES) == RD_KAFKA_CONF_OK;
}

committed_group *group_open(const wf_options *options, char error[GROUP_ERROR_BYTES]) {
    committed_group *group = calloc(1, sizeof *group);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool done = group && set(conf, "bootstrap.servers", options->bootstrap_servers, error) &&
                set(conf, "client.id", options->client_id, error) && set(conf, "log_level", "3", error);
    for (size_t i = 0; i < options->kafka_count && done; i++)
        done = set(conf, options->kafka[i].name, options->kafka[i].value, error);
    if (done) group->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, GROUP_ERROR_BYTES);
    if (!group) say(error, "out of memory");
    if (!done || !group->client) {
        rd_kafka_conf_destroy(conf); /* only a client that is there has taken it */
        free(group);
        return NULL;
    }
    group->answers = rd_kafka_queue_new(group->client);
    group->name = strdup(options->group_id);
    return group;
}

void group_close(committed_group *group) {
    if (!group) return;
    rd_kafka_queue_destroy(group->answers);
    rd_kafka_destroy(group->client);
    free(group->name);
    free(group);
}

/* The answer to one admin request. NULL: none, or an error as a whole. */
static rd_kafka_event_t *answer(committed_group *group, char error[GROUP_ERROR_BYTES]) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(group->answers, PATIENCE_MS + 1000);
    if (!event) {
        say(error, "no answer from the brokers");
        return NULL;
    }
    if (!rd_kafka_event_error(event)) return event;
    say(error, "%s", rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return NULL;
}

static rd_kafka_AdminOptions_t *patience(committed_group *group, rd_kafka_admin_op_t operation) {
    char error[200];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(group->client, operation);
    rd_kafka_AdminOptions_set_request_timeout(options, PATIENCE_MS, error, sizeof error);
    return options;
}

/* --- members */

/* By the older call: with librdkafka 2.0.2 a client never ends once rd_kafka_DescribeConsumerGroups() has failed. A
 * group that nobody knows has no members. */
const char *group_state(committed_group *group, size_t *ret_members, char error[GROUP_ERROR_BYTES]) {
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t problem = rd_kafka_list_groups(group->client, group->name, &list, PATIENCE_MS);
    if (problem) {
        say(error, "%s", rd_kafka_err2str(problem));
        if (list) rd_kafka_group_list_destroy(list);
        return NULL;
    }
    *ret_members = 0;
    snprintf(group->state, sizeof group->state, "Dead");
    for (int i = 0; i < list->group_cnt && !problem; i++) {
        problem = list->groups[i].err;
        *ret_members = (size_t)list->groups[i].member_cnt;
        snprintf(group->state, sizeof group->state, "%s", list->groups[i].state);
    }
    rd_kafka_group_list_destroy(list);
    if (problem) say(error, "%s", rd_kafka_err2str(problem));
    return problem ? NULL : group->state;
}

/* --- reading */

static bool add_partitions(committed_group *group, const char *topic, rd_kafka_topic_partition_list_t *list,
                           char error[GROUP_ERROR_BYTES]) {
    const rd_kafka_metadata_t *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(group->client, topic, NULL);
    if (!handle) {
        say(error, "topic %s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
        return false;
    }
    rd_kafka_resp_err_t problem = rd_kafka_metadata(group->client, 0, handle, &metadata, PATIENCE_MS);
    rd_kafka_topic_destroy(handle);
    if (problem) {
        say(error, "topic %s: %s", topic, rd_kafka_err2str(problem));
        return false;
    }
    problem = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    for (int i = 0; !problem && i < metadata->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, topic, metadata->topics[0].partitions[i].id);
    rd_kafka_metadata_destroy(metadata);
    if (problem) say(error, "topic %s: %s", topic, rd_kafka_err2str(problem));
    return !problem;
}

static bool take(committed_map *map, const rd_kafka_topic_partition_t *from, char error[GROUP_ERROR_BYTES]) {
    *map = (committed_map){.partition = from->partition, .base = from->offset, .log_first = -1, .log_end = -1};
    snprintf(map->topic, sizeof map->topic, "%s", from->topic);
    if (from->err) {
        say(error, "committed offset of %s[%d]: %s", from->topic, from->partition, rd_kafka_err2str(from->err));
        return false;
    }
    if (map->base < 0) map->base = -1;
    /* librdkafka below 2.6.1 copies no further than to the first NUL. */
    map->bytes = from->metadata ? strnlen(from->metadata, from->metadata_size) : 0;
    if (map->base < 0 || map->bytes == 0) map->bytes = 0;
    if (map->bytes == 0) return true;
    map->text = calloc(1, map->bytes + 1);
    if (map->text) memcpy(map->text, from->metadata, map->bytes);
    if (!map->text) say(error, "out of memory");
    return map->text != NULL;
}

bool group_log_ends(committed_group *group, const char *topic, int32_t partition, int64_t *ret_first, int64_t *ret_end,
                    char error[GROUP_ERROR_BYTES]) {
    int64_t first, end;
    rd_kafka_resp_err_t problem =
        rd_kafka_query_watermark_offsets(group->client, topic, partition, &first, &end, PATIENCE_MS);
    if (problem) {
        say(error, "the log's ends are not known: %s", rd_kafka_err2str(problem));
        return false;
    }
    *ret_first = first;
    *ret_end = end;
    return true;
}

static void ask_log(committed_group *group, committed_map *map) {
    char error[GROUP_ERROR_BYTES];
    bool known = group_log_ends(group, map->topic, map->partition, &map->log_first, &map->log_end, error);
    map_read(map);
    if (!known && !map->remark[0]) snprintf(map->remark, sizeof map->remark, "%.190s", error);
}

static int compare_maps(const void *left, const void *right) {
    const committed_map *a = left, *b = right;
    int topics = strcmp(a->topic, b->topic);
    return topics ? topics : (a->partition > b->partition) - (a->partition < b->partition);
}

static bool take_all(committed_group *group, const rd_kafka_topic_partition_list_t *list, committed_map **ret_maps,
                     size_t *ret_count, char error[GROUP_ERROR_BYTES]) {
    size_t count = (size_t)list->cnt;
    committed_map *maps = calloc(count + 1, sizeof *maps);
    bool done = maps != NULL;
    if (!done) say(error, "out of memory");
    for (size_t i = 0; i < count && done; i++) done = take(&maps[i], &list->elems[i], error);
    if (!done) {
        for (size_t i = 0; i < count && maps; i++) map_free(&maps[i]);
        free(maps);
        return false;
    }
    for (size_t i = 0; i < count; i++) ask_log(group, &maps[i]);
    qsort(maps, count, sizeof *maps, compare_maps);
    *ret_maps = maps;
    *ret_count = count;
    return true;
}

bool group_read(committed_group *group, const char *const *topics, size_t topic_count, committed_map **ret_maps,
                size_t *ret_count, char error[GROUP_ERROR_BYTES]) {
    rd_kafka_topic_partition_list_t *list = topic_count ? rd_kafka_topic_partition_list_new(16) : NULL;
    bool done = true;
    for (size_t i = 0; i < topic_count && done; i++) done = add_partitions(group, topics[i], list, error);
    if (!done) {
        rd_kafka_topic_partition_list_destroy(list);
        return false;
    }
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(group->name, list);
    rd_kafka_AdminOptions_t *options = patience(group, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_ListConsumerGroupOffsets(group->client, &request, 1, options, group->answers);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    if (list) rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_event_t *event = answer(group, error);
    if (!event) return false;
    size_t count = 0;
    const rd_kafka_group_result_t **results =
        rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
    const rd_kafka_error_t *problem = count == 1 ? rd_kafka_group_result_error(results[0]) : NULL;
    done = count == 1 && !problem;
    if (!done) say(error, "%s", problem ? rd_kafka_error_string(problem) : "no answer about the group");
    if (done) done = take_all(group, rd_kafka_group_result_partitions(results[0]), ret_maps, ret_count, error);
    rd_kafka_event_destroy(event);
    return done;
}

/* --- writing */

static rd_kafka_topic_partition_list_t *list_of(const committed_map *maps, size_t count) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(list, maps[i].topic, maps[i].partition);
        to->offset = maps[i].base;
        if (maps[i].bytes == 0) continue;
        to->metadata = calloc(1, maps[i].bytes + 1); /* the list frees it */
        if (!to->metadata) abort();
        memcpy(to->metadata, maps[i].text, maps[i].bytes);
        to->metadata_size = maps[i].bytes;
    }
    return list;
}

bool group_write(committed_group *group, const committed_map *maps, size_t count, char error[GROUP_ERROR_BYTES]) {
    rd_kafka_topic_partition_list_t *list = list_of(maps, count);
    rd_kafka_AlterConsumerGroupOffsets_t *request = rd_kafka_AlterConsumerGroupOffsets_new(group->name, list);
    rd_kafka_AdminOptions_t *options = patience(group, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
    rd_kafka_AlterConsumerGroupOffsets(group->client, &request, 1, options, group->answers);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_event_t *event = answer(group, error);
    if (!event) return false;
    size_t results_count = 0;
    const rd_kafka_group_result_t **results = rd_kafka_AlterConsumerGroupOffsets_result_groups(
        rd_kafka_event_AlterConsumerGroupOffsets_result(event), &results_count);
    const rd_kafka_error_t *problem = results_count == 1 ? rd_kafka_group_result_error(results[0]) : NULL;
    bool done = results_count == 1 && !problem;
    if (!done) say(error, "%s", problem ? rd_kafka_error_string(problem) : "no answer about the group");
    const rd_kafka_topic_partition_list_t *written = done ? rd_kafka_group_result_partitions(results[0]) : NULL;
    for (int i = 0; written && i < written->cnt && done; i++) {
        if (!written->elems[i].err) continue;
        say(error, "commit of %s[%d]: %s", written->elems[i].topic, written->elems[i].partition,
            rd_kafka_err2str(written->elems[i].err));
        done = false;
    }
    rd_kafka_event_destroy(event);
    return done;
}
