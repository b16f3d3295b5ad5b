/* SPDX-License-Identifier: Apache-2.0
 *
 * The slab allocator behind wf_record_pool.
 *
 * A chunk is aligned to its size, so the address of a block tells its chunk. Its blocks begin at multiples of a cache
 * line: a record's head is two lines, and what one thread writes never shares a line with a neighbour.
 *
 * Invariants:
 * 1. A chunk is in with_room[its class] when 0 < used < capacity, in `empty` when used is 0, and in no list when it is
 * full.
 * 2. Blocks that were never used lie behind `fresh`; the others that are free are linked through `next`.
 * 3. size_class of a free block is CLASS_FREE: a block that is given twice is found.
 */
#include "record_pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#if defined(__SANITIZE_ADDRESS__)
#define WF_POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WF_POOL_ASAN 1
#endif
#endif
#ifdef WF_POOL_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

enum {
    CHUNK_BYTES = WF_RECORD_POOL_CHUNK_BYTES,
    CHUNK_HEAD_BYTES = 64,
    CLASS_SINGLE = 254,
    CLASS_FREE = 255,
    EMPTY_MIN = 16, /* 1 MiB is kept in any case */
};

struct wf_record_chunk {
    wf_record_pool *pool;
    wf_record_chunk *next;
    wf_record_chunk *prev;
    wf_record *free; /* given back */
    uint32_t fresh;  /* where the blocks begin that were never used, from the start of the chunk */
    uint32_t block_bytes;
    uint16_t used;
    uint16_t capacity;
    uint8_t size_class;
};

_Static_assert(sizeof(wf_record_chunk) <= CHUNK_HEAD_BYTES, "blocks begin at a cache line");
_Static_assert(sizeof(wf_record) == 128, "a head is two cache lines, and the smallest block has room behind it");

/* Sizes: (5, 6, 7, 8) << n; below 320 only 192 and 256, so that all are whole cache lines. */
static unsigned class_of(size_t bytes) {
    if (bytes <= 256) return bytes > 192;
    unsigned top = 63 - (unsigned)__builtin_clzll(bytes - 1); /* 8 and up */
    return 2 + (top - 8) * 4 + ((unsigned)((bytes - 1) >> (top - 2)) & 3);
}

static uint32_t class_bytes(unsigned size_class) {
    if (size_class < 2) return size_class ? 256 : 192;
    return (5 + (size_class - 2) % 4) << ((size_class - 2) / 4 + 6);
}

static wf_record_chunk *chunk_of(wf_record *record) {
    return (wf_record_chunk *)((uintptr_t)record & ~(uintptr_t)(CHUNK_BYTES - 1));
}

/* Chunks from the system */

