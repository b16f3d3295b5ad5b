/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of the source tree that a program can check. Each rule looks at one file and writes what it finds, one line
 * each; the tests at the end run every rule over the tree, and over samples that it must find.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(tidy, .timeout = 120);

enum { COLUMNS_MAX = 120, FUNCTION_LINES_MAX = 70, FILE_LINES_MAX = 600, FINDINGS_BYTES = 1 << 16 };

typedef struct source {
    const char *path; /* below the root of the tree */
    const char *text;
    char *code; /* the same without the insides of comments, texts and characters; lines stay where they are */
} source;

/* --- findings */

static char findings[FINDINGS_BYTES];
static size_t finding_count;

static void find(const source *file, size_t line, const char *format, ...) {
    size_t used = strlen(findings);
    va_list arguments;
    va_start(arguments, format);
    int head = snprintf(findings + used, sizeof findings - used, "%s:%zu: ", file->path, line);
    used += (size_t)head < sizeof findings - used ? (size_t)head : sizeof findings - used - 1;
    vsnprintf(findings + used, sizeof findings - used, format, arguments);
    va_end(arguments);
    used = strlen(findings);
    snprintf(findings + used, sizeof findings - used, "\n");
    finding_count++;
}

/* --- text */

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *text, const char *suffix) {
    size_t text_bytes = strlen(text), suffix_bytes = strlen(suffix);
    return text_bytes >= suffix_bytes && strcmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

static bool is_c(const source *file) {
    return ends_with(file->path, ".c") || ends_with(file->path, ".h");
}

static bool is_product(const source *file) {
    return begins_with(file->path, "proto/") || begins_with(file->path, "runtime/") ||
           begins_with(file->path, "actors/");
}

static bool runs_under_criterion(const source *file) {
    static const char *const folders[] = {"unit/", "actor/", "tidy/", "system/", "kafka/", "support/"};
    if (!begins_with(file->path, "tests/")) return false;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (begins_with(file->path + 6, folders[i])) return true;
    return false;
}

static size_t line_of(const char *text, const char *at) {
    size_t line = 1;
    for (; text < at; text++) line += *text == '\n';
    return line;
}

static const char *next_line(const char *at) {
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

/* Where the token that begins at `at` ends: a comment, a text, a character, or one letter of code. */
static const char *token_end(const char *at) {
    if (begins_with(at, "//")) return at + strcspn(at, "\n");
    if (begins_with(at, "/*")) {
        const char *end = strstr(at + 2, "*/");
        return end ? end + 2 : at + strlen(at);
    }
    if (*at != '"' && *at != '\'') return at + 1;
    char quote = *at++;
    while (*at && *at != quote && *at != '\n') at += at[0] == '\\' && at[1] ? 2 : 1;
    return *at == quote ? at + 1 : at;
}

static char *code_of(const char *text) {
    char *code = strdup(text);
    for (const char *at = text; *at;) {
        const char *end = token_end(at);
        if (end > at + 1)
            for (const char *c = at; c < end; c++)
                if (*c != '\n') code[c - text] = ' ';
        at = end;
    }
    return code;
}

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* The next place in the code where `word` stands as a whole, or begins a word when it ends in '_'; NULL: none. */
static const char *find_word(const char *code, const char *from, const char *word) {
    size_t bytes = strlen(word);
    for (const char *at = from; (at = strstr(at, word)); at++)
        if ((at == code || !is_word(at[-1])) && (word[bytes - 1] == '_' || !is_word(at[bytes]))) return at;
    return NULL;
}

/* The name in an #include line, with its first delimiter; false: the line is none. */
static bool include_of(const char *line, char *ret_delimiter, char name[256]) {
    line += strspn(line, " \t");
    return *line == '#' && sscanf(line, "# include %1[\"<]%255[^\">\n]", ret_delimiter, name) == 2;
}

/* --- rules */

static void rule_line_length(const source *file) {
    if (!is_c(file)) return;
    size_t line = 1;
    for (const char *at = file->text; *at; at = next_line(at), line++) {
        size_t columns = 0;
        for (const char *c = at; *c && *c != '\n'; c++) columns += ((unsigned char)*c & 0xc0) != 0x80;
        if (columns > COLUMNS_MAX) find(file, line, "%zu columns, at most %d", columns, COLUMNS_MAX);
    }
}

/* A function's body begins on a line that ends in "{" and holds the ")" of its head, all of it in the first column; it
 * ends with a "}" in the first column. */
static bool opens_function(const char *line) {
    size_t bytes = strcspn(line, "\n");
    while (bytes > 0 && isspace((unsigned char)line[bytes - 1])) bytes--;
    if (bytes == 0 || line[bytes - 1] != '{' || *line == '#') return false;
    if (memchr(line, '=', bytes)) return false;
    return memchr(line, ')', bytes) != NULL;
}

static void rule_function_length(const source *file) {
    if (!is_c(file)) return;
    size_t line = 1, opened = 0;
    for (const char *at = file->code; *at; at = next_line(at), line++) {
        if (opened == 0 && opens_function(at)) opened = line;
        if (*at != '}') continue;
        size_t lines = line - opened + 1;
        if (opened > 0 && lines > FUNCTION_LINES_MAX)
            find(file, opened, "a function of %zu lines, at most %d", lines, FUNCTION_LINES_MAX);
        opened = 0;
    }
}

static void rule_file_length(const source *file) {
    size_t lines = line_of(file->text, file->text + strlen(file->text));
    if (is_product(file) && lines - 1 > FILE_LINES_MAX)
        find(file, lines, "%zu lines, at most %d", lines - 1, FILE_LINES_MAX);
}

static const char *const layers[] = {"proto", "runtime", "actors"};
enum { LAYERS = sizeof layers / sizeof layers[0] };

static bool exists(const char *layer, const char *folder, const char *name) {
    char path[1024];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s%s/%s", WEFT_SOURCE_DIR, layer, folder, name);
    return stat(path, &status) == 0;
}

/* The layer that has a header; LAYERS: none of them. */
static size_t layer_of_header(const char *name) {
    size_t layer = 0;
    while (layer < LAYERS && !exists(layers[layer], "", name) && !exists(layers[layer], "/include", name)) layer++;
    return layer;
}

static void rule_layers(const source *file) {
    size_t layer = 0, line = 1;
    while (layer < LAYERS && !(begins_with(file->path, layers[layer]) && file->path[strlen(layers[layer])] == '/'))
        layer++;
    if (layer == LAYERS || !is_c(file)) return;
    for (const char *at = file->text; *at; at = next_line(at), line++) {
        char delimiter[2], name[256];
        if (!include_of(at, delimiter, name) || *delimiter != '"' || ends_with(name, ".def")) continue;
        size_t included = layer_of_header(name);
        if (included == LAYERS)
            find(file, line, "%s is in no layer of the product", name);
        else if (included > layer)
            find(file, line, "%s points up, to %s", name, layers[included]);
    }
}

/* Third-party headers and the files that may have them; proto is pure C11, without I/O and threads. */
static void rule_headers(const source *file) {
    static const struct {
        const char *header, *file;
    } doors[] = {
        {"zmq", "runtime/mailbox.c"},
        {"zmq", "runtime/peers.c"},
        {"librdkafka/", "actors/kafka.c"},
        {"librdkafka/", "actors/kafka_judge.c"},
        {"librdkafka/", "actors/kafka_list.c"},
        {"librdkafka/", "actors/embedded.c"},
        {"xxhash.h", "runtime/hash.c"},
        {"xxhash.h", "proto/metadata.c"},
        {"civetweb.h", "actors/http.c"},
        {"lz4", "none"},
        {"zstd", "proto/metadata_confluent.c"},
        {"zlib", "actors/page.c"},
        {"jansson.h", "actors/status_json.c"},
    };
    static const char *const impure[] = {"pthread.h", "threads.h", "unistd.h", "fcntl.h", "poll.h", "time.h", "sys/"};
    if (!is_product(file) || !is_c(file)) return;
    size_t line = 1;
    for (const char *at = file->text; *at; at = next_line(at), line++) {
        char delimiter[2], name[256];
        if (!include_of(at, delimiter, name) || *delimiter != '<') continue;
        bool known = false, allowed = false;
        for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++) {
            if (!begins_with(name, doors[i].header)) continue;
            known = true;
            allowed |= strcmp(file->path, doors[i].file) == 0;
        }
        if (known && !allowed) find(file, line, "<%s> belongs into one file, not this one", name);
        for (size_t i = 0; i < sizeof impure / sizeof impure[0] && begins_with(file->path, "proto/"); i++)
            if (begins_with(name, impure[i])) find(file, line, "<%s> in proto, which has no I/O and no threads", name);
    }
}

static void find_words(const source *file, const char *const *words, const char *why) {
    for (; *words; words++)
        for (const char *at = file->code; (at = find_word(file->code, at, *words)); at++)
            find(file, line_of(file->code, at), "%s: %s", *words, why);
}

/* A test that ends its process with 0 has passed for Criterion, wherever it was. */
static void find_ends(const source *file) {
    static const char *const ends[] = {"exit", "_exit", "quick_exit", NULL};
    for (const char *const *end = ends; *end; end++)
        for (const char *at = file->code; (at = find_word(file->code, at, *end)); at++)
            if (at[strlen(*end)] == '(')
                find(file, line_of(file->code, at), "%s: only a program ends the process", *end);
}

static void rule_banned(const source *file) {
    static const char *const everywhere[] = {"sprintf", "vsprintf", "strcpy", "strcat", "gets", "usleep", NULL};
    static const char *const locks[] = {"pthread_mutex_", "pthread_rwlock_", "pthread_cond_", "pthread_spin_", NULL};
    static const char *const clocks[] = {"clock_gettime", "gettimeofday", "timespec_get", NULL};
    if (!is_c(file)) return;
    find_words(file, everywhere, "is not used in this tree");
    /* A child that has not become another program ends there. */
    bool forks = strcmp(file->path, "runtime/child.c") == 0 || strcmp(file->path, "tests/support/must.c") == 0;
    if (!forks && (is_product(file) || runs_under_criterion(file))) find_ends(file);
    if (!is_product(file)) return;
    find_words(file, locks, "actors share nothing, so there is nothing to lock");
    if (strcmp(file->path, "runtime/clock.c") != 0) find_words(file, clocks, "only runtime/clock.c reads a clock");
}

/* Written with a letter as a number, so that this file passes. */
static void rule_leftovers(const source *file) {
    static const char *const marks[] = {"TO\104O", "FIX\115E", NULL};
    for (const char *const *mark = marks; *mark; mark++)
        for (const char *at = file->text; (at = find_word(file->text, at, *mark)); at++)
            find(file, line_of(file->text, at), "%s: finish it, or say in a sentence what is not there", *mark);
}

static void rule_licence(const source *file) {
    const char *third = next_line(next_line(file->text));
    const char *found = strstr(file->text, "SPDX-License-Identifier: Apache-2.0");
    if (!found || found >= third) find(file, 1, "no SPDX line among the first two");
}

/* --- the tree */

typedef void rule(const source *file);

static char *read_text(const char *path) {
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, bytes + 1);
    cr_assert_eq(fread(text, 1, bytes, file), bytes, "%s", path);
    fclose(file);
    return text;
}

