/* The forms that a CCS file comes in, broken and hostile ones too. */

#include "ccs_test.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"

static void read_fixture(const char *name, struct buf *out)
{
    struct err err = ERR_INIT;
    char *path = xasprintf("%s/ccs/%s", FIXTURES, name);

    assert_int_equal(file_read(path, 1 << 20, out, &err), 0);
    free(path);
}

static void assert_same_tables(struct state *a, struct state *b)
{
    char *rows = typed_rows(a), *others = typed_rows(b);

    assert_string_equal(rows, others);
    free(rows);
    free(others);
    state_close(b);
}

static void test_same_in_all_forms(void **state)
{
    struct state *rdb = import_file(FIXTURES "/ccs/small.rdb");

    (void)state;
    assert_same_tables(rdb, import_file(FIXTURES "/ccs/small.rdb.gz"));
    assert_same_tables(rdb, import_file(FIXTURES "/ccs/small.json"));
    state_close(rdb);
}

/* small.json, gzipped, behind a byte-order mark, with each value in a wrapper, in pairs. */
static void test_json_forms(void **state)
{
    struct state *rdb = import_file(FIXTURES "/ccs/small.rdb");
    json_t *plain = json_load_file(FIXTURES "/ccs/small.json", 0, NULL);
    json_t *wrapped = json_object(), *pairs = json_array(), *value, *item;
    const char *key, *field;

    (void)state;
    json_object_foreach (plain, key, value) {
        const char *type = json_is_object(value) ? "hash" : json_is_array(value) ? "set" : "string";
        json_object_set_new(wrapped, key, json_pack("{s:s, s:O}", "type", type, "value", value));
        json_t *fields = json_array();
        if (json_is_object(value)) {
            json_object_foreach (value, field, item) {
                json_array_append_new(fields, json_pack("[s, O]", field, item));
            }
        }
        json_array_append_new(
            pairs, json_pack("[s, O]", key, json_is_object(value) ? fields : value));
        json_decref(fields);
    }
    json_t *forms[] = {wrapped, pairs, json_pack("[O]", plain)};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        char *text = json_dumps(forms[i], 0);
        assert_same_tables(rdb, import_json(text));
        char *marked = xasprintf("\xef\xbb\xbf \n%s", text);
        assert_same_tables(rdb, import_json(marked));
        free(text);
        free(marked);
        json_decref(forms[i]);
    }
    json_decref(plain);
    state_close(rdb);
}

static void test_json_types(void **state)
{
    struct state *st = import_json(
        "{\"cluster\": {\"name\": \"c\"}, \"bdb:all\": [5], \"node:1\": {\"addr\": \"127.10.0.1\"},"
        " \"bdb:5\": {\"name\": {\"type\": \"string\", \"value\": \"n\"}, \"port\": 12000,"
        "  \"sharding\": false, \"replication\": null, \"redis_list\": [4],"
        "  \"backup_location\": {\"type\": \"mount_point\", \"path\": \"/b\"},"
        "  \"module_list\": [{\"module_name\": \"search\", \"module_args\": \"\"}]},"
        " \"redis:4\": {\"bdb_uid\": 5, \"node_uid\": 1, \"role\": \"master\"}}");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = ccs_database(ccs, "5");

    (void)state;
    assert_non_null(db);
    assert_string_equal(db->name, "n");
    assert_int_equal(db->port, 12000);
    assert_false(db->sharded);
    assert_string_equal(db->modules[0], "search");
    assert_string_equal(json_string_value(json_object_get(db->backup_location, "path")), "/b");
    assert_int_equal(db->shard_count, 1);
    assert_int_equal(slots_count(ccs->shards[db->first_shard].slots), SLOT_COUNT);
    assert_null(find_finding(ccs, "unreadable-value", NULL));
    assert_null(find_finding(ccs, "link-mismatch", NULL));
    ccs_free(ccs);
    state_close(st);
}