/* Neighbouring mappings are usually placed side by side, so once one is aligned the next ones are. */
static wf_record_chunk *map_chunk(void) {
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *mapped = mmap(NULL, CHUNK_BYTES, protection, flags, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    if ((uintptr_t)mapped % CHUNK_BYTES == 0) return (wf_record_chunk *)(void *)mapped;
    munmap(mapped, CHUNK_BYTES);

    mapped = mmap(NULL, 2 * CHUNK_BYTES, protection, flags, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    size_t before = (CHUNK_BYTES - (uintptr_t)mapped % CHUNK_BYTES) % CHUNK_BYTES;
    if (before > 0) munmap(mapped, before);
    munmap(mapped + before + CHUNK_BYTES, CHUNK_BYTES - before);
    return (wf_record_chunk *)(void *)(mapped + before);
}

static void unmap_chunk(wf_record_pool *pool, wf_record_chunk *chunk) {
    ASAN_UNPOISON_MEMORY_REGION(chunk, CHUNK_BYTES);
    munmap(chunk, CHUNK_BYTES);
    pool->reserved_bytes -= CHUNK_BYTES;
}

/* NULL: no memory, or no more of it for chunks. */
static wf_record_chunk *take_chunk(wf_record_pool *pool) {
    wf_record_chunk *chunk = pool->empty;
    if (chunk) {
        pool->empty = chunk->next;
        pool->empty_count--;
        return chunk;
    }
    if (pool->reserved_bytes + CHUNK_BYTES > 2 * pool->budget_bytes) return NULL;
    chunk = map_chunk();
    if (chunk) pool->reserved_bytes += CHUNK_BYTES;
    return chunk;
}

/* Empty chunks are kept up to a quarter of the budget: load that comes and goes costs no system calls. */
static void give_chunk(wf_record_pool *pool, wf_record_chunk *chunk) {
    if (pool->empty_count >= EMPTY_MIN && pool->empty_count * CHUNK_BYTES >= pool->budget_bytes / 4) {
        unmap_chunk(pool, chunk);
        return;
    }
    chunk->next = pool->empty;
    pool->empty = chunk;
    pool->empty_count++;
}

static void link_chunk(wf_record_pool *pool, wf_record_chunk *chunk) {
    wf_record_chunk **head = &pool->with_room[chunk->size_class];
    chunk->prev = NULL;
    chunk->next = *head;
    if (*head) (*head)->prev = chunk;
    *head = chunk;
}

static void unlink_chunk(wf_record_pool *pool, wf_record_chunk *chunk) {
    if (chunk->prev)
        chunk->prev->next = chunk->next;
    else
        pool->with_room[chunk->size_class] = chunk->next;
    if (chunk->next) chunk->next->prev = chunk->prev;
}

static wf_record_chunk *start_chunk(wf_record_pool *pool, unsigned size_class) {
    wf_record_chunk *chunk = take_chunk(pool);
    if (!chunk) return NULL;
    uint32_t block_bytes = class_bytes(size_class);
    *chunk = (wf_record_chunk){
        .pool = pool,
        .fresh = CHUNK_HEAD_BYTES,
        .block_bytes = block_bytes,
        .capacity = (uint16_t)((CHUNK_BYTES - CHUNK_HEAD_BYTES) / block_bytes),
        .size_class = (uint8_t)size_class,
    };
    ASAN_POISON_MEMORY_REGION((char *)chunk + CHUNK_HEAD_BYTES, CHUNK_BYTES - CHUNK_HEAD_BYTES);
    link_chunk(pool, chunk);
    return chunk;
}

/* Records */

/* In halves: of one memset of 128 bytes gcc makes a `rep stosq`, which costs 20 ns before its first byte. */
static inline void clear_head(wf_record *record) {
    memset(record, 0, sizeof *record / 2);
    memset((char *)record + sizeof *record / 2, 0, sizeof *record / 2);
}

static wf_record *begin_record(wf_record_pool *pool, wf_record *record, size_t block_bytes, unsigned size_class) {
    clear_head(record);
    record->block_bytes = (uint32_t)block_bytes;
    record->size_class = (uint8_t)size_class;
    pool->held_bytes += block_bytes;
    pool->live_count++;
    return record;
}

static wf_record *take_single(wf_record_pool *pool, size_t bytes) {
    wf_record *record = malloc(bytes);
    if (!record) return NULL;
    pool->reserved_bytes += bytes;
    return begin_record(pool, record, bytes, CLASS_SINGLE);
}

weft_status wf_record_pool_init(wf_record_pool *pool, uint64_t budget_bytes) {
    *pool = (wf_record_pool){.budget_bytes = budget_bytes};
    return WEFT_OK;
}

wf_record *wf_record_pool_take(wf_record_pool *pool, size_t payload_bytes) {
    if (payload_bytes > UINT32_MAX - sizeof(wf_record)) return NULL;
    size_t bytes = sizeof(wf_record) + payload_bytes;
    if (bytes > WF_RECORD_POOL_BLOCK_BYTES_MAX) return take_single(pool, bytes);
    unsigned size_class = class_of(bytes);
    wf_record_chunk *chunk = pool->with_room[size_class];
    if (!chunk && !(chunk = start_chunk(pool, size_class))) return take_single(pool, bytes);

    wf_record *record = chunk->free;
    if (record) {
        ASAN_UNPOISON_MEMORY_REGION(record, bytes);
        chunk->free = record->next;
    } else {
        record = (wf_record *)(void *)((char *)chunk + chunk->fresh);
        chunk->fresh += chunk->block_bytes;
        ASAN_UNPOISON_MEMORY_REGION(record, bytes);
    }
    if (++chunk->used == chunk->capacity) unlink_chunk(pool, chunk);
    return begin_record(pool, record, chunk->block_bytes, size_class);
}

void wf_record_pool_give(wf_record_pool *pool, wf_record *record) {
    uint32_t block_bytes = record->block_bytes;
    WF_CHECK(record->size_class != CLASS_FREE && pool->live_count > 0);
    pool->held_bytes -= block_bytes;
    pool->live_count--;
    if (record->size_class == CLASS_SINGLE) {
        pool->reserved_bytes -= block_bytes;
        free(record);
        return;
    }
    wf_record_chunk *chunk = chunk_of(record);
    WF_CHECK(chunk->pool == pool && chunk->size_class == record->size_class);
    record->size_class = CLASS_FREE;
    record->next = chunk->free;
    chunk->free = record;
    ASAN_POISON_MEMORY_REGION(record, block_bytes);
    if (chunk->used-- == chunk->capacity) link_chunk(pool, chunk);
    if (chunk->used > 0) return;
    unlink_chunk(pool, chunk);
    give_chunk(pool, chunk);
}

uint64_t wf_record_pool_held_bytes(const wf_record_pool *pool) {
    return pool->held_bytes;
}

uint64_t wf_record_pool_reserved_bytes(const wf_record_pool *pool) {
    return pool->reserved_bytes;
}

void wf_record_pool_abandon(wf_record_pool *pool) {
    wf_record_chunk *next;
    for (wf_record_chunk *chunk = pool->empty; chunk; chunk = next) {
        next = chunk->next;
        unmap_chunk(pool, chunk);
    }
    *pool = (wf_record_pool){0};
}

void wf_record_pool_deinit(wf_record_pool *pool) {
    WF_CHECK(pool->live_count == 0 && pool->held_bytes == 0);
    WF_CHECK(pool->reserved_bytes == pool->empty_count * CHUNK_BYTES);
    wf_record_pool_abandon(pool);
}
