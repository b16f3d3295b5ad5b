/* SPDX-License-Identifier: Apache-2.0 */
#include "allocations.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#if defined(__GLIBC__) || defined(__linux__)
#include <features.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)

bool allocations_are_counted(void) {
    return false;
}

uint64_t allocations_count(void) {
    return 0;
}

#else

/* A counter per thread, on a cache line of its own: one for all would be what threads wait for. Threads beyond the
 * first ones share the last. */
enum { COUNTERS = 4096 };
static struct counter { _Alignas(64) _Atomic uint64_t count; } counters[COUNTERS];
static _Atomic unsigned threads;
static _Thread_local struct counter *own;

static inline void count_one(void) {
    if (!own) {
        unsigned index = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed);
        own = &counters[index < COUNTERS ? index : COUNTERS - 1];
    }
    if (own == &counters[COUNTERS - 1])
        atomic_fetch_add_explicit(&own->count, 1, memory_order_relaxed);
    else
        atomic_store_explicit(&own->count, atomic_load_explicit(&own->count, memory_order_relaxed) + 1,
                              memory_order_relaxed);
}

bool allocations_are_counted(void) {
    return true;
}

uint64_t allocations_count(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < COUNTERS; i++) sum += atomic_load_explicit(&counters[i].count, memory_order_relaxed);
    return sum;
}

/* What glibc calls its own. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *memory, size_t bytes);
void *memalign(size_t alignment, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);
int posix_memalign(void **ret_memory, size_t alignment, size_t bytes);

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t bytes) {
    count_one();
    return __libc_malloc(bytes);
}

EXPORT void *calloc(size_t count, size_t bytes) {
    count_one();
    return __libc_calloc(count, bytes);
}

EXPORT void *realloc(void *memory, size_t bytes) {
    count_one();
    return __libc_realloc(memory, bytes);
}

EXPORT void *memalign(size_t alignment, size_t bytes) {
    count_one();
    return __libc_memalign(alignment, bytes);
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes) {
    return memalign(alignment, bytes);
}

EXPORT int posix_memalign(void **ret_memory, size_t alignment, size_t bytes) {
    void *memory = memalign(alignment, bytes);
    if (!memory) return ENOMEM;
    *ret_memory = memory;
    return 0;
}

#endif
