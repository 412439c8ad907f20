/* Cutting, joining and stamping: no record is lost, changed or doubled, and outputs are good files. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cut.h"

static const char *const files[] = {"rdb/values.rdb", "rdb/facts.rdb", "rdb-corpus/100_lists.rdb",
    "rdb-corpus/empty.rdb", "rdb-corpus/function.rdb", "rdb-corpus/hash_lp_v11.rdb",
    "rdb-corpus/hash_lp_with_hexpire_v12.rdb", "rdb-corpus/hash_v3.rdb",
    "rdb-corpus/hash_zm_v2.rdb", "rdb-corpus/mem_policy_lru.rdb", "rdb-corpus/module_aux.rdb",
    "rdb-corpus/multiple_lists_strings.rdb", "rdb-corpus/plain_zset_v6.rdb",
    "rdb-corpus/quicklist.rdb", "rdb-corpus/script_legacy.rdb", "rdb-corpus/set_expired_v11.rdb",
    "rdb-corpus/string_int_encoded.rdb", "rdb-corpus/string_lzf.rdb", "rdb-corpus/ziplist_v3.rdb"};

static void run_well(struct cut *cut)
{
    struct err err = ERR_INIT;
    if (cut_run(cut, &err) < 0)
        fail_msg("%s", err.message);
}

static void run_badly(struct cut *cut, enum err_code code, const char *message)
{
    struct err err = ERR_INIT;
    assert_int_equal(cut_run(cut, &err), -1);
    if (err.code != code || !strstr(err.message, message))
        fail_msg("'%s' is not '%s'", err.message, message);
    cut_release(cut);
}

/* Thirds of the slots. */
static const struct slots *thirds(void)
{
    static struct slots slots[3];
    memset(slots, 0, sizeof(slots));
    slots_add_range(&slots[0], 0, 5460);
    slots_add_range(&slots[1], 5461, 10922);
    slots_add_range(&slots[2], 10923, 16383);
    return slots;
}

static void cut_in_three(struct cut *cut, const struct buf *file, enum feeding way)
{
    *cut = (struct cut){.inputs = file, .input_count = 1, .output_count = 3, .way = way};
    for (int i = 0; i < 3; i++)
        cut->slots[i] = &thirds()[i];
    run_well(cut);
}

static json_int_t number(const json_t *facts, const char *key)
{
    return json_integer_value(json_object_get(facts, key));
}

/* The scan that came with the writing says what a scan of the file says. */
static void check_facts(const struct cut *cut, size_t output)
{
    json_t *facts = scan_facts(&cut->outputs[output]);

    assert_true(json_equal(facts, cut->scans[output]));
    assert_int_equal(cut->facts[output].bytes, cut->outputs[output].len);
    assert_int_equal(cut->facts[output].keys, number(facts, "keys"));
    assert_int_equal(cut->facts[output].expires, number(facts, "expires"));
    if (number(facts, "rdb_version") >= 5)
        assert_string_equal(json_string_value(json_object_get(facts, "checksum")), "ok");
    json_decref(facts);
}

static void assert_same_bytes(const struct buf *a, const struct buf *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

static void a_file_cut_and_joined_has_the_same_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct buf file = BUF_INIT;
        struct cut parts[FEED_WAYS], joined;

        read_fixture(files[i], &file);
        for (unsigned way = 0; way < FEED_WAYS; way++)
            cut_in_three(&parts[way], &file, way);
        uint64_t keys = 0, digest = 0;
        for (size_t part = 0; part < 3; part++) {
            for (unsigned way = 1; way < FEED_WAYS; way++)
                assert_same_bytes(&parts[0].outputs[part], &parts[way].outputs[part]);
            check_facts(&parts[0], part);
            keys += parts[0].facts[part].keys;
            digest += records_digest(&parts[0].outputs[part]);
        }
        assert_int_equal(keys, parts[0].source.keys);
        assert_int_equal(parts[0].source.bytes, file.len);
        assert_int_equal(parts[0].source.left_out, 0);
        assert_int_equal(digest, records_digest(&file));

        if (strcmp(files[i], "rdb-corpus/module_aux.rdb") != 0) {
            joined = (struct cut){
                .inputs = parts[0].outputs, .input_count = 3, .output_count = 1, .way = i % 3};
            run_well(&joined);
            check_facts(&joined, 0);
            assert_int_equal(records_digest(&joined.outputs[0]), digest);
            json_t *facts = scan_facts(&file);
            assert_int_equal(number(facts, "functions"), number(joined.scans[0], "functions"));
            json_decref(facts);
            cut_release(&joined);
        }
        for (unsigned way = 0; way < FEED_WAYS; way++)
            cut_release(&parts[way]);
        buf_release(&file);
    }
}

