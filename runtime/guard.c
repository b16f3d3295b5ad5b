/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

/* A shell, because it is small and everywhere, and because a fork of a large process would keep that one's memory. It
 * ignores what a terminal or an operator sends to all of us: it is the last to go. */
static const char script[] = "trap '' HUP INT TERM QUIT\n"
                             "groups=' '\n"
                             "while read -r what group; do\n"
                             "    case $what in\n"
                             "    +) groups=\"$groups$group \" ;;\n"
                             "    -) case $groups in *\" $group \"*)\n"
                             "        groups=\"${groups%% $group *} ${groups#* $group }\" ;; esac ;;\n"
                             "    esac\n"
                             "done\n"
                             "for group in $groups; do kill -KILL -\"$group\"; done 2>/dev/null\n"
                             "case $2 in\n"
                             "made) rm -f \"$1/workers\" \"$1/token\"; rmdir \"$1\" ;;\n"
                             /* unless it is another consumer's by now, which holds the lock */
                             "kept) flock -w 1 \"$1\" rm -f \"$1/workers\" \"$1/token\" ;;\n"
                             "esac\n";

typedef struct post {
    int fd;
    const char *directory;
    const char *kind;
} post;

/* Runs in the child, in the parent's memory: system calls only. */
static void become(const void *argument) {
    const post *self = argument;
    const char *const words[] = {"weft-guard", "-c", script, "weft-guard", self->directory, self->kind, NULL};
    char *const environment[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    setsid();
    dup2(self->fd, STDIN_FILENO);
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, STDOUT_FILENO);
    if (null >= 0) dup2(null, STDERR_FILENO); /* whoever reads ours to its end must not wait for the guard */
    close_range(3, ~0U, 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve("/bin/sh", (char *const *)(uintptr_t)words, environment);
}

weft_status wf_guard_open(const char *directory, bool made, wf_guard *ret_guard) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return WEFT_ELIMIT;
    const post newborn = {fds[1], directory, *directory == '\0' ? "none" : made ? "made" : "kept"};
    pid_t pid = wf_child_birth(become, &newborn);
    int error = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        errno = error;
        return WEFT_ESYSTEM;
    }
    *ret_guard = (wf_guard){.pid = pid, .fd = fds[0]};
    return WEFT_OK;
}

void wf_guard_close(wf_guard *guard) {
    if (guard->fd < 0) return;
    kill(guard->pid, SIGKILL);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    close(guard->fd);
    *guard = (wf_guard){.fd = -1};
}

static void say(int fd, char what, pid_t group) {
    char text[24];
    size_t begin = sizeof text;
    text[--begin] = '\n';
    for (unsigned rest = (unsigned)group; rest; rest /= 10) text[--begin] = (char)('0' + rest % 10);
    text[--begin] = ' ';
    text[--begin] = what;
    send(fd, text + begin, sizeof text - begin, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void wf_guard_add(int fd, pid_t group) {
    if (fd >= 0) say(fd, '+', group);
}

void wf_guard_remove(const wf_guard *guard, pid_t group) {
    if (guard->fd >= 0) say(guard->fd, '-', group);
}
