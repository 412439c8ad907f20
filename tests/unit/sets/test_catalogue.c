#include "recluster/catalogue.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_script.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

/* A database of three shards, and one file name after another. */

static struct slots shards[3], all_slots;
static const struct slots *const shard_list[] = {&shards[0], &shards[1], &shards[2]};
static const unsigned firsts[] = {0, 5461, 10923}, lasts[] = {5460, 10922, 16383};

static int make_slots(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        slots_clear(&shards[i]);
        slots_add_range(&shards[i], firsts[i], lasts[i]);
    }
    slots_fill(&all_slots);
    return 0;
}

static struct catalogue_query sharded_query(void)
{
    return (struct catalogue_query){.database_uid = "1",
        .database_name = "db",
        .sharded = true,
        .slots = &all_slots,
        .shards = shard_list,
        .shard_count = 3,
        .at_ms = -1};
}

static struct catalogue_query single_query(void)
{
    struct catalogue_query query = sharded_query();
    query.sharded = false;
    return query;
}

static int read_catalogue(const char *location, const struct catalogue_query *query,
    struct catalogue *ret, struct err *err)
{
    json_t *text = json_string(location);
    struct store *s = store_open(text, err);
    json_decref(text);
    assert_non_null(s);
    int rc = catalogue_read(s, query, ret, err);
    store_close(s);
    return rc;
}

/* A file with a key in the slots first..last, none if first > last. */
static void put_rdb(
    const char *dir, const char *name, unsigned first, unsigned last, int64_t ctime_s)
{
    struct buf plain = BUF_INIT, packed = BUF_INIT;
    AUTO_FREE char *key = first <= last ? sample_key(first, last) : NULL;
    const char *const keys[] = {key, NULL};

    sample_rdb(&plain, keys, ctime_s);
    sample_gzip(&packed, plain.data, plain.len);
    bool gzip = strstr(name, ".gz") != NULL;
    temp_file(dir, name, gzip ? packed.data : plain.data, gzip ? packed.len : plain.len);
    buf_release(&plain);
    buf_release(&packed);
}

/* --- names of the vendor --- */