/* All events of a file, without its aux fields, and with offsets that do not count. */
static char *contents_of(const struct buf *file)
{
    struct trace t;
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;

    trace_init(&t, RDB_DECODE);
    if (trace_read(&t, file->data, file->len, FEED_WHOLE, NULL, &err) < 0)
        fail_msg("%s", err.message);
    for (const char *line = t.text.data; *line; line = strchr(line, '\n') + 1) {
        size_t len = (size_t)(strchr(line, '\n') - line) + 1;
        if (strncmp(line, "aux repl-", 9) == 0 || strncmp(line, "end @", 5) == 0)
            continue;
        if (strncmp(line, "record @", 8) == 0) {
            const char *rest = strchr(line + 8, ' ');
            len -= (size_t)(rest - line);
            line = rest;
        }
        buf_add(&out, line, len);
    }
    trace_release(&t);
    return buf_take(&out);
}

static void one_output_of_all_slots_is_a_copy(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        for (int how = 0; how < 3; how++) {
            struct buf file = BUF_INIT;
            bool stamp = how > 0, stamp_only = how > 1;
            read_fixture(files[i], &file);
            struct cut cut = {.inputs = &file,
                .input_count = 1,
                .output_count = 1,
                .stamp = stamp,
                .stamp_only = stamp_only,
                .way = i % FEED_WAYS};
            run_well(&cut);
            assert_true(!stamp_only || cut.patches == 0);
            check_facts(&cut, 0);
            char *before = contents_of(&file), *after = contents_of(&cut.outputs[0]);
            assert_string_equal(before, after);
            assert_true(strlen(cut.facts[0].repl_id) == (stamp ? 40 : 0));
            free(before);
            free(after);
            cut_release(&cut);
            buf_release(&file);
        }
}

/* What Redis reads: 0xfe, database, 0xfb, two lengths of 32 bits. */
static void assert_hints(const struct buf *file, unsigned db, uint32_t keys, uint32_t expires)
{
    uint8_t select[] = {0xfe, (uint8_t)db, 0xfb};
    const uint8_t *at = memmem(file->data, file->len, select, sizeof(select));

    assert_non_null(at);
    assert_int_equal(at[3], 0x80);
    assert_int_equal(at[8], 0x80);
    assert_int_equal(be32toh(load32(at + 4)), htole32(keys));
    assert_int_equal(be32toh(load32(at + 9)), htole32(expires));
}

static void hints_are_what_the_output_holds(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct cut cut;

    read_fixture("rdb/facts.rdb", &file);
    cut_in_three(&cut, &file, FEED_WHOLE);
    for (size_t i = 0; i < 3; i++) {
        json_t *dbs = json_object_get(cut.scans[i], "keys_by_db");
        const char *name;
        json_t *keys;
        uint32_t expires = 0;
        json_object_foreach (dbs, name, keys)
            if (strcmp(name, "0") == 0) {
                expires = (uint32_t)cut.facts[i].expires;
                const json_t *two = json_object_get(dbs, "2");
                expires -= (uint32_t)json_integer_value(two);
                assert_hints(&cut.outputs[i], 0, (uint32_t)json_integer_value(keys), expires);
            }
    }
    cut_release(&cut);
    buf_release(&file);
}

