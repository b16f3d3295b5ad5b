/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a failing history really repeated, and made smaller? Something that histories may rightly go through is taken for
 * a failure, so that there is one without a bug in the product. Needs the program `sim` beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { TEXT_BYTES = 16384, COMMAND_BYTES = 2048 };

static char sim_path[512];
static unsigned failed, passed;

/* What the simulator prints, and its status. */
static int run(const char *arguments, char *ret_text) {
    char command[2 * COMMAND_BYTES];
    snprintf(command, sizeof command, "%s %s 2>&1", sim_path, arguments);
    FILE *output = popen(command, "r");
    if (!output) exit(2);
    size_t bytes = fread(ret_text, 1, TEXT_BYTES - 1, output);
    ret_text[bytes] = '\0';
    while (getc(output) != EOF) continue;
    int status = pclose(output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void expect(int holds, const char *what, const char *text) {
    passed += holds != 0;
    failed += holds == 0;
    if (!holds) printf("FAIL %s:\n%s\n", what, text);
}

/* The arguments behind "again: PROGRAM ", without --trace. */
static const char *again_of(const char *text) {
    static char again[COMMAND_BYTES];
    const char *line = strstr(text, "again: "), *from = line ? strchr(line + 7, ' ') : NULL;
    const char *end = from ? strstr(from, " --trace\n") : NULL;
    if (!end) return "--usage";
    snprintf(again, sizeof again, "%.*s", (int)(end - from), from);
    return again;
}

static unsigned long number_after(const char *text, const char *word) {
    const char *at = strstr(text, word);
    return at ? strtoul(at + strlen(word), NULL, 10) : 0;
}

static unsigned long steps_in(const char *text, const char *line) {
    const char *at = strstr(text, line), *colon = at ? strchr(at, ':') : NULL;
    return colon ? strtoul(colon + 1, NULL, 10) : 0;
}

static void try_sight(const char *sight) {
    static char found[TEXT_BYTES], shrunk[TEXT_BYTES], repeated[TEXT_BYTES];
    char arguments[COMMAND_BYTES + 64];
    snprintf(arguments, sizeof arguments, "--runs 2000 --wrong %s", sight);
    expect(run(arguments, found) == 1 && strstr(found, "wrong on purpose"), "a failure ends the run", found);
    unsigned long first = number_after(found, " step=");
    snprintf(arguments, sizeof arguments, "%s", again_of(found));
    expect(run(arguments, repeated) == 1 && number_after(repeated, " step=") == first, "its command repeats it",
           repeated);
    snprintf(arguments, sizeof arguments, "%s --shrink 400", again_of(found));
    expect(run(arguments, shrunk) == 1, "the failure is there when it is shrunk", shrunk);
    unsigned long before = steps_in(shrunk, "before"), after = steps_in(shrunk, "after");
    printf("%s: %lu steps, shrunk to %lu\n", sight, before, after);
    expect(before == first && after > 0 && after <= before / 2, "half of the steps or less are left", shrunk);
    snprintf(arguments, sizeof arguments, "%s", again_of(shrunk));
    expect(run(arguments, repeated) == 1 && number_after(repeated, " step=") == after &&
               strstr(repeated, "wrong on purpose"),
           "the smaller history fails in the same way", repeated);
}

int main(int count, char **arguments) {
    static char text[TEXT_BYTES];
    (void)count;
    snprintf(sim_path, sizeof sim_path, "%s", arguments[0]);
    char *name = strrchr(sim_path, '/');
    snprintf(name ? name + 1 : sim_path, 8, "sim");
    try_sight("GIVEN_UP");
    try_sight("COMMIT_TOO_LARGE");
    expect(run("--seed 1 --shrink", text) == 2, "a history that is right is not shrunk", text);
    expect(run("--seed 1 --set records=0", text) == 2, "a plan that is none is refused", text);
    expect(run("--wrong NOTHING", text) == 2, "a sight that is none is refused", text);
    printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}
