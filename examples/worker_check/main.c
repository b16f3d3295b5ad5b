/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays weft against a worker, and says what is wrong with it.
 *
 *     weft-worker-check [--only NAME]... [--skip NAME]... [--patience SECONDS] [--list] -- COMMAND [ARGUMENT...]
 *
 * COMMAND is a worker whose handler does what checks.h says; examples/workers has one in each language. Every check
 * starts it anew, and prints one line: `ok NAME`, or `FAIL NAME: what was expected and what came (rule N of
 * docs/worker-protocol.md)`. The last line is `N passed, N failed`. Exit status: 0: all passed; 1: not all; 2: the
 * command line is wrong.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

enum { NAMES_MAX = 64, PATIENCE_MS = 10000, HEARTBEAT_MS = 1000, MISUSED = 2 };

static const check *const lists[] = {hello_checks, work_checks, talk_checks, end_checks};

typedef struct options {
    const char *only[NAMES_MAX];
    const char *skip[NAMES_MAX];
    size_t only_count;
    size_t skip_count;
    int64_t patience_ms;
    bool lists;
    bool helps;
    char *command;
} options;

static parent one; /* what longjmp() comes back to must not be in a register */

static bool has(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static const check *find(const char *name) {
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const check *at = lists[i]; at->name; at++)
            if (strcmp(at->name, name) == 0) return at;
    return NULL;
}

static void announce_topics(parent *self) {
    static const char *const names[] = {
        [ECHO] = "echo", [FAIL] = "fail", [LOG] = "log", [SLEEP] = "sleep", [CANCEL] = "cancel", [NOTHING] = "nothing"};
    for (uint32_t i = ECHO; i <= NOTHING; i++) parent_say_text(self, WF_WIRE_TOPIC, i, names[i]);
}

static void print_said(const parent *self) {
    const char *at = self->said;
    while (*at) {
        int bytes = (int)strcspn(at, "\n");
        printf("     it said: %.*s\n", bytes, at);
        at += bytes + (at[bytes] == '\n');
    }
}

static bool run(const check *now, const options *chosen) {
    one = (parent){.command = chosen->command,
                   .patience_ms = chosen->patience_ms,
                   .heartbeat_ms = now->heartbeat_ms ? now->heartbeat_ms : HEARTBEAT_MS,
                   .death = NO_DEATH,
                   .rule = -1};
    if (setjmp(one.out) == 0) {
        parent_open(&one, now->start);
        if (!now->is_raw) {
            parent_greet(&one);
            announce_topics(&one);
        }
        now->body(&one);
        printf("ok   %s\n", now->name);
    } else if (one.rule == 0) {
        printf("FAIL %s: %s\n", now->name, one.trouble);
    } else {
        printf("FAIL %s: %s (rule %d of docs/worker-protocol.md)\n", now->name, one.trouble, one.rule);
    }
    if (one.rule >= 0) print_said(&one);
    fflush(stdout);
    parent_close(&one);
    return one.rule < 0;
}

/* Each argument in quotes for the shell; `exec` takes a program where the shell has a command of that name. What it
 * prints goes to standard error, which is read here. */
static char *join(char **arguments) {
    static const char end[] = " >/dev/stderr";
    const char *before = *arguments[0] == '-' ? "" : "exec ";
    size_t bytes = strlen(before) + sizeof end;
    for (char **argument = arguments; *argument; argument++) bytes += 4 * strlen(*argument) + 3;
    char *line = malloc(bytes), *at = line;
    if (!line) return NULL;
    at = stpcpy(line, before);
    for (char **argument = arguments; *argument; argument++) {
        *at++ = '\'';
        for (const char *c = *argument; *c; c++) {
            if (*c == '\'') {
                memcpy(at, "'\\'", 3);
                at += 3;
            }
            *at++ = *c;
        }
        *at++ = '\'';
        *at++ = ' ';
    }
    memcpy(at, end, sizeof end);
    return line;
}

static const char usage[] =
    "weft-worker-check [--only NAME]... [--skip NAME]... [--patience SECONDS] [--list] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Plays weft against a worker, COMMAND, and says what is wrong with it. --list says what is checked, --only and\n"
    "--skip choose, --patience is how long anything may take (10). What the worker's handler has to do, and the rules\n"
    "of the protocol: docs/worker-protocol.md. Exit status: 0: all passed; 1: not all; 2: the command line is wrong.\n";

static int misused(const char *what, const char *value) {
    fprintf(stderr, "weft-worker-check: %s%s\n%s", what, value, usage);
    return MISUSED;
}

static bool add_name(const char **names, size_t *count, const char *name) {
    if (!find(name) || *count == NAMES_MAX) return false;
    names[(*count)++] = name;
    return true;
}

/* 0: go on. */
static int read_options(int argc, char **argv, options *chosen) {
    static const struct option known[] = {
        {"only", required_argument, NULL, 'o'},     {"skip", required_argument, NULL, 's'},
        {"patience", required_argument, NULL, 'p'}, {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},           {0}};
    for (int option; (option = getopt_long(argc, argv, "+", known, NULL)) >= 0;) {
        char *end;
        if (option == 'o' && !add_name(chosen->only, &chosen->only_count, optarg))
            return misused("--only: there is no check ", optarg);
        if (option == 's' && !add_name(chosen->skip, &chosen->skip_count, optarg))
            return misused("--skip: there is no check ", optarg);
        if (option == 'p') {
            long seconds = strtol(optarg, &end, 10);
            if (*end || end == optarg || seconds < 1 || seconds > 3600)
                return misused("--patience: from 1 to 3600 seconds, not ", optarg);
            chosen->patience_ms = seconds * 1000;
        }
        if (option == 'l') chosen->lists = true;
        if (option == 'h') chosen->helps = true;
        if (option == '?') return misused("see above", "");
    }
    if (chosen->lists || chosen->helps) return 0;
    if (optind >= argc) return misused("which command is the worker?", "");
    chosen->command = join(argv + optind);
    return chosen->command ? 0 : misused("out of memory", "");
}

int main(int argc, char **argv) {
    static const char *const ours[] = {"WEFT_SOCKET", "WEFT_TOKEN", "WEFT_TOKEN_FILE", "WEFT_WORKER",
                                       "WEFT_PROGRESS_FD"};
    options chosen = {.patience_ms = PATIENCE_MS};
    int status = read_options(argc, argv, &chosen), passed = 0, failed = 0;
    if (status == 0 && chosen.helps) printf("%s", usage);
    if (status != 0 || chosen.helps) return status;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) unsetenv(ours[i]);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const check *now = lists[i]; now->name; now++) {
            if (chosen.only_count && !has(chosen.only, chosen.only_count, now->name)) continue;
            if (has(chosen.skip, chosen.skip_count, now->name)) continue;
            if (chosen.lists)
                printf("%-18s %s\n", now->name, now->what);
            else if (run(now, &chosen))
                passed++;
            else
                failed++;
        }
    free(chosen.command);
    if (!chosen.lists) printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