static void stamp_once(const struct buf *file, char id[RDB_REPL_ID_HEX + 1])
{
    struct cut cut = {.inputs = file, .input_count = 1, .output_count = 1, .stamp = true};

    run_well(&cut);
    check_facts(&cut, 0);
    const json_t *aux = json_object_get(cut.scans[0], "aux");
    assert_string_equal(json_string_value(json_object_get(aux, "repl-id")), cut.facts[0].repl_id);
    assert_string_equal(json_string_value(json_object_get(aux, "repl-offset")), "1");
    assert_string_equal(json_string_value(json_object_get(aux, "repl-stream-db")), "0");
    strcpy(id, cut.facts[0].repl_id);
    cut_release(&cut);
}

static void equal_ids_mean_equal_data(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t len;
        bool same;
    } others[] = {
#define OTHER(name, bytes, same) {name, bytes, sizeof(bytes) - 1, same}
        OTHER("other aux fields",
            "\xfa\x01"
            "a\x01"
            "b\xfe\x00\x00\x01k\x01v",
            true),
        OTHER("a history of its own",
            "\xfa\x07repl-id\x03"
            "abc\xfe\x00\x00\x01k\x01v",
            true),
        OTHER("other hints", "\xfe\x00\xfb\x05\x05\x00\x01k\x01v", true),
        OTHER("another value", "\xfe\x00\x00\x01k\x01w", false),
        OTHER("another key", "\xfe\x00\x00\x01l\x01v", false),
        OTHER("another database", "\xfe\x01\x00\x01k\x01v", false),
        OTHER("an expiry", "\xfe\x00\xfc\1\1\1\1\1\1\1\1\x00\x01k\x01v", false),
        OTHER("one more key", "\xfe\x00\x00\x01k\x01v\x00\x01m\x01v", false),
        OTHER("a function",
            "\xf5\x04"
            "code\xfe\x00\x00\x01k\x01v",
            false),
    };
    struct buf file = BUF_INIT;
    char id[RDB_REPL_ID_HEX + 1], other[RDB_REPL_ID_HEX + 1];

    FILE_OF(&file, "REDIS0010", "\xfe\x00\x00\x01k\x01v");
    stamp_once(&file, id);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        file_of(&file, "REDIS0010", others[i].bytes, others[i].len);
        stamp_once(&file, other);
        if ((strcmp(id, other) == 0) != others[i].same)
            fail_msg("%s", others[i].name);
    }
    buf_release(&file);
}

/* Slots: k 7629, l 11562, m 15627. */
static void inputs_share_no_slot(void **state)
{
    (void)state;
    struct buf inputs[2] = {BUF_INIT, BUF_INIT};
    struct slots most;
    struct cut cut = {.inputs = inputs, .input_count = 2, .output_count = 1};

    FILE_OF(&inputs[0], "REDIS0009", "\x00\x01k\x01v\x00\x01l\x01v");
    FILE_OF(&inputs[1], "REDIS0011", "\x00\x01m\x01w\x00\x01k\x01w");
    run_badly(&cut, ERR_CHECK, "slot 7629 has keys in more than one of the files");

    slots_fill(&most);
    struct slots k = {{0}};
    slots_add(&k, 7629);
    slots_subtract(&most, &k);
    cut.takes[0] = &most;
    run_well(&cut);
    check_facts(&cut, 0);
    assert_int_equal(cut.source.keys, 4);
    assert_int_equal(cut.source.left_out, 1);
    assert_int_equal(cut.facts[0].keys, 3);
    assert_memory_equal(cut.outputs[0].data, "REDIS0011", 9);
    assert_non_null(memmem(cut.outputs[0].data, cut.outputs[0].len, "\x01k\x01w", 4));
    assert_null(memmem(cut.outputs[0].data, cut.outputs[0].len, "\x01k\x01v", 4));
    cut_release(&cut);
    buf_release(&inputs[0]);
    buf_release(&inputs[1]);
}

