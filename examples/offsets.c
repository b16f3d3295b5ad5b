/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-offsets: what a group has committed, with the maps of finished records beyond it; those of weft, of
 * Pyrallel-Consumer and of Confluent Parallel Consumer.
 *
 *     weft-offsets show     what is committed, what of it is finished, what would run
 *     weft-offsets verify   one line for each partition: can its map be read, and does it agree with its log?
 *     weft-offsets decode   a pasted text
 *     weft-offsets convert  write the maps of a group in another format
 *     weft-offsets strip    take the maps away: everything from the committed offsets on runs again
 *
 * convert and strip only say what they would do, unless --apply stands there, and refuse while the group has members.
 * Exit status:
 *     0  done, and nothing is wrong
 *     1  the brokers can't be reached, or refused; or standard output can't be written
 *     2  command line or configuration
 *     3  something is wrong with a map, or can't be converted; the others were done
 *     4  the group has members, or nobody can say, or somebody has committed meanwhile: nothing was written
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/config.h>

#include "config.h"
#include "metadata.h"
#include "offsets_group.h"
#include "offsets_map.h"
#include "offsets_show.h"
#include "settings.h"

enum { DONE = 0, FAILED = 1, MISUSED = 2, WRONG = 3, IN_USE = 4, TOPICS_MAX = 256 };

typedef struct task {
    const char *command;
    const char *text; /* to decode */
    const char *topics[TOPICS_MAX];
    size_t topic_count;
    int64_t base; /* of the text; -1: not said */
    int64_t log_end;
    int64_t partition;         /* whose log the text is compared with; -1: not said */
    wf_metadata_format format; /* WF_METADATA_FORMATS: not said */
    bool apply;
    bool force;
    bool json;
    bool all_runs;
    bool help;
    weft_config *config;
} task;

static int complain(const char *problem, const char *about) {
    fprintf(stderr, "weft-offsets: %s%s%s\n", problem, about ? ": " : "", about ? about : "");
    return MISUSED;
}

static int usage(void) {
    puts("usage: weft-offsets show    [CONNECTION] [--topic TOPIC]... [--all] [--json]\n"
         "       weft-offsets verify  [CONNECTION] [--topic TOPIC]... [--json]\n"
         "       weft-offsets decode  --base OFFSET [--log-end OFFSET | CONNECTION --topic TOPIC --partition NUMBER]\n"
         "                            [--to FORMAT] [--all] TEXT, or --json TEXT\n"
         "       weft-offsets convert [CONNECTION] [--topic TOPIC]... --to FORMAT [--apply] [--force]\n"
         "       weft-offsets strip   [CONNECTION] [--topic TOPIC]... [--apply] [--force]\n"
         "\n"
         "CONNECTION is what weft itself is given:\n"
         "  --config FILE              a file of options: bootstrap.servers, group.id, kafka.*\n"
         "  --set option=value         one of them\n"
         "  --bootstrap-servers LIST   host:port, separated by commas\n"
         "  --group GROUP              the consumer group\n"
         "\n"
         "  --topic TOPIC      all partitions of it; without: all that the group has committed\n"
         "  --base OFFSET      the committed offset that the text came with\n"
         "  --log-end OFFSET   one past the last offset of its log\n"
         "  --partition NUMBER with --topic: the log that the text is compared with\n"
         "  --to FORMAT        native, pyrallel or confluent\n"
         "  --apply            write; without it nothing is written\n"
         "  --force            write although the group has members, or can't be asked for them; brokers may refuse\n"
         "  --all              all ranges, not only the first ones\n"
         "  --json             one JSON object\n"
         "\n"
         "exit status: 0 done and nothing wrong, 1 brokers or output, 2 command line,\n"
         "             3 a map is wrong or was left as it is,\n"
         "             4 the group has members, or had a moment ago: nothing was written");
    return DONE;
}

/* --- command line */

static bool read_offset(const char *text, int64_t *ret_offset) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0) return false;
    *ret_offset = value;
    return true;
}

