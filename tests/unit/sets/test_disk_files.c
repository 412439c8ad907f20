#include "recluster/disk_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/file.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

#define LETTERS_63 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_012345678"
#define CTIME_S 1600000000

enum content { NOTHING, SNAPSHOT, UNDATED, NOISE, COMMANDS, TIMED_COMMANDS, FOLDER };

static void put(const char *dir, const char *name, enum content content)
{
    static const char *const none[] = {NULL};
    struct buf data = BUF_INIT;
    struct err err = ERR_INIT;
    AUTO_FREE char *path = path_join(dir, name);

    switch (content) {
    case NOTHING:
        break;
    case SNAPSHOT:
        sample_rdb(&data, none, CTIME_S);
        break;
    case UNDATED:
        sample_rdb(&data, none, 0);
        break;
    case NOISE:
        buf_adds(&data, "half a sector of nothing");
        break;
    case COMMANDS:
        buf_adds(&data, "*1\r\n$4\r\nPING\r\n");
        break;
    case TIMED_COMMANDS:
        buf_adds(&data, "#TS:1600000000\r\n*1\r\n$4\r\nPING\r\n");
        break;
    case FOLDER:
        assert_ok(dir_make(path, 0700, &err), err);
        return;
    }
    temp_file(dir, name, data.data, data.len);
    buf_release(&data);
}

static json_t *list(const char *dir)
{
    json_t *folder = json_string(dir), *files = NULL;
    struct err err = ERR_INIT;

    assert_ok(disk_files_list(folder, &files, &err), err);
    json_decref(folder);
    return files;
}

static const char *text(const json_t *facts, const char *key)
{
    const char *value = json_string_value(json_object_get(facts, key));
    return value ? value : "";
}

static int64_t number(const json_t *facts, const char *key)
{
    assert_true(json_is_integer(json_object_get(facts, key)));
    return json_integer_value(json_object_get(facts, key));
}

/* Of a file of use: whether it has the head of a snapshot. */
static void check_use(const json_t *facts, const char *error, bool snapshot)
{
    const json_t *head = json_object_get(facts, "head");

    if (error) {
        if (!strstr(text(facts, "error"), error) || head)
            fail_msg("%s: '%s', not '%s'", text(facts, "name"), text(facts, "error"), error);
        return;
    }
    assert_string_equal(text(facts, "error"), "");
    assert_true(json_is_object(head));
    assert_int_equal(json_object_get(head, "rdb_version") != NULL, snapshot);
}

