/* SPDX-License-Identifier: Apache-2.0
 *
 * What lanes.h promises, written down naively: arrays, linear scans, no hashes. Tests drive it beside the real thing
 * and compare.
 */
#ifndef WF_TEST_LANES_MODEL_H
#define WF_TEST_LANES_MODEL_H

#include "lanes.h"

/* Slot i is counted in group i % MODEL_GROUPS. */
enum { MODEL_SLOTS = 5, MODEL_GROUPS = 2, MODEL_TEXT = 160 };

typedef enum model_place { MODEL_BUSY = 0, MODEL_READY, MODEL_RETRY_READY, MODEL_WAITING, MODEL_PARKED } model_place;

/* A growing array of pointers. */
typedef struct model_list {
    void **items;
    size_t count;
    size_t room;
} model_list;

typedef struct model_lane {
    uint32_t slot;
    uint64_t name; /* of the ordering key; unique within its slot */
    bool open;
    model_place place;
    bool urged;
    uint64_t retry_ns;
    model_list queue;     /* wf_record, in order */
    model_list out;       /* wf_record, in the order in which they left */
    uint64_t passed_over; /* takes that served somebody and not this ready lane */
    uint64_t passes_max;  /* how many of those are fair */
} model_lane;

typedef struct lanes_model {
    wf_ordering ordering;
    bool null_key_serial;
    uint64_t lonely; /* names given to lanes of single records so far */
    model_list lanes;
    model_list ready;
    size_t urged; /* so many at its beginning were urged */
    size_t urged_in_row;
    model_list retry_ready;
    model_list parked[MODEL_SLOTS];
    bool stopped[MODEL_SLOTS];
    model_lane **lane_of; /* by record id, see model_id() */
    size_t record_room;
} lanes_model;

/* Tests number their records: the number is the record's timestamp, which lanes never read. */
static inline size_t model_id(const wf_record *record) {
    return (size_t)record->timestamp_ms;
}

void model_init(lanes_model *model, wf_ordering ordering, bool null_key_serial, size_t record_count);
void model_deinit(lanes_model *model);

model_lane *model_add(lanes_model *model, wf_record *record);
/* Writes what a take must deliver. */
void model_take(lanes_model *model, const wf_take *take, model_list *ret_records);
void model_finish(lanes_model *model, wf_record *record);
/* `count` of the records that are out of a lane, from position `first` on. */
void model_give_back(lanes_model *model, model_lane *lane, size_t first, size_t count, uint64_t retry_ns);
uint64_t model_next_retry_ns(const lanes_model *model);
void model_expire(lanes_model *model, uint64_t now_ns);
void model_urge(lanes_model *model, const wf_record *record);
void model_unpark(lanes_model *model, uint32_t slot);
void model_stop_slot(lanes_model *model, uint32_t slot, bool stop);
void model_remove(lanes_model *model, wf_record *record);

/* True: a number of the real lanes is not the model's; the text says which. */
bool model_differs(const lanes_model *model, const wf_lanes *lanes, char ret_text[MODEL_TEXT]);

void model_push(model_list *list, void *item);
void model_list_free(model_list *list);

#endif