static bool read_format(const char *text, wf_metadata_format *ret_format) {
    for (unsigned i = 0; i < WF_METADATA_FORMATS; i++) {
        if (strcmp(wf_metadata_codec_of((wf_metadata_format)i)->name, text) != 0) continue;
        *ret_format = (wf_metadata_format)i;
        return true;
    }
    return false;
}

/* A topic that is named twice is one. */
static const char *take_topic(task *job, const char *topic) {
    if (*topic == '^' || strchr(topic, ',')) return "--topic: the name of one topic; it may be repeated";
    for (size_t i = 0; i < job->topic_count; i++)
        if (strcmp(job->topics[i], topic) == 0) return NULL;
    if (job->topic_count == TOPICS_MAX) return "--topic: at most 256 of them";
    job->topics[job->topic_count++] = topic;
    return NULL;
}

/* NULL: fine; else the problem. */
static const char *take_option(task *job, int option, char *value) {
    switch (option) {
    case 'c':
        weft_config_load_file(job->config, value);
        return NULL;
    case 's':
        return settings_set(job->config, value) ? NULL : "--set: option=value";
    case 'b':
        weft_config_set(job->config, "bootstrap.servers", value);
        return NULL;
    case 'g':
        weft_config_set(job->config, "group.id", value);
        return NULL;
    case 't':
        return take_topic(job, value);
    case 'o':
        return read_offset(value, &job->base) ? NULL : "--base: an offset, 0 or more";
    case 'e':
        return read_offset(value, &job->log_end) ? NULL : "--log-end: an offset, 0 or more";
    case 'p':
        return read_offset(value, &job->partition) && job->partition <= INT32_MAX ? NULL
                                                                                  : "--partition: a number from 0";
    case 'f':
        return read_format(value, &job->format) ? NULL : "--to: native, pyrallel or confluent";
    case 'y':
        job->apply = true;
        return NULL;
    case 'F':
        job->force = true;
        return NULL;
    case 'j':
        job->json = true;
        return NULL;
    case 'a':
        job->all_runs = true;
        return NULL;
    case 'h':
        job->help = true;
        return NULL;
    default:
        return "unknown option, or one without its value";
    }
}

