/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pages promise and a program can check: the C of README.md compiles against the public headers as it stands
 * there, every link between the pages leads to a file, every test that is named in a link is in the file that the
 * link names, and every scenario has its tests.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(readme, .timeout = 60);

enum { PATH_BYTES = 2048 };

static char *read_page(const char *path) {
    char full[2 * PATH_BYTES];
    snprintf(full, sizeof full, "%s/%s", WEFT_SOURCE_DIR, path);
    FILE *file = fopen(full, "r");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, bytes + 1);
    cr_assert_eq(fread(text, 1, bytes, file), bytes, "%s", path);
    fclose(file);
    return text;
}

/* --- the C in the page */

/* The next block between "```c" and "```", each alone on its line; NULL: none. */
static const char *next_block(const char *from, size_t *ret_bytes) {
    static const char opening[] = "\n```c\n";
    const char *begin = strstr(from, opening);
    if (!begin) return NULL;
    begin += sizeof opening - 1;
    const char *end = strstr(begin, "\n```\n");
    cr_assert_not_null(end, "a block of C has no end");
    *ret_bytes = (size_t)(end + 1 - begin);
    return begin;
}

static bool compiles(const char *code, size_t bytes) {
    char command[PATH_BYTES];
    snprintf(command, sizeof command,
             "cc -x c -std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror -fsyntax-only -I '%s/proto/include'"
             " -I '%s/runtime/include' -I '%s/actors/include' -",
             WEFT_SOURCE_DIR, WEFT_SOURCE_DIR, WEFT_SOURCE_DIR);
    FILE *compiler = popen(command, "w");
    cr_assert_not_null(compiler);
    size_t written = fwrite(code, 1, bytes, compiler);
    return pclose(compiler) == 0 && written == bytes;
}

Test(readme, code__as_it_stands__compiles_and_is_a_whole_program) {
    char *page = read_page("README.md");
    size_t bytes, count = 0;
    bool has_main = false;
    cr_assert_not_null(page);
    for (const char *code = page; (code = next_block(code, &bytes)); code += bytes) {
        cr_expect(compiles(code, bytes), "this does not compile:\n%.*s", (int)bytes, code);
        has_main |= memmem(code, bytes, "int main(", 9) != NULL;
        count++;
    }
    cr_expect_gt(count, 0);
    cr_expect(has_main);
    free(page);
}

Test(readme, code__with_a_mistake__does_not_compile) {
    static const char right[] = "#include <weft/consumer.h>\nint main(void) { return WEFT_OK; }\n";
    static const char wrong[] = "#include <weft/consumer.h>\nint main(void) { return weft_no_such_call(); }\n";
    cr_expect(compiles(right, sizeof right - 1));
    cr_expect_not(compiles(wrong, sizeof wrong - 1));
}

/* --- links */

typedef struct link {
    char text[256];
    char target[512]; /* without "#..." */
} link;

/* The next [text](target) of the page, `ret_end` behind it; false: none. Code blocks have none that look like it. */
static bool next_link(const char *from, const char **ret_end, link *ret_link) {
    for (const char *middle = from; (middle = strstr(middle, "](")); middle++) {
        const char *begin = middle, *end = strchr(middle, ')');
        while (begin > from && *begin != '[' && *begin != '\n') begin--;
        if (!end || *begin != '[') continue;
        const char *target = middle + 2;
        size_t target_bytes = strcspn(target, "#)");
        snprintf(ret_link->text, sizeof ret_link->text, "%.*s", (int)(middle - begin - 1), begin + 1);
        snprintf(ret_link->target, sizeof ret_link->target, "%.*s", (int)target_bytes, target);
        *ret_end = end;
        return true;
    }
    return false;
}

/* What is wrong with a link of a page; NULL: nothing. */
static const char *fault_of(const char *page, const link *each) {
    if (each->target[0] == '\0' || strstr(each->target, "://")) return NULL;
    char path[PATH_BYTES], full[2 * PATH_BYTES];
    const char *folder_end = strrchr(page, '/');
    snprintf(path, sizeof path, "%.*s%s", folder_end ? (int)(folder_end + 1 - page) : 0, page, each->target);
    snprintf(full, sizeof full, "%s/%s", WEFT_SOURCE_DIR, path);
    struct stat status;
    if (stat(full, &status) != 0) return "leads nowhere";
    size_t bytes = strlen(each->text);
    if (bytes < 3 || each->text[0] != '`' || !strstr(each->text, "__")) return NULL;
    char *text = read_page(path), name[256];
    snprintf(name, sizeof name, "%.*s", (int)(bytes - 2), each->text + 1);
    bool found = text && strstr(text, name);
    free(text);
    return found ? NULL : "names a test that is not there";
}

