/* SPDX-License-Identifier: Apache-2.0 */
#include "shell_line.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word as the shell sees it. */
typedef struct word {
    const char *begin, *end;
    bool quoted;  /* in part */
    bool expands; /* into what only the shell knows, also into nothing or several words */
} word;

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS "0123456789"

/* Words that a shell does not look for in PATH: POSIX's, and those of dash, bash, ksh, zsh and busybox. Programs of the
 * same name (echo, kill) are run as the shell does it, too. */
static const char own_words[] =
    " . : [ alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc "
    "declare dirs disable disown do done echo elif else enable end esac eval exec exit export false fc fg fi float for "
    "foreach function functions getopts hash help hist history if in integer jobs kill let local logout mapfile "
    "namespace nameref newgrp nocorrect noglob popd print printf pushd pwd read readarray readonly repeat return "
    "select set setopt shift shopt source suspend test then time times trap true type typeset ulimit umask unalias "
    "unset unsetopt until wait whence while ";

/* `$NAME` and nothing else that begins with a dollar: the others nest. */
static bool is_variable(const char *dollar) {
    return dollar[1] && strchr(LETTERS, dollar[1]);
}

/* Behind the closing quote; NULL: there is none, or what is between them is not plain. */
static const char *skip_double_quotes(const char *at, word *ret_word) {
    for (at++; *at && *at != '"'; at++) {
        if (*at == '`' || (*at == '$' && !is_variable(at))) return NULL;
        if (*at == '$') ret_word->expands = true;
        if (*at == '\\' && *++at == '\0') return NULL;
    }
    return *at ? at + 1 : NULL;
}

/* Behind the character, or the quoted piece, of a word; NULL: it is not plain. */
static const char *skip_piece(const char *at, word *ret_word) {
    if (*at == '\'' || *at == '"' || *at == '\\') ret_word->quoted = true;
    if (*at == '\'') {
        const char *end = strchr(at + 1, '\'');
        return end ? end + 1 : NULL;
    }
    if (*at == '"') return skip_double_quotes(at, ret_word);
    if (*at == '\\') return at[1] && at[1] != '\n' ? at + 2 : NULL;
    if (strchr("~*?[]$", *at)) ret_word->expands = true;
    if (*at == '$') return is_variable(at) ? at + 1 : NULL;
    bool plain = strchr(LETTERS DIGITS "-./:,+@%=~*?[]", *at) || (unsigned char)*at >= 0x80;
    return plain ? at + 1 : NULL;
}

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

/* False: it is not plain. */
static bool read_word(const char *at, word *ret_word) {
    *ret_word = (word){.begin = at};
    while (at && !strchr(" \t", *at)) at = skip_piece(at, ret_word); /* the NUL at the end is among those */
    ret_word->end = at;
    return at != NULL;
}

static bool is_assignment(const word *self) {
    size_t name = strspn(self->begin, LETTERS DIGITS);
    return name && !strchr(DIGITS, *self->begin) && self->begin[name] == '=';
}

/* Is it a program, whatever the shell and `env` make of words in its place? */
static bool is_program(const word *self, bool behind_assignments) {
    size_t bytes = (size_t)(self->end - self->begin);
    if (bytes == 0 || self->expands || self->begin[strspn(self->begin, "'\"\\")] == '-') return false;
    if (behind_assignments && memchr(self->begin, '=', bytes)) return false;
    if (memchr(self->begin, '/', bytes)) return true;
    char name[64];
    if (self->quoted || memchr(self->begin, '=', bytes) || bytes + 3 > sizeof name) return false;
    snprintf(name, sizeof name, " %.*s ", (int)bytes, self->begin);
    return !strstr(own_words, name);
}

/* What may stand in front. The shell would make way by itself for one program only if it is a new one. Behind `exec`
 * assignments are no more, hence `env`; each then has to be what it is, since the shell treats the value of one in
 * another way than a word, and lets it refer to the one before. */
static const char *in_front(const char *command) {
    word next;
    const char *at = skip_blanks(command);
    bool assigns = false;
    for (;; at = skip_blanks(next.end), assigns = true) {
        if (!read_word(at, &next)) return "";
        if (!is_assignment(&next)) break;
        if (next.expands) return "";
    }
    if (!is_program(&next, assigns)) return "";
    while (*(at = skip_blanks(next.end)))
        if (!read_word(at, &next)) return "";
    return assigns ? "exec env " : "exec ";
}

char *wf_shell_line(const char *command) {
    const char *before = in_front(command);
    size_t bytes = strlen(before) + strlen(command) + 1;
    char *line = malloc(bytes);
    if (line) snprintf(line, bytes, "%s%s", before, command);
    return line;
}
