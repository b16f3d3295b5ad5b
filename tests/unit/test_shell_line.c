/* SPDX-License-Identifier: Apache-2.0 */
#include "shell_line.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"
#include "require.h"

TestSuite(shell_line, .timeout = 60);

/* `show` is a program that prints how it was called, and so do those of other names. */
static const struct {
    const char *before; /* what is put there */
    const char *command;
} table[] = {
    /* one program */
    {"exec ", "show"},
    {"exec ", "  show a  b\t c "},
    {"exec ", "./show --dir=/tmp -x a=b , @% +"},
    {"exec ", "show 'it'\\''s' \"a;b\" 'a|b' a\\;b \"\" ''"},
    {"exec ", "show $HOME \"$HOME\" \"it's $A\" * ?how ~/x \"\\\"\" '\n' \xc3\xa4"},
    {"exec ", "./a=b.sh arg"},
    {"exec ", "'./a=b.sh' 'arg' "},
    {"exec ", "./my\\ show arg"},
    {"exec ", "'./-i' x"},
    {"exec ", "showing nothing"},
    {"exec env ", "A=1 show"},
    {"exec env ", "A='x y' B=\"it's\" _C= ./show $A"},
    /* assignments that `env` would make others of */
    {"", "A=$HOME show"},
    {"", "A=1 B=\"$A\" show"},
    {"", "A=~ show"},
    {"", "A=* show"},
    {"", "A=1 ./a=b.sh x"},
    {"", "A=1 -i"},
    {"", "A=1 '-i' x"},
    {"", "A=1"},
    {"", "A=1 B=2 "},
    {"", "A=1 \"\" x"},
    /* the apostrophe that quotes nothing */
    {"", "MSG=\"it's\"; export MSG; exec show x"},
    {"", "show \"it's\"; show 'x'"},
    {"", "show it\\'s; show x"},
    {"", "show 'it'\\''s'; show x"},
    /* what `env` or `exec` takes for an option */
    {"", "-i"},
    {"", "'-i' x"},
    {"", "\\-i/x"},
    {"", "\"-i\"/x"},
    /* the shell's own commands and words */
    {"", "eval \"exec show x\""},
    {"", ". ./source.sh"},
    {"", "cd /; pwd"},
    {"", "cd"},
    {"", "c\\d"},
    {"", "'exit' 3"},
    {"", "exit 3"},
    {"", "exec show x"},
    {"", "exec env A=1 show x"},
    {"", "ulimit -n 99; exec show x"},
    {"", "umask"},
    {"", "true"},
    {"", "if true; then show x; fi"},
    {"", "if"},
    {"", "{ show x; }"},
    {"", "(show x)"},
    {"", "while false; do show; done"},
    {"", "f() { show \"$@\"; }; f x"},
    {"", "! show"},
    {"", "[ -d / ]"},
    {"", ":"},
    {"", "export A=1"},
    /* lists, pipes, redirections, expansions that nest, comments */
    {"", "show x && show y"},
    {"", "show x | cat"},
    {"", "show x >&2"},
    {"", "show x > /dev/null"},
    {"", "</dev/null show x"},
    {"", "show `echo a b`"},
    {"", "show $(echo \"a'b\")"},
    {"", "show ${HOME}"},
    {"", "show \"${A:-it's}\""},
    {"", "show $# $1"},
    {"", "show x # it's"},
    {"", "show x\nshow y"},
    {"", "$NOTHING show x"},
    {"", "$PROGRAM x"},
    {"", "sho? x"},
    {"", ""},
    {"", "   "},
    {"", "''"},
    {"", "show 'x"},
    {"", "show \"x"},
    {"", "show \\"},
};

static void make_program(const char *name) {
    FILE *file = fopen(name, "w");
    MUST(file && fputs("#!/bin/sh\nprintf '%s|' \"${0##*/}\" \"$A\" \"$B\" \"$MSG\" \"$@\"\n", file) > 0 &&
             fclose(file) == 0 && chmod(name, 0700) == 0,
         "no file");
}

/* Programs in a place of their own, which is the only one in PATH that has them. */
static void make_place(char *directory) {
    static const char *const names[] = {"show", "a=b.sh", "my show", "-i", "eval", "cd", "exit", "if"};
    char path[200];
    MUST(mkdtemp(directory) && chdir(directory) == 0, "no directory");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) make_program(names[i]);
    FILE *file = fopen("source.sh", "w");
    MUST(file && fputs("exec show source\n", file) > 0 && fclose(file) == 0, "no file");
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", directory);
    setenv("PATH", path, 1);
    setenv("A", "old", 1);
    setenv("PROGRAM", "exec show", 1);
    setenv("WEFT_TOKEN", "secret", 1);
    unsetenv("NOTHING");
}

/* What /bin/sh prints for it, and its exit status. */
static void try_line(const char *line, char *text, size_t bytes) {
    int fds[2];
    MUST(pipe(fds) == 0, "no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        MUST(freopen("/dev/null", "w", stderr), "no /dev/null");
        close(fds[0]);
        close(fds[1]);
        execl("/bin/sh", "sh", "-c", line, NULL);
        abort();
    }
    close(fds[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(fds[0], text + used, bytes - 60 - used)) > 0;) used += (size_t)got;
    close(fds[0]);
    int status = 0;
    MUST(waitpid(pid, &status, 0) == pid, "no child");
    snprintf(text + used, bytes - used, "status %d", status);
}

Test(shell_line, any__in_front_of_one_program_only__means_what_it_meant) {
    char directory[] = "/tmp/weft-shell-XXXXXX", as_it_is[4000], as_made[4000], command[100];
    make_place(directory);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *line = wf_shell_line(table[i].command);
        size_t before = strlen(table[i].before);
        cr_expect(strncmp(line, table[i].before, before) == 0 && strcmp(line + before, table[i].command) == 0,
                  "<%s> became <%s>", table[i].command, line);
        try_line(table[i].command, as_it_is, sizeof as_it_is);
        try_line(line, as_made, sizeof as_made);
        cr_expect(strcmp(as_it_is, as_made) == 0, "<%s> says <%s>, <%s> says <%s>", table[i].command, as_it_is, line,
                  as_made);
        cr_expect(strstr(as_made, "secret") == NULL, "<%s> shows the environment", line);
        free(line);
    }
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    REQUIRE(system(command) == 0);
}