static void test_gzip_members(void **state)
{
    struct state *rdb = import_file(FIXTURES "/ccs/small.rdb");
    struct buf plain = BUF_INIT, zipped = BUF_INIT;
    char *dir = make_dir();
    size_t len;

    (void)state;
    read_fixture("small.rdb", &plain);
    for (size_t at = 0, part; at < plain.len; at += part) {
        part = at == 0 ? 3 : plain.len - at < 1000 ? plain.len - at : 1000;
        void *member = gzip(plain.data + at, part, &len);
        buf_add(&zipped, member, len);
        free(member);
    }
    char *path = write_file(dir, "members.gz", zipped.data, zipped.len);
    assert_same_tables(rdb, import_file(path));
    free(path);

    buf_add(&zipped, "\0\0\0\0\0", 5); /* padding of a tape */
    path = write_file(dir, "padded", zipped.data, zipped.len);
    assert_same_tables(rdb, import_file(path));
    free(path);

    buf_add(&zipped, "garbage that is long enough", 27);
    path = write_file(dir, "garbage.gz", zipped.data, zipped.len);
    assert_refused(path, ERR_CORRUPT, "inflated");
    free(path);
    buf_release(&plain);
    buf_release(&zipped);
    drop_dir(dir);
    state_close(rdb);
}

static void test_gzip_broken(void **state)
{
    struct buf zipped = BUF_INIT;
    char *dir = make_dir();

    (void)state;
    read_fixture("small.rdb.gz", &zipped);
    for (size_t len = 2; len < zipped.len; len += 173) {
        char *path = write_file(dir, "cut.gz", zipped.data, len);
        assert_refused(path, ERR_CORRUPT, "cut off");
        free(path);
    }
    zipped.data[zipped.len - 6] ^= 1; /* its checksum */
    char *path = write_file(dir, "flipped.gz", zipped.data, zipped.len);
    assert_refused(path, ERR_CORRUPT, "checksum");
    free(path);
    buf_release(&zipped);
    drop_dir(dir);
}

/* A few hundred KB that become more JSON than any cluster has. */
static void test_gzip_bomb(void **state)
{
    const size_t bytes = (256 << 20) + (1 << 20);
    char *spaces = xmalloc(bytes), *dir = make_dir();
    size_t len;

    (void)state;
    memset(spaces, ' ', bytes);
    spaces[0] = '{';
    void *zipped = gzip(spaces, bytes, &len);
    free(spaces);
    char *path = write_file(dir, "bomb.gz", zipped, len);
    assert_refused(path, ERR_LIMIT, "JSON document");
    free(path);
    free(zipped);
    drop_dir(dir);
}

static void test_refused_files(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *words;
    } cases[] = {
        {"", ERR_CORRUPT, "empty"},
        {"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", ERR_UNSUPPORTED, "append-only file"},
        {"SQLite format 3", ERR_UNSUPPORTED, "--state"},
        {"\x28\xb5\x2f\xfd....", ERR_UNSUPPORTED, "zstd"},
        {"hello, world", ERR_UNSUPPORTED, "neither"},
        {"RED", ERR_UNSUPPORTED, "neither"},
        {"{\"bdb:1\": {\"name\": ", ERR_CORRUPT, "line 1"},
        {"{\"bdb:1\": {\"port\": 99999999999999999999}}", ERR_CORRUPT, "line 1"},
        {"{}", ERR_CHECK, "no cluster in it"},
        {"[]", ERR_CHECK, "no cluster in it"},
        {"[[1, 2], 3, null]", ERR_CHECK, "no cluster in it"},
        {"{\"user:1\": {\"name\": \"x\"}, \"bdb:1:x\": {\"a\": \"b\"}}", ERR_CHECK, "verify"},
        {"{\"bdb:1\": {\"type\": \"hash\", \"value\": [1]}}", ERR_CORRUPT, "pairs"},
        {"REDIS0009", ERR_CORRUPT, ""},
    };
    char *dir = make_dir();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *path = write_file(dir, "file", cases[i].text, strlen(cases[i].text));
        assert_refused(path, cases[i].code, cases[i].words);
        free(path);
    }
    assert_refused(dir, ERR_UNSUPPORTED, "it is a folder");
    char *path = path_join(dir, "nothing-here");
    assert_refused(path, ERR_CHECK, "");
    free(path);
    assert_refused(FIXTURES "/rdb-corpus/100_lists.rdb", ERR_CHECK, "no cluster in it");
    drop_dir(dir);
}

