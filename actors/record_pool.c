#include "record_pool.h"
#include <stdlib.h>
#include <string.h>
weft_status wf_record_pool_init(wf_record_pool *p, uint64_t b){(void)b;p->held=0;return WEFT_OK;}
wf_record *wf_record_pool_take(wf_record_pool *p, size_t n){wf_record*r=malloc(sizeof *r+n); memset(r,0,sizeof *r); r->block_bytes=(uint32_t)(sizeof *r+n); p->held+=r->block_bytes; return r;}
void wf_record_pool_give(wf_record_pool *p, wf_record *r){p->held-=r->block_bytes; free(r);}
uint64_t wf_record_pool_held_bytes(const wf_record_pool *p){return p->held;}
void wf_record_pool_deinit(wf_record_pool *p){(void)p;}
