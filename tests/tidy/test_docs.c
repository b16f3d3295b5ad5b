/* SPDX-License-Identifier: Apache-2.0
 *
 * The generated pages of docs/ are what weft-docgen prints.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(docs, .timeout = 20);

enum { PAGE_BYTES = 1 << 20 };

static size_t read_all(FILE *file, char *text) {
    cr_assert_not_null(file);
    size_t bytes = fread(text, 1, PAGE_BYTES - 1, file);
    cr_assert_lt(bytes, PAGE_BYTES - 1);
    text[bytes] = '\0';
    return bytes;
}

static void expect_current(const char *page) {
    static char printed[PAGE_BYTES], committed[PAGE_BYTES];
    char command[1024], path[1024];
    snprintf(command, sizeof command, "\"%s/bin/weft-docgen\" %s", WEFT_BUILD_DIR, page);
    snprintf(path, sizeof path, "%s/docs/%s.md", WEFT_SOURCE_DIR, page);

    FILE *generator = popen(command, "r");
    size_t printed_bytes = read_all(generator, printed);
    cr_assert_eq(pclose(generator), 0, "%s fails", command);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s is missing", path);
    read_all(file, committed);
    fclose(file);

    cr_assert_gt(printed_bytes, 1000);
    cr_assert_str_eq(committed, printed, "docs/%s.md is not what its table says: build/bin/weft-docgen %s > docs/%s.md",
                     page, page, page);
}

Test(docs, configuration__generated_page__is_current) {
    expect_current("configuration");
}

Test(docs, messages__generated_page__is_current) {
    expect_current("messages");
}

Test(docs, metrics__generated_page__is_current) {
    expect_current("metrics");
}