/* Files of a folder, what is expected of its newest set, and which is chosen. */
static const struct {
    const char *what;
    const char *names[10];
    bool single, legacy;
    const char *at; /* NULL: the newest */
    size_t set_count;
    const char *newest; /* id */
    const char *reason; /* of the newest; NULL: it is complete */
    const char *missing;
    int chosen;
    const char *chosen_files; /* shard uids, joined */
} vendor_cases[] = {
    {"one run",
        {"bk20260101-100000-1-db-2_of_3-12-5461-10922.rdb.gz",
            "bk20260101-100000-1-db-3_of_3-13-10923-16383.rdb.gz",
            "bk20260101-100000-1-db-1_of_3-11-0-5460.rdb.gz"},
        false, false, NULL, 1, "20260101-100000", NULL, "", 0, "11 12 13 "},
    {"renamed, unzipped and copied, other databases beside",
        {"copy of bk20260101-100000-1-db-2_of_3-12-5461-10922.rdb",
            "bk20260101-100000-1-db-2_of_3-12-5461-10922.rdb.gz",
            "bk20260101-100000-1-other-3_of_3-13-10923-16383.rdb",
            "bk20260101-100000-1-db-1_of_3-11-0-5460.rdb.gz",
            "bk20260101-100000-11-db-1_of_1-14-0-16383.rdb.gz",
            "bk20260102-100000-2-db-1_of_1-15-0-16383.rdb.gz", "nodes.json", "dump.rdb"},
        false, false, NULL, 1, "20260101-100000", NULL, "", 0, "11 12 13 "},
    {"the newest lacks a file",
        {"bk20260102-100000-1-db-1_of_3-21-0-5460.rdb.gz",
            "bk20260102-100000-1-db-3_of_3-23-10923-16383.rdb.gz",
            "bk20260101-100000-1-db-1_of_3-11-0-5460.rdb.gz",
            "bk20260101-100000-1-db-2_of_3-12-5461-10922.rdb.gz",
            "bk20260101-100000-1-db-3_of_3-13-10923-16383.rdb.gz"},
        false, false, NULL, 2, "20260102-100000",
        "file 2 of 3 is not there; slots 5461-10922 are missing", "5461-10922", 1, "11 12 13 "},
    {"none is complete",
        {"bk20260102-100000-1-db-1_of_3-21-0-5460.rdb.gz",
            "bk20260101-100000-1-db-2_of_3-12-5461-10922.rdb.gz"},
        false, false, NULL, 2, "20260102-100000",
        "files 2, 3 of 3 are not there; slots 5461-16383 are missing", "5461-16383", -1, ""},
    {"all files, not all slots",
        {"bk20260101-100000-1-db-1_of_2-11-0-5460.rdb.gz",
            "bk20260101-100000-1-db-2_of_2-12-5462-16383.rdb.gz"},
        false, false, NULL, 1, "20260101-100000", "slot 5461 is missing", "5461", -1, ""},
    {"two claim the same slots",
        {"bk20260101-100000-1-db-1_of_2-11-0-9000.rdb.gz",
            "bk20260101-100000-1-db-2_of_2-12-9000-16383.rdb.gz"},
        false, false, NULL, 1, "20260101-100000",
        "'bk20260101-100000-1-db-2_of_2-12-9000-16383.rdb.gz' names slots that another file has "
        "too",
        "", -1, ""},
    {"two are the first",
        {"bk20260101-100000-1-db-1_of_2-11-0-8191.rdb.gz",
            "bk20260101-100000-1-db-1_of_2-12-8192-16383.rdb.gz"},
        false, false, NULL, 1, "20260101-100000",
        "'bk20260101-100000-1-db-1_of_2-11-0-8191.rdb.gz' and "
        "'bk20260101-100000-1-db-1_of_2-12-8192-16383.rdb.gz' both are file 1 of 2; file 2 of 2 is "
        "not there",
        "", -1, ""},
    {"at a time between",
        {"bk20260103-100000-1-db-1_of_1-31-0-16383.rdb.gz",
            "bk20260102-100000-1-db-1_of_1-21-0-16383.rdb.gz",
            "bk20260101-100000-1-db-1_of_1-11-0-16383.rdb.gz"},
        false, false, "2026-01-02T10:00:00Z", 3, "20260103-100000", NULL, "", 1, "21 "},
    {"before all", {"bk20260103-100000-1-db-1_of_1-31-0-16383.rdb.gz"}, false, false, "2025-01-01",
        1, "20260103-100000", NULL, "", -1, ""},
    {"not sharded", {"bk20260101-100000-1-db-1_of_1-11-5-9.rdb"}, true, false, NULL, 1,
        "20260101-100000", NULL, "", 0, "11 "},
    {"not sharded, but several files",
        {"bk20260101-100000-1-db-1_of_2-11-0-8191.rdb.gz",
            "bk20260101-100000-1-db-2_of_2-12-8192-16383.rdb.gz"},
        true, false, NULL, 1, "20260101-100000",
        "its run has 2 files, but the database is not sharded", "", -1, ""},
    {"legacy",
        {"bk20260101-100000-1-db-1_of_2-11-1-2048.rdb.gz",
            "bk20260101-100000-1-db-2_of_2-12-2049-4096.rdb.gz"},
        false, true, NULL, 1, "20260101-100000", NULL, "", 0, "11 12 "},
    {"legacy, a shard is missing", {"bk20260101-100000-1-db-1_of_2-11-1-4095.rdb.gz"}, false, true,
        NULL, 1, "20260101-100000",
        "file 2 of 2 is not there; slots 4095,8191,12287,16383 are missing",
        "4095,8191,12287,16383", -1, ""},
    {"legacy, with slots that it doesn't have", {"bk20260101-100000-1-db-1_of_1-11-0-16383.rdb.gz"},
        false, true, NULL, 1, "20260101-100000",
        "'bk20260101-100000-1-db-1_of_1-11-0-16383.rdb.gz' names slots that the policy of the "
        "database does not have; slots 0-16383 are missing",
        "0-16383", -1, ""},
};