static void check_text(rule *check, const char *path, const char *text) {
    source file = {.path = path, .text = text, .code = code_of(text)};
    check(&file);
    free(file.code);
}

static bool is_source(const char *name) {
    return ends_with(name, ".c") || ends_with(name, ".h") || ends_with(name, ".def") || ends_with(name, ".sh") ||
           strcmp(name, "CMakeLists.txt") == 0;
}

/* Returns how many files were looked at. */
static size_t check_folder(rule *check, const char *folder) {
    char path[1024];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", WEFT_SOURCE_DIR, folder);
    DIR *entries = opendir(path);
    if (!entries) return 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "corpus") == 0) continue;
        char below[512];
        snprintf(below, sizeof below, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_DIR) count += check_folder(check, below);
        if (entry->d_type != DT_REG || !is_source(entry->d_name)) continue;
        snprintf(path, sizeof path, "%s/%s", WEFT_SOURCE_DIR, below);
        char *text = read_text(path);
        check_text(check, below, text);
        free(text);
        count++;
    }
    closedir(entries);
    return count;
}

static void check_tree(rule *check) {
    static const char *const folders[] = {"proto", "runtime", "actors", "examples", "bench", "tests"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) count += check_folder(check, folders[i]);
    cr_assert_gt(count, 30);
    cr_assert_eq(finding_count, 0, "%zu findings\n%s", finding_count, findings);
}

