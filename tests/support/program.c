/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

pid_t program_start(const char *const *words, const char *output) {
    posix_spawn_file_actions_t files;
    pid_t program;
    MUST(posix_spawn_file_actions_init(&files) == 0, "no memory");
    if (output) {
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_APPEND, 0600);
        posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    }
    int error = posix_spawnp(&program, words[0], &files, NULL, (char *const *)words, environ);
    MUST(error == 0, "%s: %s", words[0], strerror(error));
    posix_spawn_file_actions_destroy(&files);
    return program;
}

int program_end(pid_t program, int signal) {
    int status;
    if (signal) kill(program, signal);
    MUST(waitpid(program, &status, 0) == program, "it was waited for already");
    return status;
}
