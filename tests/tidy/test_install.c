/* SPDX-License-Identifier: Apache-2.0
 *
 * What `cmake --install` leaves behind is enough to build and run a program of somebody else (tests/tidy/outside), in
 * every way that is offered, and shows nothing of what is inside.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(install, .timeout = 200);

enum { TEXT = 1 << 16 };

static char prefix[64];
static char said[TEXT]; /* by the last command */

/* A shell command, with P for the prefix and O for the sources of the program outside; returns its status. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...) {
    char command[4096];
    int at = snprintf(command, sizeof command,
                      "exec 2>&1; set -e; P='%s'; O='%s/tests/tidy/outside'; unset DESTDIR CFLAGS LDFLAGS; "
                      "export PKG_CONFIG_PATH=\"$P/lib/pkgconfig\" LD_LIBRARY_PATH=\"$P/lib\"; cd \"$P\"; ",
                      prefix, WEFT_SOURCE_DIR);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command + at, sizeof command - (size_t)at, format, arguments);
    va_end(arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t bytes = fread(said, 1, sizeof said - 1, pipe);
    said[bytes] = '\0';
    return pclose(pipe);
}

static void clean(void) {
    if (*prefix) run("cd /; rm -rf \"$P\"");
}

static void install(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    if (build && strcmp(build, "test") != 0) cr_skip_test("a sanitized build is not for installation");
    snprintf(prefix, sizeof prefix, "/tmp/weft-install-XXXXXX");
    cr_assert_not_null(mkdtemp(prefix));
    cr_assert_eq(run("cmake --install '%s' --prefix \"$P\"", WEFT_BUILD_DIR), 0, "%s", said);
}

#define EXPECT_RUNS(...) cr_expect_eq(run(__VA_ARGS__), 0, "%s", said)
#define EXPECT_SAID(text) cr_expect(strstr(said, text), "no \"%s\" in:\n%s", text, said)
#define EXPECT_NOT_SAID(text) cr_expect(!strstr(said, text), "\"%s\" in:\n%s", text, said)

Test(install, tree__has_what_is_promised, .init = install, .fini = clean) {
    static const char *const files[] = {
        "lib/libweft.a",
        "lib/libweft.so",
        "lib/libweft.so.0.1.0",
        "lib/pkgconfig/weft.pc",
        "lib/pkgconfig/weft-static.pc",
        "lib/cmake/weft/weft-config.cmake",
        "include/weft/consumer.h",
        "include/weft/worker.h",
        "include/weft/metrics.h",
        "bin/weft-sidecar",
        "bin/weft-bench",
        "bin/weft-offsets",
        "bin/weft-worker-check",
        "share/weft/deploy/prometheus.yml",
        "share/weft/deploy/weft-sidecar.service",
        "share/doc/weft/operations.md",
        "share/weft/workers/python/weft.py",
        "share/doc/weft/LICENSE",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        cr_expect_eq(run("test -s %s", files[i]), 0, "%s is missing", files[i]);
    EXPECT_RUNS("bin/weft-sidecar --help");
    EXPECT_SAID("worker.command");
    EXPECT_RUNS("for program in bin/*; do \"$program\" --help >said 2>&1 || test $? -le 2; test -s said; done");
    /* Internal headers stay inside. */
    EXPECT_RUNS("test -z \"$(find . -name '*.h' -not -path './include/weft/*')\"");
}

Test(install, shared_library__exports_our_versioned_names_only, .init = install, .fini = clean) {
    EXPECT_RUNS("readelf -d lib/libweft.so");
    EXPECT_SAID("soname: [libweft.so.0.1]");
    cr_assert_eq(run("nm -D --defined-only --format=posix lib/libweft.so"), 0, "%s", said);
    size_t count = 0;
    for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, " ")] = '\0';
        if (strcmp(line, "WEFT_0.1") == 0) continue; /* the version itself */
        cr_expect(strncmp(line, "weft_", 5) == 0 && strstr(line, "@@WEFT_0.1"), "exported: %s", line);
        count++;
    }
    cr_expect_gt(count, 30);
    /* Whatever the headers declare is there. */
    EXPECT_RUNS("grep -hoE 'WEFT_EXPORT [^;(]*' include/weft/*.h | grep -oE 'weft_[a-z_]+$' | sort -u >declared;"
                "nm -D --defined-only --format=posix lib/libweft.so | sed 's/@.*//' | grep weft_ | sort -u >exported;"
                "test -s declared; diff declared exported");
}

Test(install, pkg_config__shared__program_runs, .init = install, .fini = clean) {
    EXPECT_RUNS("cc -std=c11 -Wall -Werror \"$O/program.c\" -o program $(pkg-config --cflags --libs weft); ./program");
    EXPECT_SAID("runs");
    EXPECT_RUNS("readelf -d program");
    EXPECT_SAID("[libweft.so.0.1]");
    EXPECT_NOT_SAID("[librdkafka");
}

Test(install, pkg_config__static__program_runs_without_the_library, .init = install, .fini = clean) {
    EXPECT_RUNS("cc -std=c11 \"$O/program.c\" -o program $(pkg-config --cflags --libs weft-static);"
                "rm lib/libweft.*; ./program");
    EXPECT_SAID("runs");
    EXPECT_RUNS("readelf -d program");
    EXPECT_NOT_SAID("libweft");
    /* What weft.pc says privately is what libweft.a needs, too. */
    EXPECT_RUNS("pkg-config --static --libs weft");
    EXPECT_SAID("-lcivetweb");
    EXPECT_SAID("-lrdkafka");
}

Test(install, cmake_package__from_another_place__programs_run, .init = install, .fini = clean) {
    EXPECT_RUNS("mkdir moved; mv bin include lib share moved; export LD_LIBRARY_PATH=;"
                "cmake -G Ninja -S \"$O\" -B built -DCMAKE_PREFIX_PATH=\"$P/moved\" -DCMAKE_BUILD_TYPE=Release;"
                "cmake --build built; built/with-weft; built/with-weft-static; readelf -d built/with-weft-static");
    EXPECT_SAID("runs");
    EXPECT_NOT_SAID("libweft.so");
    cr_expect_neq(run("cmake -G Ninja -S \"$O\" -B other -DCMAKE_PREFIX_PATH=/nowhere"), 0, "found where it is not");
}