static void keys_of_no_output_are_left_out_and_counted(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct slots some = {{0}};
    struct cut cut = {.inputs = &file, .input_count = 1, .output_count = 1, .slots = {&some}};

    slots_add_range(&some, 7000, 12000);
    FILE_OF(&file, "REDIS0009", "\x00\x01m\x01v\x00\x01k\x01v\x00\x01m\x01v\x00\x01l\x01v");
    run_well(&cut);
    check_facts(&cut, 0);
    assert_int_equal(cut.facts[0].keys, 2);
    assert_int_equal(cut.source.left_out, 2);
    assert_true(slots_has(&cut.source.slots, 15627));
    cut_release(&cut);
    buf_release(&file);
}

static void libraries_become_one_or_are_refused(void **state)
{
    (void)state;
    struct buf inputs[2] = {BUF_INIT, BUF_INIT};
    struct cut cut = {.inputs = inputs, .input_count = 2, .output_count = 1};
#define LIBRARY "\xf5\x10#!lua name=lib\n"

    FILE_OF(&inputs[0], "REDIS0010", LIBRARY "1\x00\x01k\x01v");
    FILE_OF(&inputs[1], "REDIS0010", LIBRARY "1\x00\x01l\x01v");
    run_well(&cut);
    assert_int_equal(number(cut.scans[0], "functions"), 1);
    cut_release(&cut);
    FILE_OF(&inputs[1], "REDIS0010", LIBRARY "2\x00\x01l\x01v");
    run_badly(&cut, ERR_CHECK, "the library 'lib' of functions differs");

    FILE_OF(&inputs[1], "VALKEY080", "\x00\x01l\x01v");
    run_badly(&cut, ERR_UNSUPPORTED, "cannot be joined");
    read_fixture("rdb-corpus/module_aux.rdb", &inputs[0]);
    read_fixture("rdb-corpus/module_aux.rdb", &inputs[1]);
    run_badly(&cut, ERR_UNSUPPORTED, "data of modules outside of keys");
    buf_release(&inputs[0]);
    buf_release(&inputs[1]);
}

static void slot_info_goes_where_the_slot_goes(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct cut cut;

    /* 7629 and 11562 with their hints */
    FILE_OF(&file, "REDIS0012",
        "\xfe\x00\xfb\x02\x00\xf4\x5d\xcd\x01\x00\x00\x01k\x01v\xf4\x6d\x2a\x01\x00\x00\x01l\x01v");
    cut_in_three(&cut, &file, FEED_BYTES);
    assert_non_null(
        memmem(cut.outputs[1].data, cut.outputs[1].len, "\xf4\x5d\xcd\x01\x00\x00\x01k\x01v", 10));
    assert_non_null(
        memmem(cut.outputs[2].data, cut.outputs[2].len, "\xf4\x6d\x2a\x01\x00\x00\x01l\x01v", 10));
    assert_null(memchr(cut.outputs[0].data, 0xf4, cut.outputs[0].len - 8));
    cut_release(&cut);
    buf_release(&file);
}

static void wrong_outputs_are_refused(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct slots some = {{0}};
    struct cut cut = {.inputs = &file, .input_count = 1, .output_count = 2, .slots = {&some}};

    slots_add(&some, 5);
    run_badly(&cut, ERR_USAGE, "slot 5 belongs to two outputs, 1 and 2");
    cut.output_count = 0;
    run_badly(&cut, ERR_USAGE, "0 outputs");
    cut.output_count = 1;
    cut.stamp = cut.stamp_only = true;
    run_badly(&cut, ERR_USAGE, "one output of all slots");
    cut.slots[0] = NULL;
    cut.stamp = false;
    run_badly(&cut, ERR_USAGE, "one output of all slots");
}

