/* Which files on disks make up a set: only what their facts say counts here, no file is there. */

#include <string.h>

#include "recluster/buf.h"
#include "recluster/catalogue.h"
#include "test.h"

enum { FILES_MAX = 5, RANGES = 2 };

/* Shards 1 and 2 are primaries, 3 and 4 their replicas. */
static struct slots ranges[RANGES], all_slots;
static const struct slots *const range_list[] = {&ranges[0], &ranges[1]};
static struct disk_shard shards[] = {{"1", 0}, {"2", 1}, {"3", 0}, {"4", 1}};

struct found {
    const char *owner, *name, *shard;
    int64_t time_ms; /* -1: not known */
    const char *error;
    bool previous;
};

static int make_slots(void **state)
{
    (void)state;
    slots_clear(&ranges[0]);
    slots_clear(&ranges[1]);
    slots_add_range(&ranges[0], 0, 8191);
    slots_add_range(&ranges[1], 8192, 16383);
    slots_fill(&all_slots);
    return 0;
}

static json_t *facts_of(const struct found *f)
{
    json_t *facts =
        json_pack("{s:s, s:s, s:s, s:b, s:i, s:I}", "name", f->name, "kind", "rdb", "shard",
            f->shard, "previous", f->previous, "bytes", 100, "time_ms", (json_int_t)f->time_ms);

    if (f->error)
        json_object_set_new(facts, "error", json_string(f->error));
    else
        json_object_set_new(facts, "head", json_object());
    return facts;
}

static struct disk_query query_of(const struct disk_folder *folders, size_t count)
{
    return (struct disk_query){.folders = folders,
        .folder_count = count,
        .shards = shards,
        .shard_count = ARRAY_SIZE(shards),
        .ranges = range_list,
        .range_count = RANGES,
        .slots = &all_slots,
        .at_ms = -1,
        .set_at_ms = -1};
}

/* Each file in a folder of its own: /d of its owner. */
static void add(struct catalogue *c, const struct found *files, struct disk_query query)
{
    struct disk_folder folders[FILES_MAX];
    json_t *lists[FILES_MAX];
    size_t count = 0;

    for (; count < FILES_MAX && files[count].owner; count++) {
        lists[count] = json_pack("[o]", facts_of(&files[count]));
        folders[count] = (struct disk_folder){.owner = files[count].owner,
            .host = files[count].owner,
            .path = "/d",
            .files = lists[count]};
    }
    query.folders = folders;
    query.folder_count = count;
    catalogue_add_disks(c, &query);
    for (size_t i = 0; i < count; i++)
        json_decref(lists[i]);
}

#define R1 "redis-1.rdb"
#define R2 "redis-2.rdb"
#define R3 "redis-3.rdb"

