/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_bell.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int wf_bell_open(void) {
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void wf_bell_ring(int fd) {
    uint64_t one = 1;
    ssize_t bytes = write(fd, &one, sizeof one);
    (void)bytes; /* EAGAIN: it rings already */
}

void wf_bell_clear(int fd) {
    uint64_t times;
    ssize_t bytes = read(fd, &times, sizeof times);
    (void)bytes; /* EAGAIN: nobody rang */
}

void wf_bell_close(int fd) {
    if (fd >= 0) close(fd);
}