static const char *parse(task *job, int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"set", required_argument, NULL, 's'},
                                            {"group", required_argument, NULL, 'g'},
                                            {"bootstrap-servers", required_argument, NULL, 'b'},
                                            {"topic", required_argument, NULL, 't'},
                                            {"base", required_argument, NULL, 'o'},
                                            {"partition", required_argument, NULL, 'p'},
                                            {"log-end", required_argument, NULL, 'e'},
                                            {"to", required_argument, NULL, 'f'},
                                            {"apply", no_argument, NULL, 'y'},
                                            {"force", no_argument, NULL, 'F'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *problem = NULL;
    int option;
    while (!problem && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        problem = take_option(job, option, optarg);
    if (problem || job->help) return problem;
    if (optind == argc) return "no command; see --help";
    job->command = argv[optind++];
    if (strcmp(job->command, "decode") == 0 && optind < argc) job->text = argv[optind++];
    return optind < argc ? "more arguments than the command takes" : NULL;
}

/* The connection that the command line and the rest of the configuration describe. */
static int resolve(task *job, wf_options *ret_options) {
    if (job->topic_count == 0 && !*weft_config_get(job->config, "topics"))
        weft_config_set(job->config, "topics", "^.*"); /* not used, but a consumer must have some */
    bool is_sound = job->topic_count > 0 || settings_are_sound(job->config);
    for (size_t i = 0; i < job->topic_count && is_sound; i++) {
        weft_config_set(job->config, "topics", job->topics[i]);
        is_sound = settings_are_sound(job->config);
    }
    if (!*weft_config_get(job->config, "bootstrap.servers"))
        return complain("--bootstrap-servers is missing", "or bootstrap.servers in --config");
    return is_sound && wf_config_resolve(job->config, ret_options) == WEFT_OK ? DONE : MISUSED;
}

/* --- a pasted text */

static int print_converted(const committed_map *map, wf_metadata_format format) {
    static char text[WF_METADATA_BYTES_MAX];
    const char *name = wf_metadata_codec_of(format)->name;
    size_t bytes;
    weft_status status = map_convert(map, format, WF_METADATA_BYTES_MAX, text, &bytes);
    if (status != WEFT_OK) {
        fprintf(stderr, "weft-offsets: not converted: %s\n",
                status == WEFT_ERANGE ? "it does not fit into what that format allows" : "there is no map to convert");
        return WRONG;
    }
    printf("  as %s, %zu bytes:\n%.*s\n", name, bytes, (int)bytes, text);
    return DONE;
}

/* Where the log of the text begins and ends, from the brokers. */
static int look_at_log(task *job, committed_map *map) {
    char error[GROUP_ERROR_BYTES];
    wf_options options;
    if (job->topic_count != 1 || job->partition < 0)
        return complain("decode: --topic and --partition belong together, one of each", NULL);
    int status = resolve(job, &options);
    if (status != DONE) return status;
    map->partition = (int32_t)job->partition;
    snprintf(map->topic, sizeof map->topic, "%s", job->topics[0]);
    committed_group *group = group_open(&options, error);
    if (!group || !group_log_ends(group, map->topic, map->partition, &map->log_first, &map->log_end, error)) {
        fprintf(stderr, "weft-offsets: %s[%" PRId32 "]: %s\n", map->topic, map->partition, error);
        status = FAILED;
    }
    group_close(group);
    wf_options_free(&options);
    return status;
}

static int decode(task *job) {
    if (!job->text) return complain("decode: TEXT is missing", NULL);
    if (job->base < 0) return complain("decode: --base is missing: a map belongs to its committed offset", NULL);
    if (job->apply || job->force) return complain("--apply and --force are for convert and strip", NULL);
    if (job->json && job->format != WF_METADATA_FORMATS) return complain("decode: --json or --to, not both", NULL);
    if (job->log_end >= 0 && (job->topic_count > 0 || job->partition >= 0))
        return complain("decode: --log-end, or --topic and --partition, not both", NULL);
    committed_map map = {.base = job->base, .log_first = job->log_end < 0 ? -1 : 0, .log_end = job->log_end};
    if (job->topic_count > 0 || job->partition >= 0) {
        int looked = look_at_log(job, &map);
        if (looked != DONE) return looked;
    }
    map.bytes = strlen(job->text);
    map.text = strdup(job->text);
    if (!map.text) return complain("out of memory", NULL);
    map_read(&map);
    int status = map.wrong ? WRONG : DONE;
    if (job->json)
        show_json(NULL, NULL, &map, 1);
    else
        show_map(&map, job->all_runs);
    if (job->format != WF_METADATA_FORMATS && status == DONE) status = print_converted(&map, job->format);
    map_free(&map);
    return status;
}

/* --- a group */

static int show(const task *job, committed_group *group, const char *name, const committed_map *maps, size_t count) {
    char error[GROUP_ERROR_BYTES];
    size_t members = 0;
    bool verify = strcmp(job->command, "verify") == 0, wrong = false;
    const char *state = group_state(group, &members, error);
    for (size_t i = 0; i < count; i++) wrong = wrong || maps[i].wrong;
    if (job->json) {
        show_json(name, state, maps, count);
        return verify && wrong ? WRONG : DONE;
    }
    if (state)
        printf("group %s: %s, %zu members\n", name, state, members);
    else
        printf("group %s: members not known: %s\n", name, error);
    for (size_t i = 0; i < count; i++) {
        if (verify)
            show_verdict(&maps[i]);
        else
            show_map(&maps[i], job->all_runs);
    }
    if (count == 0) printf("nothing is committed\n");
    return verify && wrong ? WRONG : DONE;
}

static int refuse(const char *why, const char *detail) {
    fprintf(stderr, "weft-offsets: %s%s: nothing is written; stop the group first, or say --force\n", why, detail);
    return IN_USE;
}

/* May something be written? Commits of members and ours would undo each other. */
static int look_for_members(const task *job, committed_group *group) {
    char error[GROUP_ERROR_BYTES], detail[GROUP_ERROR_BYTES + 4];
    size_t members = 0;
    const char *state = group_state(group, &members, error);
    if (job->force) return DONE;
    snprintf(detail, sizeof detail, " (%s)", state ? state : error);
    if (!state) return refuse("the brokers can't say whether the group has members", detail);
    return members > 0 ? refuse("the group has members", detail) : DONE;
}

/* What becomes of one partition: true with the new map in *ret_new, false when it stays as it is (*ret_left: although
 * it should not). */
static bool plan(const task *job, const committed_map *map, size_t max_bytes, committed_map *ret_new, bool *ret_left) {
    static char text[WF_METADATA_BYTES_MAX];
    char from[100], to[100];
    size_t bytes = 0;
    bool strip = job->format == WF_METADATA_FORMATS;
    if (map->base < 0 || map->bytes == 0 ||
        (!strip && map->state == MAP_READ && !map->wrong && map->format == job->format))
        return false;
    show_format(map, from, sizeof from);
    weft_status status = strip ? WEFT_OK : map_convert(map, job->format, max_bytes, text, &bytes);
    if (status != WEFT_OK) {
        printf("%s[%" PRId32 "]  left as it is: %s\n", map->topic, map->partition,
               status == WEFT_ERANGE ? "its map does not fit into that format" : map->remark);
        *ret_left = true;
        return false;
    }
    *ret_new = *map;
    ret_new->runs = NULL;
    ret_new->count = 0;
    ret_new->complete = 0;
    ret_new->bytes = bytes;
    ret_new->text = bytes ? strndup(text, bytes) : NULL;
    map_read(ret_new);
    show_format(ret_new, to, sizeof to);
    printf("%s[%" PRId32 "]  committed %" PRId64 "  %s -> %s\n", map->topic, map->partition, map->base, from, to);
    return true;
}

/* Read again: how many of these commits are there as they are here? */
static bool count_same(const task *job, committed_group *group, const committed_map *wanted, size_t wanted_count,
                       size_t *ret_same, char error[GROUP_ERROR_BYTES]) {
    committed_map *maps;
    size_t count;
    *ret_same = 0;
    if (!group_read(group, job->topics, job->topic_count, &maps, &count, error)) return false;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < wanted_count; j++) {
            const committed_map *a = &maps[i], *b = &wanted[j];
            if (strcmp(a->topic, b->topic) == 0 && a->partition == b->partition)
                *ret_same += a->base == b->base && a->bytes == b->bytes &&
                             (a->bytes == 0 || !memcmp(a->text, b->text, a->bytes));
        }
        map_free(&maps[i]);
    }
    free(maps);
    return true;
}

