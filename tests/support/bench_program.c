/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_program.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

enum { ARGUMENTS_MAX = 48, TEXT = 65536 };

void bench_open(bench_program *self, const char *build) {
    char program[600];
    snprintf(program, sizeof program, "%s/bin/weft-bench", build);
    self->program = strdup(program);
    snprintf(self->folder, sizeof self->folder, "/tmp/weft-test-bench.XXXXXX");
    MUST(self->program && mkdtemp(self->folder), "no folder");
    snprintf(self->output, sizeof self->output, "%s/output", self->folder);
    snprintf(self->json, sizeof self->json, "%s/results.json", self->folder);
}

void bench_close(bench_program *self) {
    unlink(self->output);
    unlink(self->json);
    rmdir(self->folder);
    free((char *)self->program);
}

static void put_blanks(char *word) {
    for (char *at; (at = strstr(word, "%B"));) {
        *at = ' ';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
}

void bench_start(bench_program *self, const char *arguments) {
    char line[2000], *rest = line, *list[ARGUMENTS_MAX] = {"weft-bench"};
    size_t count = 1;
    snprintf(line, sizeof line, "%s", arguments);
    for (char *word; (word = strsep(&rest, " "));) {
        MUST(count < ARGUMENTS_MAX - 1, "too many arguments");
        put_blanks(word);
        if (*word) list[count++] = strcmp(word, "%J") == 0 ? self->json : word;
    }
    self->pid = fork();
    MUST(self->pid >= 0, "no process");
    if (self->pid > 0) return;
    int file = open(self->output, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    execv(self->program, list);
    abort();
}

int bench_finish(bench_program *self) {
    int status;
    MUST(waitpid(self->pid, &status, 0) == self->pid, "lost");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int bench_run(bench_program *self, const char *arguments) {
    bench_start(self, arguments);
    return bench_finish(self);
}

const char *bench_text(const char *path) {
    static char text[TEXT];
    FILE *file = fopen(path, "r");
    size_t bytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[bytes] = '\0';
    if (file) fclose(file);
    return text;
}