static void same(const char *what, const char *got, const char *expected)
{
    if (strcmp(got, expected) != 0)
        fail_msg("%s: '%s' instead of '%s'", what, got, expected);
}

static void check_vendor_case(size_t i, const struct catalogue *c)
{
    const char *what = vendor_cases[i].what, *reason = vendor_cases[i].reason;
    const struct backup_set *newest = &c->sets[0];
    struct buf missing = BUF_INIT, files = BUF_INIT;

    same(what, newest->id, vendor_cases[i].newest);
    same(what, newest->reason ? newest->reason : "complete", reason ? reason : "complete");
    assert_int_equal(newest->complete, !reason);
    slots_format(&newest->missing, &missing);
    same(what, missing.data, vendor_cases[i].missing);
    assert_int_equal(c->set_count, vendor_cases[i].set_count);
    assert_int_equal(c->chosen, vendor_cases[i].chosen);
    for (size_t f = 0; c->chosen >= 0 && f < c->sets[c->chosen].file_count; f++) {
        const struct backup_file *file = &c->sets[c->chosen].files[f];
        buf_addf(&files, "%s ", file->shard_uid);
        assert_int_equal(json_integer_value(json_object_get(file->head, "rdb_version")), 10);
        assert_true(file->bytes > 0);
    }
    same(what, files.data, vendor_cases[i].chosen_files);
    buf_release(&missing);
    buf_release(&files);
}

static void vendor_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(vendor_cases); i++) {
        char *dir = temp_dir_make();
        struct catalogue_query query = vendor_cases[i].single ? single_query() : sharded_query();
        struct catalogue c;
        struct err err = ERR_INIT;

        for (size_t k = 0; k < 10 && vendor_cases[i].names[k]; k++)
            put_rdb(dir, vendor_cases[i].names[k], 1, 0, 1700000000);
        query.legacy = vendor_cases[i].legacy;
        if (vendor_cases[i].at)
            assert_ok(clock_parse(vendor_cases[i].at, &query.at_ms, &err), err);
        assert_ok(read_catalogue(dir, &query, &c, &err), err);
        check_vendor_case(i, &c);
        catalogue_release(&c);
        temp_dir_remove(dir);
    }
}

static void slots_of_names(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();
    struct catalogue c;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;

    put_rdb(dir, "bk20260101-100000-1-db-1_of_2-11-1-2048.rdb", 1, 0, 0);
    put_rdb(dir, "bk20260101-100000-1-db-2_of_2-12-2049-4096.rdb", 1, 0, 0);
    query.legacy = true;
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    slots_format(&c.sets[0].files[1].slots, &text);
    assert_string_equal(text.data, "2048-4095,6144-8191,10240-12287,14336-16383");
    assert_int_equal(c.sets[0].time_ms, INT64_C(1767261600000));
    catalogue_release(&c);
    query = single_query();
    put_rdb(dir, "bk20260102-100000-1-db-1_of_1-13-5-9.rdb", 1, 0, 0);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, 0);
    assert_true(slots_equal(&c.sets[0].files[0].slots, &all_slots));
    catalogue_release(&c);
    buf_release(&text);
    temp_dir_remove(dir);
}

/* A file that is no backup speaks against its set; an older one is taken. */
static void heads_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        size_t len;
        const char *reason;
    } cases[] = {{"", 0, "empty"}, {"<html>", 6, "web page"}, {"REDIS", 5, ""},
        {"\x1f\x8b\x08 cut", 7, "cut off"}, {"\x28\xb5\x2f\xfd and more of it", 20, "zstd"}};
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();

    put_rdb(dir, "bk20260101-100000-1-db-1_of_1-11-0-16383.rdb.gz", 1, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct catalogue c;
        struct err err = ERR_INIT;
        temp_file(
            dir, "bk20260102-100000-1-db-1_of_1-21-0-16383.rdb.gz", cases[i].content, cases[i].len);
        assert_ok(read_catalogue(dir, &query, &c, &err), err);
        assert_int_equal(c.set_count, 2);
        assert_int_equal(c.chosen, 1);
        assert_false(c.sets[0].complete);
        assert_non_null(strstr(c.sets[0].reason, "bk20260102"));
        assert_non_null(strstr(c.sets[0].reason, cases[i].reason));
        assert_true(slots_is_empty(&c.sets[0].missing));
        catalogue_release(&c);
    }
    temp_dir_remove(dir);
}