static size_t check_page(const char *page) {
    char *text = read_page(page);
    link each;
    size_t count = 0;
    cr_assert_not_null(text, "%s", page);
    for (const char *at = text; next_link(at, &at, &each); count++) {
        const char *fault = fault_of(page, &each);
        cr_expect_null(fault, "%s: [%s](%s) %s", page, each.text, each.target, fault ? fault : "");
    }
    free(text);
    return count;
}

static size_t check_folder(const char *folder) {
    char path[PATH_BYTES];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", WEFT_SOURCE_DIR, folder);
    DIR *entries = opendir(path);
    cr_assert_not_null(entries, "%s", path);
    for (struct dirent *entry; (entry = readdir(entries));) {
        size_t bytes = strlen(entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') count += check_folder(path);
        if (bytes > 3 && strcmp(entry->d_name + bytes - 3, ".md") == 0) count += check_page(path);
    }
    closedir(entries);
    return count;
}

Test(readme, links__every_page__lead_to_files_and_to_tests_that_exist) {
    size_t count = check_page("README.md") + check_page("AGENTS.md") + check_folder("docs");
    cr_expect_gt(count, 20);
}

/* --- the table of scenarios in docs/testing.md */

/* Every name of a test stands behind its tier, which is the folder that its link leads to. */
static bool tiers_are_right(const char *row, size_t *ret_tests) {
    static const char opening[] = "[`", middle[] = "`](../tests/";
    for (const char *at = row; (at = strstr(at, opening)); at++) {
        const char *folder = strstr(at, middle);
        if (!folder) return false;
        folder += sizeof middle - 1;
        size_t bytes = strcspn(folder, "/");
        if (at < row + bytes + 2 || strncmp(at - bytes - 2, folder, bytes) != 0 || strncmp(at - 2, ": ", 2) != 0)
            return false;
        ++*ret_tests;
    }
    return true;
}

/* What is wrong with the row of a scenario; NULL: nothing. */
static const char *fault_of_scenario(const char *text, int number) {
    char start[32], row[4096];
    snprintf(start, sizeof start, "\n| %d | ", number);
    const char *at = strstr(text, start);
    if (!at) return "has no row";
    snprintf(row, sizeof row, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
    size_t tests = 0;
    if (!tiers_are_right(row, &tests)) return "names another tier than its link";
    if (tests == 0 && !strstr(row, "[sim") && !strstr(row, "not shown")) return "names no test and no reason";
    return NULL;
}

Test(readme, scenarios__each_of_the_data_path__has_a_row_with_its_tests) {
    char *text = read_page("docs/testing.md");
    cr_assert_not_null(text);
    for (int number = 1; number <= 56; number++) {
        if (number > 34 && number < 49) continue;
        const char *fault = fault_of_scenario(text, number);
        cr_expect_null(fault, "scenario %d %s", number, fault ? fault : "");
    }
    free(text);
}

Test(readme, scenarios__samples__what_is_wrong_is_found) {
    static const char page[] = "\n| 1 | a | unit: [`x__y`](../tests/unit/test_a.c); [sim](../tests/sim/sim.c) |"
                               "\n| 2 | b | system: [`x__y`](../tests/unit/test_a.c) |"
                               "\n| 3 | c | some day |"
                               "\n| 4 | d | not shown: no reason |\n";
    cr_expect_null(fault_of_scenario(page, 1));
    cr_expect_not_null(fault_of_scenario(page, 2));
    cr_expect_not_null(fault_of_scenario(page, 3));
    cr_expect_null(fault_of_scenario(page, 4));
    cr_expect_not_null(fault_of_scenario(page, 5));
}

Test(readme, links__samples__what_is_broken_is_found) {
    static const struct {
        const char *page, *text, *target;
        bool good;
    } rows[] = {
        {"README.md", "the codec", "proto/metadata.h", true},
        {"README.md", "elsewhere", "https://kafka.apache.org/", true},
        {"README.md", "gone", "proto/no_such.h", false},
        {"docs/architecture.md", "up", "../proto/metadata.h", true},
        {"docs/architecture.md", "not from here", "proto/metadata.h", false},
        {"README.md", "`damage__any_single_character__detected`", "tests/unit/test_metadata.c", true},
        {"README.md", "`damage__no_such_thing__detected`", "tests/unit/test_metadata.c", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        link each;
        snprintf(each.text, sizeof each.text, "%s", rows[i].text);
        snprintf(each.target, sizeof each.target, "%s", rows[i].target);
        cr_expect_eq(fault_of(rows[i].page, &each) == NULL, rows[i].good, "row %zu", i);
    }
}
