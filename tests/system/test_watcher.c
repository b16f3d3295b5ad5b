/* SPDX-License-Identifier: Apache-2.0
 *
 * The example with an actor of its own: how long it watches.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"
#include "program.h"

TestSuite(watcher, .timeout = 55);

Test(watcher, seconds__that_are_no_number_or_too_many__are_refused) {
    static const char *const seconds[] = {"abc", "", "1x", "-1", "9223372036854775807", "99999999999999999999"};
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        const char *const words[] = {"timeout", "20", WEFT_BUILD_DIR "/bin/watcher", "127.0.0.1:1", "t", seconds[i],
                                     NULL};
        char *path = must_name("/tmp/weft-watcher"), said[400] = "";
        int status = program_end(program_start(words, path), 0);
        FILE *file = fopen(path, "r");
        MUST(file, "it said nothing");
        said[fread(said, 1, sizeof said - 1, file)] = '\0';
        fclose(file);
        unlink(path);
        free(path);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s: status %#x", seconds[i], (unsigned)status);
        cr_expect_not_null(strstr(said, "usage: watcher"), "%s: %s", seconds[i], said);
    }
}