static void nothing_is_there(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();
    struct catalogue c;
    struct err err;

    assert_error(
        read_catalogue(dir, &query, &c, &err), err, ERR_NOT_FOUND, "db:1 'db': it is empty");
    temp_file(dir, "notes.txt", "x", 1);
    assert_error(
        read_catalogue(dir, &query, &c, &err), err, ERR_NOT_FOUND, "1 file, such as 'notes.txt'");
    put_rdb(dir, "bk20260101-100000-7-x-1_of_1-11-0-16383.rdb", 1, 0, 0);
    put_rdb(dir, "bk20260101-100000-17-x-1_of_1-11-0-16383.rdb", 1, 0, 0);
    put_rdb(dir, "bk20260102-100000-7-x-1_of_1-11-0-16383.rdb", 1, 0, 0);
    assert_error(read_catalogue(dir, &query, &c, &err), err, ERR_NOT_FOUND,
        "of the databases with the uids 17, 7");
    assert_error(
        read_catalogue("/nowhere/at/all", &query, &c, &err), err, ERR_NOT_FOUND, "/nowhere/at/all");
    temp_dir_remove(dir);
}

/* --- redis-cli --cluster backup --- */

#define NODE_A "15ed0b954919ea2130406485005b88d8437edce6"
#define NODE_B "bf7ca4fb57e4c89c0131f18cb3319c4b2d4b886b"
#define NODE_C "38d7706847913711767bb81de878e697dae99f2e"
#define NODE(id, slots)                                                                            \
    "{\"name\": \"" id "\", \"host\": \"127.0.0.1\", \"port\": 7901, \"replicate\": null, "        \
    "\"slots\": [" slots "], \"flags\": \"master\", \"current_epoch\": 1}"
#define REPLICA                                                                                    \
    "{\"name\": \"f00\", \"host\": \"127.0.0.1\", \"port\": 7904, \"replicate\": \"" NODE_A "\", " \
    "\"slots\": [], \"slots_count\": 0, \"flags\": \"slave\", \"current_epoch\": 1}"

static const char nodes[] = "[" NODE(NODE_A, "[0,5460]") "," NODE(NODE_B, "[10923,16383]") "," NODE(
    NODE_C, "[5461,9000],[9001,10922]") "," REPLICA "]";

static void put_cluster_backup(const char *dir)
{
    temp_file(dir, "nodes.json", nodes, sizeof(nodes) - 1);
    put_rdb(dir, "redis-node-127.0.0.1-7901-" NODE_A ".rdb", 0, 5460, 1700000200);
    put_rdb(dir, "redis-node-127.0.0.1-7902-" NODE_B ".rdb", 10923, 16383, 1700000100);
    put_rdb(dir, "redis-node-127.0.0.1-7903-" NODE_C ".rdb.gz", 5461, 10922, 1700000300);
}