static void test_rdb_cut_and_flipped(void **state)
{
    struct buf rdb = BUF_INIT;
    char *dir = make_dir();

    (void)state;
    read_fixture("small.rdb", &rdb);
    for (size_t len = 9; len < rdb.len; len += 211) {
        char *path = write_file(dir, "cut.rdb", rdb.data, len);
        assert_refused(path, ERR_CORRUPT, "");
        free(path);
    }
    for (size_t at = 9; at < rdb.len; at += 97) {
        struct err err = ERR_INIT;
        struct state *st;
        rdb.data[at] ^= 0x10;
        char *path = write_file(dir, "flipped.rdb", rdb.data, rdb.len);
        assert_int_equal(state_open("", STATE_MEMORY, &st, &err), 0);
        assert_int_equal(ccs_import(path, NULL, st, &err), -1);
        assert_true(err.code == ERR_CORRUPT || err.code == ERR_UNSUPPORTED);
        state_close(st);
        free(path);
        rdb.data[at] ^= 0x10;
    }
    buf_release(&rdb);
    drop_dir(dir);
}

/* A file of nothing but `cluster`, saved so many seconds ago. */
static struct ccs *load_of_age(int64_t age_s)
{
    struct buf rdb = BUF_INIT;
    char *dir = make_dir();

    buf_addf(&rdb, "REDIS0009\xfa\x05%s\x0a%010lld", "ctime",
        (long long)(clock_wall_ms() / 1000 - age_s));
    buf_add(&rdb,
        "\x04\x07"
        "cluster\x01\x04name\x01x\xff\0\0\0\0\0\0\0\0",
        26);
    char *path = write_file(dir, "aged.rdb", rdb.data, rdb.len);
    struct state *st = import_file(path);
    struct ccs *ccs = load(st);
    state_close(st);
    free(path);
    buf_release(&rdb);
    drop_dir(dir);
    return ccs;
}