#define RULE_TEST(name)                                                                                                \
    Test(tidy, tree__rule_##name) {                                                                                    \
        check_tree(rule_##name);                                                                                       \
    }
RULE_TEST(line_length)
RULE_TEST(function_length)
RULE_TEST(file_length)
RULE_TEST(layers)
RULE_TEST(headers)
RULE_TEST(banned)
RULE_TEST(leftovers)
RULE_TEST(licence)

/* --- samples: what a rule must find, and what it must let pass */

static char *repeat(const char *head, const char *part, size_t times, const char *tail) {
    size_t part_bytes = strlen(part);
    char *text = calloc(1, strlen(head) + part_bytes * times + strlen(tail) + 1), *at = text;
    at = stpcpy(at, head);
    for (size_t i = 0; i < times; i++) at = stpcpy(at, part);
    stpcpy(at, tail);
    return text;
}

static void expect_findings(rule *check, const char *path, const char *text, const char *expected) {
    findings[0] = '\0';
    finding_count = 0;
    check_text(check, path, text);
    cr_assert_str_eq(findings, expected, "in %s: %s\nexpected: %s", text, findings, expected);
}

Test(tidy, samples__lengths__found_beyond_the_limit_only) {
    static const struct {
        rule *check;
        const char *path, *head, *part;
        size_t times;
        const char *tail, *expected;
    } rows[] = {
        {rule_line_length, "proto/a.c", "\n", "x", 120, "\n", ""},
        {rule_line_length, "proto/a.c", "\n", "x", 121, "\n", "proto/a.c:2: 121 columns, at most 120\n"},
        {rule_line_length, "proto/a.c", "", "\xc3\xa4", 120, "\n", ""},
        {rule_line_length, "proto/a.def", "", "x", 121, "\n", ""},
        {rule_function_length, "tests/a.c", "int f(void) {\n", "    x;\n", 68, "}\n", ""},
        {rule_function_length, "tests/a.c", "\nint f(int a,\n      int b) {\n", "    x;\n", 69, "}\n",
         "tests/a.c:3: a function of 71 lines, at most 70\n"},
        {rule_function_length, "tests/a.c", "int t[] = {f(1),\n", "    x,\n", 100, "};\n", ""},
        {rule_function_length, "tests/a.c", "struct t {\n", "    int (*x)(void);\n", 100, "};\n", ""},
        {rule_file_length, "actors/a.c", "", "x\n", 600, "", ""},
        {rule_file_length, "actors/a.c", "", "x\n", 601, "", "actors/a.c:602: 601 lines, at most 600\n"},
        {rule_file_length, "tests/a.c", "", "x\n", 601, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = repeat(rows[i].head, rows[i].part, rows[i].times, rows[i].tail);
        expect_findings(rows[i].check, rows[i].path, text, rows[i].expected);
        free(text);
    }
}

Test(tidy, samples__words_and_includes__found_where_they_count) {
    static const struct {
        rule *check;
        const char *path, *text, *expected;
    } rows[] = {
        {rule_layers, "proto/a.c", "#include \"record.h\"\n#include \"weft/record.h\"\n", ""},
        {rule_layers, "proto/a.c", "\n#include \"config.h\"\n", "proto/a.c:2: config.h points up, to runtime\n"},
        {rule_layers, "runtime/a.c", "#include \"record.h\"\n#include \"config.h\"\n", ""},
        {rule_layers, "runtime/a.c", "#include \"kafka.h\"\n", "runtime/a.c:1: kafka.h points up, to actors\n"},
        {rule_layers, "actors/a.c", "#include \"no_such.h\"\n",
         "actors/a.c:1: no_such.h is in no layer of the product\n"},
        {rule_layers, "tests/a.c", "#include \"no_such.h\"\n", ""},
        {rule_headers, "runtime/mailbox.c", "#include <zmq.h>\n", ""},
        {rule_headers, "runtime/a.c", "#include <zmq.h>\n",
         "runtime/a.c:1: <zmq.h> belongs into one file, not this one\n"},
        {rule_headers, "tests/a.c", "#include <zmq.h>\n", ""},
        {rule_headers, "proto/a.c", "# include <sys/stat.h>\n",
         "proto/a.c:1: <sys/stat.h> in proto, which has no I/O and no threads\n"},
        {rule_banned, "tests/a.c", "x = sprintf(y);\n", "tests/a.c:1: sprintf: is not used in this tree\n"},
        {rule_banned, "tests/a.c", "snprintf(y); // sprintf\n/* sprintf(\n*/ \"sprintf(\" 'g' \"\\\"gets\"\n", ""},
        {rule_banned, "tests/a.c", "pthread_mutex_lock(m);\n", ""},
        {rule_banned, "runtime/a.c", "/* \" */ pthread_mutex_lock(m);\n",
         "runtime/a.c:1: pthread_mutex_: actors share nothing, so there is nothing to lock\n"},
        {rule_banned, "runtime/clock.c", "clock_gettime(a, b);\n", ""},
        {rule_banned, "actors/a.c", "exit(0);\n", "actors/a.c:1: exit: only a program ends the process\n"},
        {rule_banned, "runtime/child.c", "_exit(127);\n", ""},
        {rule_banned, "tests/unit/a.c", "_exit(0);\n", "tests/unit/a.c:1: _exit: only a program ends the process\n"},
        {rule_banned, "tests/sim/a.c", "exit(0);\n", ""},
        {rule_banned, "runtime/a.c", "\n\nclock_gettime(a, b);\n",
         "runtime/a.c:3: clock_gettime: only runtime/clock.c reads a clock\n"},
        {rule_leftovers, "tests/a.sh", "# TO\104O later\n",
         "tests/a.sh:1: TO\104O: finish it, or say in a sentence what is not there\n"},
        {rule_leftovers, "tests/a.sh", "FIX\115EN_TO\104OS\n", ""},
        {rule_licence, "tests/a.sh", "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n", ""},
        {rule_licence, "tests/a.sh", "#!/bin/bash\n\n# SPDX-License-Identifier: Apache-2.0\n",
         "tests/a.sh:1: no SPDX line among the first two\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_findings(rows[i].check, rows[i].path, rows[i].text, rows[i].expected);
}
