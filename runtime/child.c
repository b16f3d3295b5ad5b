/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "guard.h"
#include "shell_line.h"

extern char **environ;

enum { BURY_MS = 2000 };

/* Ours, where none of the same name is added, and what is added. malloc'ed; the texts are not copied. */
static char **merge_environment(const char *const *added) {
    size_t ours = 0, more = 0;
    while (environ[ours]) ours++;
    while (added[more]) more++;
    char **merged = malloc((ours + more + 1) * sizeof *merged);
    if (!merged) return NULL;
    size_t count = 0;
    for (size_t i = 0; i < ours; i++) {
        size_t name = strcspn(environ[i], "=") + 1, k = 0;
        while (k < more && strncmp(added[k], environ[i], name) != 0) k++;
        if (k == more) merged[count++] = environ[i];
    }
    for (size_t i = 0; i < more; i++) merged[count++] = (char *)(uintptr_t)added[i];
    merged[count] = NULL;
    return merged;
}

typedef struct birth {
    const wf_child_options *options;
    char **environment;
    char *arguments[4];
    int stderr_fd;
    pid_t parent;
} birth;

/* Runs in the child, in the parent's memory, which waits: system calls only, and nothing is left changed. */
static void become(const void *argument) {
    const birth *self = argument;
    const wf_child_options *options = self->options;
    sigset_t none;
    sigemptyset(&none);
    for (int signal = 1; signal < NSIG; signal++) { /* ignored ones would stay so */
        struct sigaction action = {.sa_handler = SIG_DFL};
        if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &action, NULL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    wf_guard_add(options->guard_fd, getpid());
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self->parent) return; /* it died meanwhile */
    if (options->memory_max_bytes) {
        struct rlimit limit = {options->memory_max_bytes, options->memory_max_bytes};
        setrlimit(RLIMIT_AS, &limit);
    }
    struct rlimit files;
    if (options->files_max && getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = options->files_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (options->niceness) setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + options->niceness);
    if (self->stderr_fd == STDERR_FILENO) /* ours was closed */
        fcntl(STDERR_FILENO, F_SETFD, 0);
    else
        dup2(self->stderr_fd, STDERR_FILENO);
    if (options->shared_fd == WF_CHILD_SHARED_FD)
        fcntl(WF_CHILD_SHARED_FD, F_SETFD, 0);
    else if (options->shared_fd >= 0)
        dup2(options->shared_fd, WF_CHILD_SHARED_FD);
    execve("/bin/sh", self->arguments, self->environment);
}

/* vfork: copying the tables of a large process would hold up its loop for milliseconds. The child gets no handler of
 * the parent's while it uses its memory: all signals are blocked until it is another program. */
__attribute__((noinline)) pid_t wf_child_birth(void (*become_other)(const void *), const void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) {
        become_other(argument);
        _exit(127);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

bool wf_child_hear_ends(void) {
    struct sigaction action;
    if (sigaction(SIGCHLD, NULL, &action) != 0) return false;
    bool is_ignored = !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
    if (!is_ignored && !(action.sa_flags & SA_NOCLDWAIT)) return false;
    if (is_ignored) action.sa_handler = SIG_DFL;
    action.sa_flags &= ~SA_NOCLDWAIT;
    return sigaction(SIGCHLD, &action, NULL) == 0;
}

int wf_process_watch(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0); /* closed on exec */
}

void wf_child_signal(const wf_child *child, int signal) {
    if (kill(-child->pid, signal) != 0) kill(child->pid, signal); /* it has not got its group yet */
}

weft_status wf_child_start(const wf_child_options *options, wf_child *ret_child) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) return WEFT_ELIMIT;
    /* Its end blocks, as programs expect of standard error. */
    fcntl(pipe_fds[1], F_SETFL, 0);
    char *line = wf_shell_line(options->command), **environment = merge_environment(options->environment);
    pid_t pid = -1;
    if (line && environment) {
        birth newborn = {.options = options,
                         .environment = environment,
                         .arguments = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", line, NULL},
                         .stderr_fd = pipe_fds[1],
                         .parent = getpid()};
        pid = wf_child_birth(become, &newborn);
    }
    int error = line && environment ? errno : ENOMEM;
    free(line);
    free(environment);
    close(pipe_fds[1]);
    *ret_child = (wf_child){.pid = pid, .stderr_fd = pipe_fds[0], .exit_fd = pid > 0 ? wf_process_watch(pid) : -1};
    if (pid > 0 && ret_child->exit_fd >= 0) return WEFT_OK;
    if (pid > 0) { /* it lives, and nobody would see its end */
        error = errno;
        wf_child_signal(ret_child, SIGKILL);
        wf_guard_remove(&(wf_guard){.fd = options->guard_fd}, pid);
        waitpid(pid, NULL, 0);
    }
    close(pipe_fds[0]);
    errno = error;
    return error == ENOMEM ? WEFT_ENOMEM : WEFT_ESYSTEM;
}

bool wf_child_reap(wf_child *child, int *ret_status) {
    siginfo_t info = {0};
    int result = waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    if (result != 0 && errno != ECHILD) return false;
    if (result == 0 && info.si_pid == 0) return false;
    kill(-child->pid, SIGKILL); /* what it left behind in its group; its pid is not free yet */
    *ret_status = 0;            /* if the program ignores SIGCHLD, nobody knows how it ended */
    waitpid(child->pid, ret_status, WNOHANG);
    child->pid = 0;
    return true;
}

void wf_child_bury(wf_child *child) {
    struct pollfd exit = {.fd = child->exit_fd, .events = POLLIN};
    int status;
    wf_child_signal(child, SIGKILL);
    while (poll(&exit, 1, BURY_MS) < 0 && errno == EINTR) {
    }
    wf_child_reap(child, &status);
    child->pid = 0;
}

bool wf_child_has(const wf_child *child, pid_t pid) {
    return pid > 0 && getpgid(pid) == child->pid;
}

bool wf_process_is_stopped(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t bytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[bytes > 0 ? bytes : 0] = '\0';
    const char *behind_name = strrchr(text, ')'); /* the name may hold anything */
    return behind_name && behind_name[1] == ' ' && (behind_name[2] == 'T' || behind_name[2] == 't');
}