/* Not even what a copy would put in order, and an older history. */
static void a_stamp_changes_nothing_but_the_end(void **state)
{
    (void)state;
    static const char body[] = "\xfa\x07repl-id\x28"
                               "0123456789012345678901234567890123456789"
                               "\xfa\x0brepl-offset\xc0\x7d\xfe\x00\xfe\x40\x02\xfb\x05\x04"
                               "\x00\x01k\x01v\xfe\x02\x00\x01l\x01v";
    static const char *const headers[] = {"REDIS0004", "REDIS0009", "VALKEY080"};

    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        struct buf file = BUF_INIT;
        struct cut cut = {.inputs = &file,
            .input_count = 1,
            .output_count = 1,
            .stamp = true,
            .stamp_only = true,
            .way = i % FEED_WAYS};
        FILE_OF(&file, headers[i], body);
        run_well(&cut);
        check_facts(&cut, 0);
        assert_int_equal(cut.facts[0].end_offset, RDB_HEADER_BYTES + sizeof(body) - 1);
        assert_memory_equal(cut.outputs[0].data, file.data, cut.facts[0].end_offset);
        const json_t *aux = json_object_get(cut.scans[0], "aux");
        assert_string_equal(
            json_string_value(json_object_get(aux, "repl-id")), cut.facts[0].repl_id);
        assert_string_equal(json_string_value(json_object_get(aux, "repl-offset")), "1");
        cut_release(&cut);
        struct buf two[2] = {file, file};
        cut.inputs = two;
        cut.input_count = 2;
        run_badly(&cut, ERR_USAGE, "cannot be joined with another");
        buf_release(&file);
    }
}

/* As KeyDB writes them; a server takes the expiry for the key, whatever unit stands between them. */
static void a_unit_between_an_expiry_and_its_key_is_taken(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        json_int_t keys, expires;
    } files[] = {
#define WITH(text, keys, expires) {text, sizeof(text) - 1, keys, expires}
        WITH("\xfe\x00\x00\x01k\x01v\xfc\1\1\1\1\1\1\1\1\xfa\x01x\x01y\x00\x01l\x01v", 2, 1),
        WITH("\xfc\1\1\1\1\1\1\1\1\xfe\x00\xfa\x01x\x01y\xf8\x05\xfa\x01x\x01y\x00\x01l\x01v"
             "\x00\x01k\x01v",
            2, 1),
        WITH("\x00\x01k\x01v\xf8\x05\xf7\x81\1\1\1\1\1\1\1\1\x00\x00\x01l\x01v", 2, 0),
        WITH("\x00\x01k\x01v\xfc\1\1\1\1\1\1\1\1", 1, 0),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
            struct buf file = BUF_INIT;
            struct cut cut;
            json_int_t keys = 0, expires = 0;
            file_of(&file, "REDIS0009", files[i].bytes, files[i].len);
            cut_in_three(&cut, &file, (enum feeding)way);
            for (size_t k = 0; k < 3; k++) {
                check_facts(&cut, k);
                keys += number(cut.scans[k], "keys");
                expires += number(cut.scans[k], "expires");
            }
            assert_int_equal(keys, files[i].keys);
            assert_int_equal(expires, files[i].expires);
            cut_release(&cut);
            cut = (struct cut){.inputs = &file,
                .input_count = 1,
                .output_count = 1,
                .stamp = true,
                .stamp_only = true,
                .way = (enum feeding)way};
            run_well(&cut);
            assert_int_equal(number(cut.scans[0], "expires"), files[i].expires);
            cut_release(&cut);
            buf_release(&file);
        }
}