/* Each alone in a folder; kind NULL: it is none of ours. */
static void names_say_whose_a_file_is(void **state)
{
    static const struct {
        const char *name;
        enum content content;
        const char *kind, *shard;
        bool previous, snapshot;
        const char *error;
    } cases[] = {
        {"redis-1.rdb", SNAPSHOT, "rdb", "1", false, true, NULL},
        {"redis-1.rdb.prev", SNAPSHOT, "rdb", "1", true, true, NULL},
        {"redis-" LETTERS_63 ".rdb", SNAPSHOT, "rdb", LETTERS_63, false, true, NULL},
        {"redis-redis-1.rdb.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1.rdb", NOTHING, "rdb", "1", false, false, "is empty"},
        {"redis-1.rdb", NOISE, "rdb", "1", false, false, "'redis-1.rdb'"},
        {"redis-1.rdb", COMMANDS, "rdb", "1", false, false, "'redis-1.rdb'"},
        {"appendonly-7.aof", COMMANDS, "aof", "7", false, false, NULL},
        {"appendonly-7.aof.prev", TIMED_COMMANDS, "aof", "7", true, false, NULL},
        {"appendonly-7.aof", SNAPSHOT, "aof", "7", false, true, NULL},
        {"appendonly-7.aof", NOTHING, "aof", "7", false, false, "is empty"},
        {"appendonly-7.aof", NOISE, "aof", "7", false, false, "does not begin"},
        {"redis-" LETTERS_63 "9.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1.rdb.gz", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1.rdb.prev.prev", SNAPSHOT, NULL, NULL, false, false, NULL},
        {".prev", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"xredis-1.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"temp-1.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1'.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-$(x).rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1\n.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-\xc3\xa9.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1.aof", COMMANDS, NULL, NULL, false, false, NULL},
        {"appendonly-1.rdb", SNAPSHOT, NULL, NULL, false, false, NULL},
        {"redis-1.rdb", FOLDER, NULL, NULL, false, false, NULL},
        {"appendonly-1.aof", FOLDER, NULL, NULL, false, false, NULL},
        {"appendonly-1.aof.dir", COMMANDS, NULL, NULL, false, false, NULL},
        {"appendonly-1.aof.dir", FOLDER, "aof-folder", "1", false, false, "no manifest"},
        {"appendonly-1.aof.dir.prev", FOLDER, "aof-folder", "1", true, false, "no manifest"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *dir = temp_dir_make();
        put(dir, cases[i].name, cases[i].content);
        json_t *files = list(dir);
        if (json_array_size(files) != (cases[i].kind ? 1 : 0))
            fail_msg("case %zu, '%s': %zu files", i, cases[i].name, json_array_size(files));
        const json_t *facts = json_array_get(files, 0);
        if (cases[i].kind) {
            assert_string_equal(text(facts, "name"), cases[i].name);
            assert_string_equal(text(facts, "kind"), cases[i].kind);
            assert_string_equal(text(facts, "shard"), cases[i].shard);
            assert_int_equal(json_is_true(json_object_get(facts, "previous")), cases[i].previous);
            check_use(facts, cases[i].error, cases[i].snapshot);
        }
        json_decref(files);
        temp_dir_remove(dir);
    }
}

/* A snapshot's own; else when it was written. */
static void files_have_a_time(void **state)
{
    static const struct {
        const char *name;
        enum content content;
        bool own;
    } cases[] = {
        {"redis-1.rdb", SNAPSHOT, true}, {"redis-2.rdb", UNDATED, false},
        {"redis-3.rdb", NOISE, false}, {"appendonly-1.aof", COMMANDS, false},
        {"appendonly-2.aof", SNAPSHOT, false}, /* what follows the snapshot is younger */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *dir = temp_dir_make();
        AUTO_FREE char *path = path_join(dir, cases[i].name);
        struct stat st;
        put(dir, cases[i].name, cases[i].content);
        assert_int_equal(stat(path, &st), 0);
        json_t *files = list(dir);
        const json_t *facts = json_array_get(files, 0);
        assert_int_equal(number(facts, "bytes"), st.st_size);
        assert_int_equal(number(facts, "time_ms") / 1000, cases[i].own ? CTIME_S : st.st_mtime);
        json_decref(files);
        temp_dir_remove(dir);
    }
}

struct part {
    const char *name;
    enum content content;
};

#define BASE "a.1.base.rdb"
#define INCR_1 "a.1.incr.aof"
#define INCR_2 "a.2.incr.aof"
#define LINE(name, type) "file " name " seq 1 type " type "\n"
#define LINE_2(name, type) "file " name " seq 2 type " type "\n"

/* What is in the folder, its manifest, and the parts in the order in which they are loaded. */
static void manifests_say_the_parts(void **state)
{
    static const struct {
        struct part files[4];
        const char *manifest, *parts, *error;
        bool snapshot;
    } cases[] = {
        {{{BASE, SNAPSHOT}, {INCR_1, COMMANDS}}, LINE(BASE, "b") LINE(INCR_1, "i"), BASE " " INCR_1,
            NULL, true},
        {{{BASE, SNAPSHOT}, {INCR_1, COMMANDS}, {INCR_2, NOTHING}},
            LINE(INCR_1, "i") LINE(BASE, "b") LINE_2(INCR_2, "i"), BASE " " INCR_1 " " INCR_2, NULL,
            true},
        {{{INCR_1, COMMANDS}}, LINE(INCR_1, "i"), INCR_1, NULL, false},
        {{{INCR_1, COMMANDS}}, LINE("a.0.incr.aof", "h") LINE(INCR_1, "i"), INCR_1, NULL, false},
        {{{BASE, COMMANDS}, {INCR_1, COMMANDS}}, LINE(INCR_1, "i"), INCR_1, NULL, false},
        {{{BASE, SNAPSHOT}}, LINE(BASE, "b") LINE(INCR_1, "i"), NULL,
            "'" INCR_1 "' of its manifest is missing", false},
        {{{BASE, NOTHING}, {INCR_1, NOTHING}}, LINE(BASE, "b") LINE(INCR_1, "i"), NULL,
            "all its files are empty", false},
        {{{BASE, NOISE}}, LINE(BASE, "b"), NULL, "does not begin", false},
        {{{BASE, SNAPSHOT}}, LINE("../redis-1.rdb", "b"), NULL, "this file is not in its folder",
            false},
        {{{BASE, SNAPSHOT}, {INCR_1, SNAPSHOT}}, LINE(BASE, "b") LINE(INCR_1, "b"), NULL,
            "two base files", false},
        {{{BASE, SNAPSHOT}}, "", NULL, "names no file", false},
        {{{BASE, SNAPSHOT}, {"b.manifest", NOISE}}, LINE(BASE, "b"), NULL, "two manifests", false},
        {{{BASE, SNAPSHOT}, {"temp-a.manifest", NOISE}}, LINE(BASE, "b"), BASE, NULL, true},
        {{{BASE, SNAPSHOT}, {INCR_1, COMMANDS}},
            LINE(BASE, "b") LINE(INCR_1, "i") LINE(INCR_1, "i"), NULL, "do not rise", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *dir = temp_dir_make();
        AUTO_FREE char *folder = path_join(dir, "appendonly-12.aof.dir");
        put(dir, "appendonly-12.aof.dir", FOLDER);
        for (size_t k = 0; k < ARRAY_SIZE(cases[i].files) && cases[i].files[k].name; k++)
            put(folder, cases[i].files[k].name, cases[i].files[k].content);
        temp_file(folder, "a.manifest", cases[i].manifest, strlen(cases[i].manifest));
        json_t *files = list(dir), *part;
        struct buf parts = BUF_INIT;
        int64_t bytes = 0;
        size_t k;
        assert_int_equal(json_array_size(files), 1);
        const json_t *facts = json_array_get(files, 0);
        check_use(facts, cases[i].error, cases[i].snapshot);
        json_array_foreach (json_object_get(facts, "parts"), k, part) {
            buf_addf(&parts, "%s%s", k ? " " : "", text(part, "name"));
            bytes += number(part, "bytes");
        }
        if (cases[i].parts) {
            assert_string_equal(parts.data, cases[i].parts);
            assert_int_equal(number(facts, "bytes"), bytes);
            assert_true(number(facts, "time_ms") > 0);
        }
        buf_release(&parts);
        json_decref(files);
        temp_dir_remove(dir);
    }
}

static void a_manifest_has_a_limit(void **state)
{
    char *dir = temp_dir_make();
    AUTO_FREE char *folder = path_join(dir, "appendonly-1.aof.dir");
    struct buf manifest = BUF_INIT;

    (void)state;
    put(dir, "appendonly-1.aof.dir", FOLDER);
    while (manifest.len < (size_t)100 * 1024)
        buf_adds(&manifest, LINE(INCR_1, "i"));
    temp_file(folder, "a.manifest", manifest.data, manifest.len);
    json_t *files = list(dir);
    check_use(json_array_get(files, 0), "the manifest", false);
    json_decref(files);
    buf_release(&manifest);
    temp_dir_remove(dir);
}

static void a_folder_that_is_not_there(void **state)
{
    char *dir = temp_dir_make();
    AUTO_FREE char *absent = path_join(dir, "redis");
    json_t *folder = json_string(absent), *files = NULL;
    struct err err;

    (void)state;
    assert_error(disk_files_list(folder, &files, &err), err, ERR_NOT_FOUND, absent);
    assert_null(files);
    json_decref(folder);
    temp_dir_remove(dir);
}

/* Beside a nodes.conf, the server's own names are those of its node. */
static void nodes_conf_says_whose_a_folder_is(void **state)
{
    static const struct {
        const char *conf, *shard; /* NULL: no such file; none of the files is ours */
    } cases[] = {
        {"aa01 127.0.0.1:1@2 master - 0 1 1 connected\n"
         "bb02 127.0.0.1:3@4 myself,slave aa01 0 1 1 connected\nvars currentEpoch 6\n",
            "bb02"},
        {"bb02 127.0.0.1:3@4,name myself,master - 0 1 1 connected 0-5", "bb02"},
        {"aa01 127.0.0.1:1@2 master - 0 1 1 connected\n", NULL},
        {"myself\n aa01 myself\n\nx myself", NULL},
        {"../x 127.0.0.1:3@4 myself,master - 0\n", NULL},
        {"", NULL},
        {NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *dir = temp_dir_make();
        put(dir, "dump.rdb", SNAPSHOT);
        put(dir, "appendonly.aof", COMMANDS);
        put(dir, "temp-12.rdb", SNAPSHOT);
        put(dir, "appendonlydir", FOLDER);
        if (cases[i].conf)
            temp_file(dir, "nodes.conf", cases[i].conf, strlen(cases[i].conf));
        json_t *files = list(dir);
        assert_int_equal(json_array_size(files), cases[i].shard ? 3 : 0);
        for (size_t k = 0; k < json_array_size(files); k++)
            assert_string_equal(text(json_array_get(files, k), "shard"), cases[i].shard);
        json_decref(files);
        temp_dir_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_whose_a_file_is),
        cmocka_unit_test(files_have_a_time),
        cmocka_unit_test(manifests_say_the_parts),
        cmocka_unit_test(a_manifest_has_a_limit),
        cmocka_unit_test(a_folder_that_is_not_there),
        cmocka_unit_test(nodes_conf_says_whose_a_folder_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
