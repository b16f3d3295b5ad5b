/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers stand alone: the public ones as C11 and as C++17, the others as C11, each with the include paths of its layer
 * only. And what the libraries export has our prefix.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(headers, .timeout = 300);

static bool has_program(const char *name) {
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

static const char *const layers[] = {"proto", "runtime", "actors"};
enum { LAYERS = sizeof layers / sizeof layers[0] };

static const char c11[] = "cc -x c -std=c11 -Wstrict-prototypes";
static const char cxx17[] = "c++ -x c++ -std=c++17";

/* Compile a file that has nothing but the header, twice. */
static bool compiles(const char *compiler, size_t layer, const char *header) {
    char command[4096];
    int at =
        snprintf(command, sizeof command,
                 "printf '#include \"%s\"\\n#include \"%s\"\\n' | %s -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror"
                 " -fsyntax-only",
                 header, header, compiler);
    for (size_t i = 0; i <= layer; i++)
        at += snprintf(command + at, sizeof command - (size_t)at, " -I '%s/%s' -I '%s/%s/include'", WEFT_SOURCE_DIR,
                       layers[i], WEFT_SOURCE_DIR, layers[i]);
    snprintf(command + at, sizeof command - (size_t)at, " -");
    return system(command) == 0;
}

/* Every header of a folder of a layer; returns how many there are. */
static size_t check_folder(const char *compiler, size_t layer, const char *folder, const char *prefix) {
    char path[1024], header[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s%s", WEFT_SOURCE_DIR, layers[layer], folder);
    DIR *entries = opendir(path);
    if (!entries) return 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        size_t bytes = strlen(entry->d_name);
        if (bytes < 3 || strcmp(entry->d_name + bytes - 2, ".h") != 0) continue;
        snprintf(header, sizeof header, "%s%s", prefix, entry->d_name);
        cr_expect(compiles(compiler, layer, header), "%s of %s does not compile alone: %s", header, layers[layer],
                  compiler);
        count++;
    }
    closedir(entries);
    return count;
}

static void check_layers(const char *program, const char *compiler, const char *folder, const char *prefix) {
    if (!has_program(program)) cr_skip_test("no %s here", program);
    size_t count = 0;
    for (size_t layer = 0; layer < LAYERS; layer++) count += check_folder(compiler, layer, folder, prefix);
    cr_assert_geq(count, 5);
}

Test(headers, public__compile_alone_as_c11) {
    check_layers("cc", c11, "/include/weft", "weft/");
}

Test(headers, public__compile_alone_as_cxx17) {
    check_layers("c++", cxx17, "/include/weft", "weft/");
}

Test(headers, internal__compile_alone_as_c11) {
    check_layers("cc", c11, "", "");
}

/* Names that begin with "__" are the compiler's and the sanitizers'. */
Test(headers, library__global_names__have_our_prefix) {
    if (!has_program("nm")) cr_skip_test("no nm here");
    size_t count = 0;
    char command[1024], name[512];
    snprintf(command, sizeof command, "nm --defined-only --extern-only --format=posix '%s/libweft.a'", WEFT_BUILD_DIR);
    FILE *names = popen(command, "r");
    cr_assert_not_null(names);
    while (fgets(name, sizeof name, names)) {
        name[strcspn(name, " \n")] = '\0';
        size_t bytes = strlen(name);
        if (bytes == 0 || name[bytes - 1] == ':' || strncmp(name, "__", 2) == 0) continue;
        cr_expect(strncmp(name, "weft_", 5) == 0 || strncmp(name, "wf_", 3) == 0, "%s in libweft.a", name);
        count++;
    }
    cr_expect_eq(pclose(names), 0, "%s", command);
    cr_assert_gt(count, 50);
}
