#include "record.h"
#include <string.h>
#include "weft/record.h"
char *wf_record_header_put(char *at, const char *name, size_t name_bytes, const void *value, int32_t value_bytes){ uint32_t n=(uint32_t)name_bytes; memcpy(at,&n,4); memcpy(at+4,&value_bytes,4); memcpy(at+8,name,name_bytes); at[8+name_bytes]=0; if(value_bytes>0) memcpy(at+9+name_bytes,value,(size_t)value_bytes); return at+9+name_bytes+wf_record_length(value_bytes);}
const char *weft_record_topic(const weft_record *r){return r->topic;}
int32_t weft_record_partition(const weft_record *r){return r->partition;}
int64_t weft_record_offset(const weft_record *r){return r->offset;}
int64_t weft_record_timestamp_ms(const weft_record *r){return r->timestamp_ms;}
unsigned weft_record_attempt(const weft_record *r){return r->attempt;}
const void *weft_record_key(const weft_record *r, size_t *n){*n=wf_record_length(r->key_bytes);return r->key_bytes<0?NULL:wf_record_key_bytes(r);}
const void *weft_record_value(const weft_record *r, size_t *n){*n=wf_record_length(r->value_bytes);return r->value_bytes<0?NULL:wf_record_value_bytes(r);}