/* Slots: {a}1 and {a}2 15495, k 7629, l 11562. */
static void keys_of_a_slot_that_was_being_moved_are_joined(void **state)
{
    (void)state;
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct buf inputs[2] = {BUF_INIT, BUF_INIT};
        struct cut cut = {
            .inputs = inputs, .input_count = 2, .output_count = 1, .way = (enum feeding)way};
        FILE_OF(&inputs[0], "REDIS0009", "\x00\x01k\x01v\x00\x04{a}1\x01v");
        FILE_OF(&inputs[1], "REDIS0009", "\x00\x04{a}2\x01w\x00\x01l\x01w");
        run_well(&cut);
        check_facts(&cut, 0);
        assert_int_equal(cut.facts[0].keys, 4);
        cut_release(&cut);
        FILE_OF(&inputs[1], "REDIS0009", "\x00\x04{a}2\x01w\x00\x04{a}1\x01w");
        run_badly(&cut, ERR_CHECK,
            "slot 15495 has keys in more than one of the files: '{a}1' of database 0 is in 'file 1' "
            "and in 'file 2'");
        buf_release(&inputs[0]);
        buf_release(&inputs[1]);
    }
}

/* Whose copy counts does not depend on which file is read first. */
static void a_key_of_two_files_is_decided_by_what_they_are_preferred_for(void **state)
{
    (void)state;
    struct buf inputs[2] = {BUF_INIT, BUF_INIT};
    struct slots upper = {{0}}, lower = {{0}};

    slots_add_range(&lower, 0, 8191);
    slots_add_range(&upper, 8192, 16383);
    FILE_OF(&inputs[0], "REDIS0009", "\x00\x01k\x01v\x00\x04{a}1\x01v\x00\x04{a}3\x01v");
    FILE_OF(&inputs[1], "REDIS0009", "\x00\x04{a}1\x01w\x00\x04{a}2\x01w\x00\x01k\x01w");
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct cut cut = {.inputs = inputs,
            .input_count = 2,
            .output_count = 1,
            .prefers = {&lower, &upper},
            .way = (enum feeding)way};
        run_well(&cut);
        check_facts(&cut, 0);
        assert_int_equal(cut.facts[0].keys, 4);
        assert_int_equal(cut.facts[0].doubles, 2);
        assert_string_equal(cut.facts[0].double_key, "{a}1");
        assert_string_equal(cut.facts[0].double_kept, "file 2");
        assert_int_equal(cut.source.keys, 6);
        assert_int_equal(cut.source.left_out, 0);
        const char *data = cut.outputs[0].data;
        assert_non_null(memmem(data, cut.outputs[0].len, "\x01k\x01v", 4));
        assert_non_null(memmem(data, cut.outputs[0].len, "{a}1\x01w", 6));
        assert_non_null(memmem(data, cut.outputs[0].len, "{a}3\x01v", 6));
        cut_release(&cut);
    }
    buf_release(&inputs[0]);
    buf_release(&inputs[1]);
}