/* What was read is written back with other maps: a commit that came since would be lost, the last one of a member that
 * is gone by now, for example. DONE: there is none. */
static int look_for_commits(const task *job, committed_group *group, const committed_map *maps, size_t count) {
    char error[GROUP_ERROR_BYTES];
    size_t same;
    if (!count_same(job, group, maps, count, &same, error)) {
        fprintf(stderr, "weft-offsets: %s\n", error);
        return FAILED;
    }
    if (same == count) return DONE;
    fprintf(stderr, "weft-offsets: somebody has committed since the maps were read: nothing is written\n");
    return IN_USE;
}

static int write_and_look(const task *job, committed_group *group, const committed_map *wanted, size_t count) {
    char error[GROUP_ERROR_BYTES];
    size_t same = count;
    bool written = group_write(group, wanted, count, error) && count_same(job, group, wanted, count, &same, error);
    if (written && same == count) {
        printf("%zu commits written\n", count);
        return DONE;
    }
    if (written)
        fprintf(stderr, "weft-offsets: %zu of %zu commits are not as they were written: somebody else commits\n",
                count - same, count);
    else
        fprintf(stderr, "weft-offsets: %s\n", error);
    return FAILED;
}

static int change(const task *job, committed_group *group, const committed_map *maps, size_t count, size_t max_bytes) {
    committed_map *changed = calloc(count + 1, sizeof *changed);
    size_t changes = 0;
    bool left = false;
    if (!changed) return complain("out of memory", NULL);
    int status = look_for_members(job, group);
    for (size_t i = 0; i < count && status == DONE; i++)
        changes += plan(job, &maps[i], max_bytes, &changed[changes], &left);
    if (status == DONE && !job->apply) printf("dry run: %zu commits would be written; --apply writes them\n", changes);
    if (status == DONE && job->apply && changes == 0) printf("nothing to write\n");
    if (status == DONE && job->apply && changes > 0) {
        status = look_for_commits(job, group, maps, count);
        if (status == DONE) status = write_and_look(job, group, changed, changes);
    }
    if (status == DONE && left) status = WRONG;
    for (size_t i = 0; i < changes; i++) map_free(&changed[i]);
    free(changed);
    return status;
}

