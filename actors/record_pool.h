#ifndef P_H
#define P_H
#include "record.h"
#include "weft/status.h"
typedef struct wf_record_pool { uint64_t held; } wf_record_pool;
weft_status wf_record_pool_init(wf_record_pool *p, uint64_t budget);
wf_record *wf_record_pool_take(wf_record_pool *p, size_t payload);
void wf_record_pool_give(wf_record_pool *p, wf_record *r);
uint64_t wf_record_pool_held_bytes(const wf_record_pool *p);
void wf_record_pool_deinit(wf_record_pool *p);
#endif