#define CODE_OF(name) "\xf5\x17#!lua name=" name "\nthe code\n"
static void libraries_in_another_order_make_equal_outputs(void **state)
{
    (void)state;
    struct buf inputs[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    struct cut a = {.inputs = inputs, .input_count = 2, .output_count = 1, .stamp = true};
    struct cut b = {.inputs = inputs + 1, .input_count = 2, .output_count = 1, .stamp = true};

    struct slots all;
    slots_fill(&all);
    a.slots[0] = b.slots[0] = &all;
    FILE_OF(&inputs[0], "REDIS0010", CODE_OF("bb") CODE_OF("aa"));
    FILE_OF(&inputs[1], "REDIS0010", CODE_OF("aa") CODE_OF("bb") "\xfe\x00\x00\x01k\x01v");
    FILE_OF(&inputs[2], "REDIS0010", CODE_OF("bb") CODE_OF("aa"));
    run_well(&a);
    run_well(&b);
    check_facts(&a, 0);
    assert_int_equal(number(a.scans[0], "functions"), 2);
    assert_string_equal(a.facts[0].repl_id, b.facts[0].repl_id);
    assert_int_equal(a.outputs[0].len, b.outputs[0].len);
    assert_memory_equal(a.outputs[0].data, b.outputs[0].data, a.outputs[0].len);
    cut_release(&a);
    cut_release(&b);
    for (int i = 0; i < 3; i++)
        buf_release(&inputs[i]);
}

/* Of a slot that was only on its way, the server that it leaves has all keys. */
static void keys_that_were_only_being_imported_are_left_out(void **state)
{
    (void)state;
    struct buf inputs[2] = {BUF_INIT, BUF_INIT};
    struct cut cut = {.inputs = inputs, .input_count = 2, .output_count = 1};
    struct slots all;

    slots_fill(&all);
    cut.slots[0] = &all;
    FILE_OF(&inputs[0], "VALKEY080", "\x00\x04{a}1\x01v\x00\x04{a}2\x01v");
    FILE_OF(&inputs[1], "VALKEY080",
        "\xf3\x03job\x02\x40\x00\x41\x00\x7c\x87\x7c\x87"
        "\x00\x04{a}1\x01w\x00\x01k\x01w");
    run_well(&cut);
    check_facts(&cut, 0);
    assert_int_equal(cut.facts[0].keys, 3);
    assert_int_equal(cut.source.keys, 3);
    assert_int_equal(cut.source.importing, 1);
    assert_non_null(memmem(cut.outputs[0].data, cut.outputs[0].len, "{a}1\x01v", 6));
    cut_release(&cut);

    json_t *facts = scan_facts(&inputs[1]);
    assert_int_equal(number(json_object_get(facts, "importing"), "keys"), 1);
    json_decref(facts);
    buf_release(&inputs[0]);
    buf_release(&inputs[1]);
}

static void data_of_named_modules_is_left_out(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    json_t *none = json_array(), *some = json_pack("[s]", "ReJSON-RL");

    FILE_OF(&file, "REDIS0010",
        "\xf7\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x02\x02\x05\x03str\x00\xfe\x00\x00\x01k\x01v");
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct cut cut = {.inputs = &file, .input_count = 1, .output_count = 1, .way = way};
        cut.without = some;
        run_well(&cut);
        check_facts(&cut, 0);
        assert_int_equal(json_array_size(json_object_get(cut.scans[0], "modules")), 0);
        assert_null(memmem(cut.outputs[0].data, cut.outputs[0].len, "\x03str", 4));
        cut_release(&cut);
        cut.without = none;
        run_well(&cut);
        assert_int_equal(json_array_size(json_object_get(cut.scans[0], "modules")), 1);
        assert_non_null(memmem(cut.outputs[0].data, cut.outputs[0].len, "\x03str", 4));
        cut_release(&cut);
    }
    json_decref(none);
    json_decref(some);
    buf_release(&file);
}

/* A file that is taken in spite of its damage gives outputs that can be read. */
static void a_flipped_byte_does_no_harm(void **state)
{
    (void)state;
    static const char *const small[] = {"rdb/facts.rdb", "rdb-corpus/hash_lp_with_hexpire_v12.rdb",
        "rdb-corpus/mem_policy_lru.rdb", "rdb-corpus/function.rdb"};
    unsigned taken = 0, refused = 0;

    for (size_t i = 0; i < ARRAY_SIZE(small); i++) {
        struct buf file = BUF_INIT;
        read_fixture(small[i], &file);
        size_t end = file.len < 3000 ? file.len : 3000;
        memset(file.data + file.len - 8, 0, 8);
        for (size_t at = 0; at < end; at++) {
            struct err err = ERR_INIT;
            struct cut cut = {.inputs = &file,
                .input_count = 1,
                .output_count = 3,
                .stamp = at % 2,
                .way = at % FEED_WAYS == FEED_BYTES ? FEED_ODD : FEED_WHOLE};
            for (int k = 0; k < 3; k++)
                cut.slots[k] = &thirds()[k];
            file.data[at] = (char)(file.data[at] ^ (1 << at % 8));
            if (cut_run(&cut, &err) == 0) {
                taken++;
                for (size_t k = 0; k < 3; k++)
                    json_decref(scan_facts(&cut.outputs[k]));
            } else {
                refused++;
                assert_true(err.code != ERR_BUG && *err.message);
            }
            cut_release(&cut);
            file.data[at] = (char)(file.data[at] ^ (1 << at % 8));
        }
        buf_release(&file);
    }
    assert_true(taken > 100 && refused > 100);
}