static int work_on_group(const task *job, const wf_options *options) {
    char error[GROUP_ERROR_BYTES];
    committed_map *maps = NULL;
    size_t count = 0;
    int status = FAILED;
    committed_group *group = group_open(options, error);
    if (!group || !group_read(group, job->topics, job->topic_count, &maps, &count, error))
        fprintf(stderr, "weft-offsets: group %s: %s\n", options->group_id, error);
    else if (strcmp(job->command, "show") == 0 || strcmp(job->command, "verify") == 0)
        status = show(job, group, options->group_id, maps, count);
    else
        status = change(job, group, maps, count, (size_t)options->metadata_max_bytes);
    for (size_t i = 0; i < count; i++) map_free(&maps[i]);
    free(maps);
    group_close(group);
    return status;
}

/* --- */

static int with_options(task *job) {
    static const char *const commands[] = {"show", "verify", "convert", "strip"};
    size_t known = 0;
    while (known < 4 && strcmp(job->command, commands[known]) != 0) known++;
    bool convert = known == 2;
    if (known == 4) return complain("no such command", job->command);
    if (convert && job->format == WF_METADATA_FORMATS) return complain("convert: --to is missing", NULL);
    if (!convert && job->format != WF_METADATA_FORMATS) return complain("--to is for convert and decode", NULL);
    if (known < 2 && (job->apply || job->force)) return complain("--apply and --force are for convert and strip", NULL);
    if (known > 1 && job->json) return complain("--json is for show, verify and decode", NULL);
    if (known > 0 && job->all_runs) return complain("--all is for show and decode", NULL);
    if (job->partition >= 0) return complain("--partition is for decode", NULL);
    if (job->base >= 0 || job->log_end >= 0) return complain("--base and --log-end are for decode", NULL);
    wf_options options;
    int status = resolve(job, &options);
    if (status != DONE) return status;
    status = work_on_group(job, &options);
    wf_options_free(&options);
    return status;
}

int main(int argc, char **argv) {
    task job = {.base = -1, .log_end = -1, .partition = -1, .format = WF_METADATA_FORMATS};
    if (weft_config_new(&job.config) != WEFT_OK) return FAILED;
    weft_config_load_environment(job.config);
    const char *problem = parse(&job, argc, argv);
    int status;
    if (problem)
        status = complain(problem, NULL);
    else if (job.help)
        status = usage();
    else
        status = strcmp(job.command, "decode") == 0 ? decode(&job) : with_options(&job);
    weft_config_free(&job.config);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fputs("weft-offsets: standard output can't be written\n", stderr);
    return status == DONE || status == WRONG ? FAILED : status;
}