static void test_age(void **state)
{
    static const struct {
        int64_t age_s;
        const char *code; /* NULL: fine */
    } cases[] = {{300, NULL}, {3500, NULL}, {7200, "ccs-old"}, {-7200, "ccs-age-unknown"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ccs *ccs = load_of_age(cases[i].age_s);
        assert_true(ccs->saved_ms > 0);
        assert_finding(ccs, "no-database", "");
        assert_int_equal(ccs->finding_count, cases[i].code ? 2 : 1);
        if (cases[i].code)
            assert_finding(ccs, cases[i].code, "");
        ccs_free(ccs);
    }
}

static void test_odd_json(void **state)
{
    struct state *st = import_json(
        "{\"cluster\": {\"name\": \"x\\u0000y\"}, \"node:1\": \"text\", \"node:\": {},"
        " \"node:all\": {\"a\": \"b\"}, \"bdb:all\": \"1 2\", \"bdb:1\": {},"
        " \"redis:1\": {\"bdb_uid\": \"1\", \"role\": \"master\", \"port\": \"-1\","
        "  \"node_uid\": \"\", \"assigned_slots\": \"0-99999999999\"},"
        " \"redis:2\": {\"bdb_uid\": \"1\", \"assigned_slots\": []},"
        " \"endpoint:\": {}, \"endpoint:1:1:1\": {}, \"endpoint:7\": {\"port\": \"65536\"},"
        " \"user:1\": {\"name\": [1, {\"a\": null}]}}");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = ccs_database(ccs, "1");

    (void)state;
    assert_non_null(db);
    assert_string_equal(db->name, "db:1");
    assert_null(ccs->cluster_name);
    assert_int_equal(ccs->node_count, 0);
    assert_int_equal(db->shard_count, 2);
    assert_int_equal(ccs->endpoint_count, 1);
    assert_finding(ccs, "unreadable-key", "node:1");
    assert_finding(ccs, "unreadable-value", "cluster");
    assert_finding(ccs, "unreadable-value", "redis:1");
    assert_finding(ccs, "unreadable-value", "redis:2");
    assert_finding(ccs, "unreadable-value", "endpoint:7");
    assert_finding(ccs, "unknown-node", "redis:1");
    assert_finding(ccs, "unknown-database", "endpoint:7 bdb:7");
    assert_finding(ccs, "set-mismatch", "bdb:all bdb:2");
    ccs_free(ccs);
    state_close(st);
}

static void test_many_findings_are_counted(void **state)
{
    struct buf text = BUF_INIT;

    (void)state;
    buf_adds(&text, "{\"bdb:1\": {\"name\": \"a\"}");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, ", \"redis:%d\": {\"bdb_uid\": \"9\", \"role\": \"master\"}", i);
    buf_addc(&text, '}');
    struct state *st = import_json(text.data);
    struct ccs *ccs = load(st);
    const struct ccs_finding *more = find_finding(ccs, "more-findings", "");
    assert_non_null(more);
    char *count = query(st, "SELECT count(*) FROM finding WHERE code = 'unknown-database'");
    assert_string_equal(count, "100");
    count = (free(count), query(st, "SELECT message FROM finding WHERE message LIKE"
                                    " '900 more findings ''unknown-database''%'"));
    assert_non_null(count);
    free(count);
    buf_release(&text);
    ccs_free(ccs);
    state_close(st);
}

static void test_odd_nodes_json(void **state)
{
    struct state *st = import_json(
        "[{\"name\": \"a\", \"host\": \"127.10.0.1\", \"port\": 6379, \"replicate\": null,"
        "  \"slots\": [[0, 8000]], \"migrating\": {\"7\": \"b\"}},"
        " {\"name\": \"b\", \"host\": \"127.10.0.2\", \"port\": 6379, \"replicate\": null,"
        "  \"slots\": [[8001, 16383]]},"
        " {\"name\": \"c\", \"host\": \"127.10.0.1\", \"port\": -1, \"replicate\": \"b\","
        "  \"slots\": []},"
        " {\"name\": \"d\", \"host\": \"127.10.0.2\", \"port\": 6380, \"replicate\": \"gone\","
        "  \"slots\": []},"
        " {\"name\": \"e\", \"host\": \"127.10.0.3\", \"port\": 6379, \"slots\": []},"
        " {\"name\": \"a\", \"host\": \"127.10.0.4\", \"port\": 6379, \"slots\": [[1, 2]]},"
        " {\"name\": \"f\", \"host\": null, \"port\": \"x\", \"slots\": [[5, 99999]],"
        "  \"replicate\": \"a\"},"
        " {}, 7]");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = ccs_database(ccs, "1");

    (void)state;
    assert_non_null(db);
    assert_int_equal(ccs->node_count, 2);
    assert_int_equal(db->primaries, 2);
    assert_int_equal(db->shard_count, 5);
    assert_int_equal(db->endpoint_count, 2);
    assert_string_equal(ccs->endpoints[0].addr, "127.10.0.1,127.10.0.2");
    assert_finding(ccs, "node-status", "nodes.json:0");
    assert_finding(ccs, "unreadable-value", "nodes.json:2");
    assert_finding(ccs, "replica-unpaired", "redis:d bdb:1");
    assert_finding(ccs, "node-without-slots", "nodes.json:4");
    assert_finding(ccs, "duplicate-key", "nodes.json:5");
    assert_finding(ccs, "unreadable-value", "nodes.json:6");
    assert_finding(ccs, "unreadable-key", "nodes.json:7");
    assert_finding(ccs, "unreadable-key", "nodes.json:8");
    ccs_free(ccs);
    state_close(st);
}