static void cluster_backup(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();
    struct catalogue c;
    struct err err = ERR_INIT;

    put_cluster_backup(dir);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.set_count, 1);
    assert_int_equal(c.chosen, 0);
    assert_string_equal(c.sets[0].id, "nodes.json");
    assert_int_equal(c.sets[0].time_ms, INT64_C(1700000100000));
    assert_int_equal(c.sets[0].file_count, 3);
    assert_string_equal(c.sets[0].files[1].shard_uid, NODE_C);
    for (size_t i = 0; i < 3; i++) {
        assert_true(slots_equal(&c.sets[0].files[i].slots, &shards[i]));
        assert_non_null(c.sets[0].files[i].head);
    }
    catalogue_release(&c);

    query.at_ms = INT64_C(1700000099000);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, -1);
    catalogue_release(&c);

    query = single_query();
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, -1);
    assert_string_equal(c.sets[0].reason, "3 RDB files are here, but the database is not sharded");
    catalogue_release(&c);

    AUTO_FREE char *path = path_join(dir, "redis-node-127.0.0.1-7902-" NODE_B ".rdb");
    assert_int_equal(unlink(path), 0);
    query = sharded_query();
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, -1);
    assert_string_equal(c.sets[0].reason,
        "the file of node '" NODE_B "' is not there; slots 10923-16383 are missing");
    catalogue_release(&c);

    temp_file(dir, "redis-node-127.0.0.1-7902-" NODE_B ".rdb", "", 0);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, -1);
    assert_non_null(strstr(c.sets[0].reason, "empty"));
    catalogue_release(&c);
    temp_dir_remove(dir);
}

static void bad_nodes_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{}", "[", "[5]", "[{\"name\": \"x\"}]",
        "[{\"name\": \"x\", \"slots\": [[0,99999]]}]", "[{\"slots\": [[0,5]]}]",
        "[" NODE(NODE_A, "[0,16383]") "," NODE(NODE_B, "[5,6]") "]"};
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();

    put_cluster_backup(dir);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct catalogue c;
        struct err err = ERR_INIT;
        temp_file(dir, "nodes.json", texts[i], strlen(texts[i]));
        assert_ok(read_catalogue(dir, &query, &c, &err), err);
        assert_int_equal(c.chosen, -1);
        assert_non_null(strstr(c.sets[0].reason, i < 7 ? "nodes.json" : "another node has too"));
        catalogue_release(&c);
    }
    temp_dir_remove(dir);
}

/* --- any folder --- */

static void folder(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct catalogue_query query = sharded_query();
    struct catalogue c;
    struct err err = ERR_INIT;

    /* The names tell nothing; the last shard has no keys; a fourth file is empty too. */
    put_rdb(dir, "x.rdb", 5461, 10922, 1700000200);
    put_rdb(dir, "y.rdb.gz", 0, 5460, 1700000100);
    put_rdb(dir, "a.rdb", 1, 0, 1700000300);
    put_rdb(dir, "z.rdb", 1, 0, 1700000300);
    put_rdb(dir, "bk20260101-100000-7-x-1_of_1-11-0-16383.rdb", 0, 9, 0);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.set_count, 1);
    assert_int_equal(c.chosen, 0);
    const struct backup_set *set = &c.sets[0];
    assert_string_equal(set->id, "folder");
    assert_int_equal(set->time_ms, INT64_C(1700000100000));
    assert_int_equal(set->file_count, 3);
    assert_string_equal(set->files[0].name, "y.rdb.gz");
    assert_string_equal(set->files[1].name, "x.rdb");
    assert_string_equal(set->files[2].name, "a.rdb");
    for (size_t i = 0; i < 3; i++) {
        assert_true(slots_equal(&set->files[i].slots, &shards[i]));
        assert_true(set->files[i].scanned);
        assert_int_equal(json_integer_value(json_object_get(set->files[i].facts, "keys")), i < 2);
        assert_null(set->files[i].shard_uid);
    }
    catalogue_release(&c);
    temp_dir_remove(dir);
}

