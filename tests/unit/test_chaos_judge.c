/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of journals finds each kind of wrong, and excuses what the rules excuse.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "chaos_judge.h"
#include "require.h"

TestSuite(chaos_judge, .timeout = 60);

/* One partition; records 0, 2 and 4 have key 0, records 1 and 3 key 1. Two members. */
typedef struct court {
    chaos_event events[32];
    size_t count;
    chaos_member members[2];
    chaos_commit commit;
    bool committed;
} court;

static void run(court *it, uint32_t member, int64_t offset, uint64_t begin_ns, uint64_t end_ns) {
    it->events[it->count++] = (chaos_event){.ns = begin_ns, .offset = offset, .member = member};
    if (end_ns) it->events[it->count++] = (chaos_event){.ns = end_ns, .offset = offset, .member = member, .end = true};
}

static chaos_verdict judge(court *it) {
    static const uint32_t keys[] = {0, 1, 0, 1, 0};
    static const uint32_t *const all_keys[] = {keys};
    static const int64_t ends[] = {5};
    chaos_case facts = {.partitions = 1,
                        .ends = ends,
                        .keys = all_keys,
                        .key_count = 2,
                        .members = it->members,
                        .member_count = 2,
                        .events = it->events,
                        .event_count = it->count,
                        .commits = &it->commit,
                        .commit_count = it->committed,
                        .commit_delay_ns = 100,
                        .report_delay_ns = 10};
    return chaos_judge(&facts);
}

static void expect(court *it, const char *text) {
    chaos_verdict verdict = judge(it);
    if (text)
        REQUIRE(verdict.violations > 0 && strstr(verdict.first, text), "\"%s\", expected \"%s\"", verdict.first, text);
    else
        REQUIRE(verdict.violations == 0, "%s", verdict.first);
}

/* All once, by member 0, at 10 * offset + 100. */
static court fine(void) {
    court it = {0};
    for (int64_t offset = 0; offset < 5; offset++)
        run(&it, 0, offset, 100 + 10 * (uint64_t)offset, 105 + 10 * (uint64_t)offset);
    return it;
}

Test(chaos_judge, all_once_in_order__nothing_to_say) {
    court it = fine();
    expect(&it, NULL);
    REQUIRE_EQ(judge(&it).executions, 5);
}

Test(chaos_judge, a_record_is_missing__lost) {
    court it = fine();
    it.count -= 2;
    expect(&it, "offset 4 is lost");
}

Test(chaos_judge, began_and_never_ended__only_a_kill_excuses) {
    court it = fine();
    it.count--;
    expect(&it, "did not end it");
    it = fine();
    it.count--;
    it.members[0].killed_ns = 300;
    run(&it, 1, 4, 400, 405);
    expect(&it, NULL);
    REQUIRE_EQ(judge(&it).repeated_by_kill, 1);
}

Test(chaos_judge, key_out_of_order__found) {
    court it = {0};
    run(&it, 0, 0, 100, 105);
    run(&it, 0, 1, 100, 105);
    run(&it, 0, 3, 110, 115);
    run(&it, 0, 4, 110, 115);
    run(&it, 0, 2, 120, 125);
    expect(&it, "before the one before it had ended");
}

Test(chaos_judge, overlap_of_a_key__found__excused_where_a_member_was_away) {
    court it = {0};
    run(&it, 0, 0, 100, 150);
    run(&it, 1, 0, 120, 130);
    for (int64_t offset = 1; offset < 5; offset++)
        run(&it, 1, offset, 150 + 10 * (uint64_t)offset, 155 + 10 * (uint64_t)offset);
    court excused = it;
    expect(&it, "again without a reason");
    excused.members[0].away[0] = (chaos_span){110, 160};
    excused.members[0].away_count = 1;
    expect(&excused, NULL);
    REQUIRE_EQ(judge(&excused).overlaps_by_absence, 1);
    REQUIRE_EQ(judge(&excused).repeated_by_absence, 1);

    court alone = fine();
    alone.events[3].ns = 145; /* record 1 still runs when record 3 begins */
    alone.events[7].ns = 150;
    expect(&alone, "before the one before it had ended");
}

Test(chaos_judge, repeated__without_reason_or_long_after_its_commit__found) {
    court it = fine();
    run(&it, 1, 4, 400, 405);
    expect(&it, "without a reason");
    it = fine();
    run(&it, 1, 4, 400, 405);
    it.members[0].killed_ns = 240; /* 95 after it ended */
    expect(&it, NULL);
    it = fine();
    run(&it, 1, 4, 400, 405);
    it.members[0].killed_ns = 260; /* 115 after it ended: it was committed by then */
    expect(&it, "without a reason");
}

/* A worker's death costs what it had not reported, its parent's what was not committed. */
Test(chaos_judge, worker__repeated_after_it_could_report__found__unless_its_parent_was_killed) {
    court it = fine();
    it.members[0].is_worker = true;
    run(&it, 1, 4, 400, 405);
    it.members[0].killed_ns = 155; /* 10 after it ended */
    expect(&it, NULL);
    it.members[0].killed_ns = 156;
    expect(&it, "without a reason");
    it.members[0].parent_killed_ns = 240;
    expect(&it, NULL);
    it.members[0].parent_killed_ns = 260; /* it was committed by then */
    expect(&it, "without a reason");
    it = fine();
    it.members[0].is_worker = true;
    it.count--;
    it.members[0].parent_killed_ns = 300; /* it did not end it, because it died with its parent */
    run(&it, 1, 4, 400, 405);
    expect(&it, NULL);
}

Test(chaos_judge, executed_after_it_was_seen_committed__found) {
    court it = fine();
    run(&it, 1, 4, 400, 405);
    it.members[0].killed_ns = 240;
    it.commit = (chaos_commit){.ns = 200, .offset = 5};
    it.committed = true;
    expect(&it, "was committed, and member 1 executed it after that");
    it.commit.offset = 4;
    expect(&it, NULL);
}

Test(chaos_judge, journal_of_records_that_are_not_there__found) {
    court it = fine();
    run(&it, 0, 77, 500, 505);
    expect(&it, "no such record");
    it = fine();
    it.events[it.count++] = (chaos_event){.ns = 500, .offset = 3, .end = true};
    expect(&it, "never began");
}