static const struct {
    const char *what;
    struct found files[FILES_MAX];
    int64_t at_ms;       /* 0: any */
    const char *without; /* a file that is left out */
    const char *taken;   /* by range; NULL: there is no set */
    int64_t time_ms;
    const char *reason, *note, *next, *disks;
} choices[] = {
    {"one for each range", {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0}}, 0, NULL,
        "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, NULL, "the disks of a, b"},
    {"the newest, a replica's",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0},
            {"c", R3, "3", 6000, NULL, 0}},
        0, NULL, "c:/d/" R3 " b:/d/" R2, 4000, NULL, NULL, "'a:/d/" R1 "' of",
        "the disks of a, b, c"},
    {"a newer one of no use",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0},
            {"c", R3, "3", 6000, "half of it", 0}},
        0, NULL, "a:/d/" R1 " b:/d/" R2, 4000, NULL, "'c:/d/" R3 "' of", NULL,
        "the disks of a, b, c"},
    {"an older one of no use is no matter",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0},
            {"c", R3, "3", 3000, "half of it", 0}},
        0, NULL, "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, NULL, "the disks of a, b, c"},
    {"a range without any", {{"a", R1, "1", 5000, NULL, 0}}, 0, NULL, "a:/d/" R1, 5000,
        "slots 8192-16383 are missing", NULL, NULL, "the disks of a"},
    {"a range with one of no use",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, "it is empty", 0}}, 0, NULL,
        "a:/d/" R1, 5000, "slots 8192-16383 are missing", "'b:/d/" R2 "' of", NULL,
        "the disks of a, b"},
    {"of the same time the last, not the one before",
        {{"a", R1 ".prev", "1", 5000, NULL, 1}, {"a", R1, "1", 5000, NULL, 0},
            {"b", R2, "2", 4000, NULL, 0}},
        0, NULL, "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, "'a:/d/" R1 ".prev' of",
        "the disks of a, b"},
    {"the one before, if it is newer",
        {{"a", R1 ".prev", "1", 5001, NULL, 1}, {"a", R1, "1", 5000, NULL, 0},
            {"b", R2, "2", 4000, NULL, 0}},
        0, NULL, "a:/d/" R1 ".prev b:/d/" R2, 4000, NULL, NULL, "'a:/d/" R1 "' of",
        "the disks of a, b"},
    {"any with a time before one without",
        {{"a", R1, "1", -1, NULL, 0}, {"c", R3, "3", 1, NULL, 0}, {"b", R2, "2", 4000, NULL, 0}}, 0,
        NULL, "c:/d/" R3 " b:/d/" R2, 1, NULL, NULL, "an unknown time", "the disks of a, c, b"},
    {"none after the time that is asked for",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0},
            {"c", R3, "3", 6000, NULL, 0}, {"d", R3, "3", -1, NULL, 0}},
        5000, NULL, "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, NULL, "the disks of a, b, c, d"},
    {"none that is left out",
        {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0},
            {"c", R3, "3", 6000, NULL, 0}},
        0, "file:c:/d/" R3, "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, NULL, "the disks of a, b, c"},
    {"words that name none", {{"a", R1, "1", 5000, NULL, 0}, {"b", R2, "2", 4000, NULL, 0}}, 0,
        "a:/d/" R1, "a:/d/" R1 " b:/d/" R2, 4000, NULL, NULL, NULL, "the disks of a, b"},
    {"shards of other databases", {{"a", R1, "5", 5000, NULL, 0}}, 0, NULL, NULL, 0, NULL, NULL,
        NULL, NULL},
    {"nothing", {{NULL, NULL, NULL, 0, NULL, 0}}, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL},
};

static void check_text(const char *what, const char *got, const char *wanted)
{
    if (!got != !wanted || (got && !strstr(got, wanted)))
        fail_msg("%s: '%s', not '%s'", what, got ? got : "(none)", wanted ? wanted : "(none)");
}

static void the_newest_of_use_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        struct catalogue c = {.arena = ARENA_INIT, .chosen = -1};
        struct disk_query query = query_of(NULL, 0);
        json_t *without = choices[i].without ? json_pack("[s]", choices[i].without) : NULL;
        struct buf taken = BUF_INIT;
        const char *next = NULL;
        query.at_ms = choices[i].at_ms ? choices[i].at_ms : -1;
        query.without = without;
        add(&c, choices[i].files, query);
        assert_int_equal(c.set_count, choices[i].taken ? 1 : 0);
        for (size_t f = 0; c.set_count && f < c.sets[0].file_count; f++) {
            buf_addf(&taken, "%s%s", f ? " " : "", c.sets[0].files[f].where);
            next = next ? next : c.sets[0].files[f].next;
        }
        check_text(choices[i].what, taken.len ? taken.data : NULL, choices[i].taken);
        if (c.set_count) {
            const struct backup_set *set = &c.sets[0];
            assert_string_equal(taken.data, choices[i].taken);
            assert_int_equal(set->time_ms, choices[i].time_ms);
            check_text(choices[i].what, set->reason, choices[i].reason);
            check_text(choices[i].what, set->note_count ? set->notes[0] : NULL, choices[i].note);
            check_text(choices[i].what, next, choices[i].next);
            assert_string_equal(set->disks, choices[i].disks);
            assert_int_equal(set->complete, choices[i].reason == NULL);
            assert_int_equal(c.chosen, set->complete ? 0 : -1);
        }
        buf_release(&taken);
        json_decref(without);
        catalogue_release(&c);
    }
}