static void no_checksum_only_if_asked(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct cut cut = {
        .inputs = &file, .input_count = 1, .output_count = 1, .stamp = true, .no_checksum = true};

    FILE_OF(&file, "REDIS0009", "\x00\x01k\x01v");
    run_well(&cut);
    assert_memory_equal(cut.outputs[0].data + cut.outputs[0].len - 9, "\xff\0\0\0\0\0\0\0\0", 9);
    cut_release(&cut);
    buf_release(&file);
}

/* Forth and back again is a copy, however the file is fed; the keys and their number stay. */
static void expiries_are_moved_and_nothing_else(void **state)
{
    static const char *const some[] = {"rdb/values.rdb", "rdb/facts.rdb",
        "rdb-corpus/set_expired_v11.rdb", "rdb-corpus/mem_policy_lru.rdb",
        "rdb-corpus/hash_lp_with_hexpire_v12.rdb"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
        struct buf file = BUF_INIT;
        read_fixture(some[i], &file);
        for (enum feeding way = FEED_WHOLE; way < FEED_WAYS; way++) {
            struct cut plain = {.inputs = &file, .input_count = 1, .output_count = 1, .way = way};
            struct cut later = plain;
            later.shift_expiry_ms = 3600 * 1000;
            run_well(&plain);
            run_well(&later);
            check_facts(&later, 0);
            struct cut back = {.inputs = later.outputs,
                .input_count = 1,
                .output_count = 1,
                .way = way,
                .shift_expiry_ms = -3600 * 1000};
            run_well(&back);
            assert_same_bytes(&plain.outputs[0], &back.outputs[0]);
            assert_int_equal(plain.facts[0].expires, later.facts[0].expires);
            bool differs =
                memcmp(plain.outputs[0].data, later.outputs[0].data, plain.outputs[0].len) != 0;
            assert_int_equal(differs, plain.facts[0].expires > 0);
            cut_release(&back);
            cut_release(&plain);
            cut_release(&later);
        }
        buf_release(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_and_joined_has_the_same_records),
        cmocka_unit_test(one_output_of_all_slots_is_a_copy),
        cmocka_unit_test(hints_are_what_the_output_holds),
        cmocka_unit_test(equal_ids_mean_equal_data),
        cmocka_unit_test(inputs_share_no_slot),
        cmocka_unit_test(keys_of_no_output_are_left_out_and_counted),
        cmocka_unit_test(libraries_become_one_or_are_refused),
        cmocka_unit_test(slot_info_goes_where_the_slot_goes),
        cmocka_unit_test(wrong_outputs_are_refused),
        cmocka_unit_test(a_stamp_changes_nothing_but_the_end),
        cmocka_unit_test(a_unit_between_an_expiry_and_its_key_is_taken),
        cmocka_unit_test(keys_of_a_slot_that_was_being_moved_are_joined),
        cmocka_unit_test(a_key_of_two_files_is_decided_by_what_they_are_preferred_for),
        cmocka_unit_test(libraries_in_another_order_make_equal_outputs),
        cmocka_unit_test(keys_that_were_only_being_imported_are_left_out),
        cmocka_unit_test(data_of_named_modules_is_left_out),
        cmocka_unit_test(a_flipped_byte_does_no_harm),
        cmocka_unit_test(no_checksum_only_if_asked),
        cmocka_unit_test(expiries_are_moved_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