static void folder_that_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned first, last;
        const char *reason;
    } cases[] = {
        {"more.rdb", 0, 5460, "'more.rdb' and 'x.rdb' hold keys of the same shard"},
        {"wide.rdb", 0, 0, "'wide.rdb' fits no shard: its keys are in the slots "},
        {"bad.rdb", 0, 0, "'bad.rdb'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *dir = temp_dir_make();
        struct catalogue_query query = sharded_query();
        struct catalogue c;
        struct err err = ERR_INIT;
        put_rdb(dir, "x.rdb", 0, 5460, 0);
        put_rdb(dir, "y.rdb", 5461, 10922, 0);
        if (i == 0) {
            put_rdb(dir, cases[i].name, cases[i].first, cases[i].last, 0);
        } else if (i == 1) {
            struct buf b = BUF_INIT;
            AUTO_FREE char *k1 = sample_key(0, 5460), *k2 = sample_key(10923, 16383);
            const char *const keys[] = {k1, k2, NULL};
            sample_rdb(&b, keys, 0);
            temp_file(dir, cases[i].name, b.data, b.len);
            buf_release(&b);
        } else {
            temp_file(dir, cases[i].name, "REDIS0010\xfe\0\0\x01k", 14);
        }
        assert_ok(read_catalogue(dir, &query, &c, &err), err);
        assert_int_equal(c.chosen, -1);
        if (!strstr(c.sets[0].reason, cases[i].reason) ||
            !strstr(c.sets[0].reason, "slots 10923-16383 are missing"))
            fail_msg("%s", c.sets[0].reason);
        catalogue_release(&c);
        temp_dir_remove(dir);
    }
}

static void folder_of_a_single_database(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct catalogue_query query = single_query();
    struct catalogue c;
    struct err err = ERR_INIT;

    put_rdb(dir, "dump.rdb", 0, 16383, 1700000000);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, 0);
    assert_true(slots_equal(&c.sets[0].files[0].slots, &all_slots));
    assert_false(c.sets[0].files[0].scanned);
    catalogue_release(&c);
    put_rdb(dir, "dump2.rdb", 0, 16383, 0);
    assert_ok(read_catalogue(dir, &query, &c, &err), err);
    assert_int_equal(c.chosen, -1);
    assert_string_equal(c.sets[0].reason, "2 RDB files are here, but the database is not sharded");
    catalogue_release(&c);
    temp_dir_remove(dir);
}

/* --- over HTTP --- */

/* Sizes that the index doesn't give come with the heads; a server that fails is an error. */
static void over_http(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;
    const char *const keys[] = {"a", NULL};
    struct catalogue_query query = sharded_query();
    struct catalogue c;
    struct err err = ERR_INIT;
    static const char index[] = "<a href=\"bk20260101-100000-1-db-1_of_1-11-0-16383.rdb.gz\">x</a>";
    static const char html[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";

    sample_rdb(&plain, keys, 1700000000);
    sample_noise(&plain, 20000);
    sample_gzip(&packed, plain.data, plain.len);
    AUTO_FREE char *part =
        xasprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4095/%zu\r\n"
                  "Content-Length: 4096\r\nConnection: close\r\n",
            packed.len);
    const struct scripted_reply replies[] = {{html, index, sizeof(index) - 1, 0},
        {part, packed.data, 4096, 0}, {html, index, sizeof(index) - 1, 0},
        {"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0}};
    struct http_script *script = http_script_start(replies, 4);

    assert_ok(read_catalogue(http_script_url(script), &query, &c, &err), err);
    assert_int_equal(c.chosen, 0);
    assert_int_equal(c.sets[0].files[0].bytes, packed.len);
    const json_t *aux = json_object_get(c.sets[0].files[0].head, "aux");
    assert_string_equal(json_string_value(json_object_get(aux, "ctime")), "1700000000");
    assert_non_null(strstr(http_script_request(script, 1), "Range: bytes=0-4095\r\n"));
    catalogue_release(&c);
    assert_error(
        read_catalogue(http_script_url(script), &query, &c, &err), err, ERR_PROTOCOL, "402");
    http_script_end(script);
    buf_release(&plain);
    buf_release(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vendor_names),
        cmocka_unit_test(slots_of_names),
        cmocka_unit_test(heads_are_read),
        cmocka_unit_test(nothing_is_there),
        cmocka_unit_test(cluster_backup),
        cmocka_unit_test(bad_nodes_json),
        cmocka_unit_test(folder),
        cmocka_unit_test(folder_that_does_not_fit),
        cmocka_unit_test(folder_of_a_single_database),
        cmocka_unit_test(over_http),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, make_slots, NULL);
}