/* Sets of a location by time, newest first, the one of it that is chosen; where the disks' set of
 * the time 5000 comes to stand, and which is chosen then. */
static void it_takes_its_place_among_others(void **state)
{
    static const struct {
        int64_t times[3];
        int chosen;
        bool whole; /* the disks' */
        int64_t set_at_ms;
        int at, then;
    } cases[] = {
        {{0}, -1, true, -1, 0, 0},
        {{0}, -1, false, -1, 0, -1},
        {{4000, 3000}, 0, true, -1, 0, 0},
        {{4000, 3000}, 0, false, -1, 0, 1},
        {{6000, 4000}, 0, true, -1, 1, 0},
        {{6000, 4000}, 1, true, -1, 1, 1},
        {{6000, 4000}, 1, false, -1, 1, 2},
        {{6000, 4000}, -1, true, -1, 1, 1},
        {{6000, 5000, 4000}, 1, true, -1, 2, 1},
        {{4000, 3000}, 0, true, 4999, 0, 1},
        {{4000, 3000}, 0, true, 5000, 0, 0},
        {{7000, 6000}, 0, true, -1, 2, 0},
    };
    static const struct found whole[FILES_MAX] = {
        {"a", R1, "1", 9000, NULL, 0}, {"b", R2, "2", 5000, NULL, 0}};
    static const struct found part[FILES_MAX] = {{"b", R2, "2", 5000, NULL, 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct catalogue c = {.arena = ARENA_INIT, .chosen = cases[i].chosen};
        struct disk_query query = query_of(NULL, 0);
        query.set_at_ms = cases[i].set_at_ms;
        c.sets = xcalloc(ARRAY_SIZE(cases[i].times), sizeof(*c.sets));
        for (; c.set_count < ARRAY_SIZE(cases[i].times) && cases[i].times[c.set_count];
             c.set_count++)
            c.sets[c.set_count] = (struct backup_set){
                .id = "location", .time_ms = cases[i].times[c.set_count], .complete = true};
        size_t before = c.set_count;
        add(&c, cases[i].whole ? whole : part, query);
        assert_int_equal(c.set_count, before + 1);
        if (strcmp(c.sets[cases[i].at].id, "disks") != 0 || c.chosen != cases[i].then)
            fail_msg("case %zu: '%s' is at %d, %d is chosen", i, c.sets[cases[i].at].id,
                cases[i].at, c.chosen);
        catalogue_release(&c);
    }
}

/* The path of a folder may end with a slash; of many owners some are named. */
static void words_for_people(void **state)
{
    struct catalogue c = {.arena = ARENA_INIT, .chosen = -1};
    struct disk_folder folders[9];
    const struct found file = {"", R1, "1", 5000, NULL, false};
    json_t *files = json_pack("[o]", facts_of(&file)), *none = json_array();
    static const char *const owners[] = {"a", "b", "b", "c", "d", "e", "f", "g", "h"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        folders[i] = (struct disk_folder){
            .owner = owners[i], .path = i ? "/d" : "/", .files = i == 3 ? none : files};
    struct disk_query query = query_of(folders, ARRAY_SIZE(folders));
    catalogue_add_disks(&c, &query);
    assert_string_equal(c.sets[0].disks, "the disks of a, b, d, e, f, g, …");
    assert_string_equal(c.sets[0].files[0].where, "a:/" R1);
    json_decref(files);
    json_decref(none);
    catalogue_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_use_is_taken),
        cmocka_unit_test(it_takes_its_place_among_others),
        cmocka_unit_test(words_for_people),
    };
    return cmocka_run_group_tests(tests, make_slots, NULL);
}