/* Sentinels of a captured file, some with unusable values, and what the hosts file changes. */
static void test_sentinels(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    struct state *st = import_json(
        "{\"cluster\": {\"name\": \"c\"}, \"bdb:all\": [\"1\", \"2\", \"3\"], \"bdb:1\": {}, \"bdb:2\": {},"
        " \"bdb:3\": {}, \"sentinel:all\": [\"1\", \"2\", \"3\", \"4\"],"
        " \"sentinel:1\": {\"bdb_uid\": \"1\", \"name\": \"orders\", \"port\": \"26380\", \"quorum\": \"2\","
        "  \"down_after_ms\": \"1500\", \"failover_timeout_ms\": \"5000\", \"parallel_syncs\": \"3\"},"
        " \"sentinel:2\": {\"bdb_uid\": \"1\", \"name\": \"other\", \"port\": \"1\"},"
        " \"sentinel:3\": {\"bdb_uid\": \"2\", \"name\": \"a\\nport 1\", \"port\": \"99999999\","
        "  \"quorum\": \"-1\", \"down_after_ms\": \"x\"},"
        " \"sentinel:4\": {\"bdb_uid\": \"9\", \"name\": \"n\"}}");
    struct ccs *ccs = load(st);
    const struct ccs_sentinels *s = ccs_database(ccs, "1")->sentinels;
    assert_string_equal(s->name, "orders");
    assert_int_equal(s->count, 2);
    assert_int_equal(s->port, 26380);
    assert_int_equal(s->quorum, 2);
    assert_int_equal(s->down_after_ms, 1500);
    assert_int_equal(s->failover_timeout_ms, 5000);
    assert_int_equal(s->parallel_syncs, 3);
    s = ccs_database(ccs, "2")->sentinels;
    assert_string_equal(s->name, "mymaster");
    assert_int_equal(s->count, 1);
    assert_true(s->port == 0 && s->quorum == 0 && s->down_after_ms == 0);
    assert_null(ccs_database(ccs, "3")->sentinels);

    /* What the hosts file says holds now and in later runs. */
    json_t *wish = json_pack("{s:s, s:i}", "name", "mine", "quorum", 3);
    assert_int_equal(ccs_ask_for_sentinels(ccs, ccs_database(ccs, "1"), wish, st, &err), 0);
    json_decref(wish);
    wish = json_false();
    assert_int_equal(ccs_ask_for_sentinels(ccs, ccs_database(ccs, "2"), wish, st, &err), 0);
    wish = json_true();
    assert_int_equal(ccs_ask_for_sentinels(ccs, ccs_database(ccs, "3"), wish, st, &err), 0);
    for (int run = 0; run < 2; run++) {
        s = ccs_database(ccs, "1")->sentinels;
        assert_string_equal(s->name, "mine");
        assert_true(s->quorum == 3 && s->port == 26380 && s->count == 2);
        assert_null(ccs_database(ccs, "2")->sentinels);
        assert_true(ccs_database(ccs, "2")->no_sentinels);
        s = ccs_database(ccs, "3")->sentinels;
        assert_string_equal(s->name, "mymaster");
        assert_int_equal(s->count, 0);
        ccs_free(ccs);
        ccs = load(st);
    }
    ccs_free(ccs);
    state_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentinels),
        cmocka_unit_test(test_same_in_all_forms),
        cmocka_unit_test(test_json_forms),
        cmocka_unit_test(test_json_types),
        cmocka_unit_test(test_gzip_members),
        cmocka_unit_test(test_gzip_broken),
        cmocka_unit_test(test_gzip_bomb),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_rdb_cut_and_flipped),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_odd_json),
        cmocka_unit_test(test_many_findings_are_counted),
        cmocka_unit_test(test_odd_nodes_json),
    };

    return cmocka_run_group_tests_name("ccs_forms", tests, NULL, NULL);
}
