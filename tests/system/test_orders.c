/* SPDX-License-Identifier: Apache-2.0
 *
 * The example application as its users run it: what it says of its options, and of mistakes in them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "must.h"
#include "program.h"

TestSuite(orders, .timeout = 55);

enum { WORDS_MAX = 20 };

/* Run it to its end; returns its exit status, and what it said on both outputs. */
static int run(const char *const *arguments, char **ret_said) {
    static char said[1 << 16];
    const char *words[WORDS_MAX] = {WEFT_BUILD_DIR "/bin/orders"};
    char *path = must_name("/tmp/weft-orders");
    for (size_t i = 0; arguments[i]; i++) {
        MUST(i + 2 < WORDS_MAX, "too many words");
        words[i + 1] = arguments[i];
    }
    int status = program_end(program_start(words, path), 0);
    FILE *file = fopen(path, "r");
    MUST(file, "it said nothing");
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    fclose(file);
    unlink(path);
    free(path);
    *ret_said = said;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(orders, help__every_option_of_the_table__with_its_default) {
    const char *const arguments[] = {"--help", NULL};
    char *said, text[400];
    cr_assert_eq(run(arguments, &said), 0);
    cr_expect_not_null(strstr(said, "usage: orders "), "%s", said);
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        snprintf(text, sizeof text, "\n%s\n    %s\n", wf_option_table[i].name, wf_option_table[i].help);
        cr_expect_not_null(strstr(said, text), "no %s in:\n%s", text, said);
    }
}

/* With a broker of its own it would fill the topic first: a hundred million records, for longer than the test may
 * take. */
Test(orders, mistakes__of_three_kinds__three_lines_at_once__nothing_starts) {
    static const char *const lines[] = {"code: threads = \"0\": must be a whole number from 1 to 10000\n",
                                        "code: no option \"max.atempts\"; did you mean max.attempts?\n",
                                        "code: kafka.fetch.min.bites = \"1\": No such configuration property"};
    static const char *const places[][5] = {{"--records", "100000000", NULL},
                                            {"--bootstrap-servers", "127.0.0.1:1", "--topic", "t", NULL}};
    for (size_t i = 0; i < 2; i++) {
        const char *arguments[WORDS_MAX] = {"--threads", "0", "--set", "max.atempts=3", "--set",
                                            "kafka.fetch.min.bites=1"};
        char *said;
        for (size_t j = 0; places[i][j]; j++) arguments[6 + j] = places[i][j];
        cr_expect_eq(run(arguments, &said), 2, "%s", said);
        for (size_t j = 0; j < 3; j++) cr_expect_not_null(strstr(said, lines[j]), "no %s in %s", lines[j], said);
        size_t found = 0;
        for (const char *at = said; *at; at++) found += strncmp(at, "\ncode: ", 7) == 0;
        cr_expect_eq(found + (strncmp(said, "code: ", 6) == 0), 3, "%s", said);
    }
}

Test(orders, settings__that_it_has_a_choice_of_its_own_for__are_the_callers) {
    const char *const quiet[] = {"--records", "100", NULL};
    const char *const chosen[] = {"--records", "100", "--set", "log.level=info", "--set",
                                  "kafka.session.timeout.ms=4000", NULL};
    char *said;
    cr_expect_eq(run(quiet, &said), 0);
    cr_expect_null(strstr(said, "level=info"), "%s", said);
    cr_expect_eq(run(chosen, &said), 0);
    cr_expect_not_null(strstr(said, "level=info"), "%s", said);
}
