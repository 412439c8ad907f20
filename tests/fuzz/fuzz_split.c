/*
 * Cutting: what is taken gives outputs that are good files and hold, together, the records of the
 * input; joined again they hold the same.
 */

#include <string.h>

#include "fuzz.h"
#include "recluster/buf.h"
#include "recluster/rdb_split.h"

enum { PARTS = 3 };

/* Stamped only: the outputs begin with what stands in the input already. */
static const struct buf *stamped;
static struct rdb_split *split;

static int on_write(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    struct buf *outputs = arg;
    (void)err;
    if (stamped && !outputs[output].len)
        buf_add(&outputs[output], stamped->data, rdb_split_facts(split, 0)->end_offset);
    buf_add(&outputs[output], data, len);
    return 0;
}

static int on_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    struct buf *outputs = arg;
    (void)err;
    FUZZ_ASSERT(offset + len <= outputs[output].len);
    memcpy(outputs[output].data + offset, data, len);
    return 0;
}

/* Of database, opcodes, key and value of each record; their order does not matter. */
struct sum {
    const uint8_t *data;
    uint64_t sum, keys;
};

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct sum *sum = arg;
    uint64_t hash = record->db + 1;
    (void)err;
    for (uint64_t i = record->offset; i < end_offset; i++)
        hash = (hash ^ sum->data[i]) * UINT64_C(0x100000001b3);
    sum->sum += hash;
    sum->keys++;
    return 0;
}

static void add_sum(const void *data, size_t size, struct sum *sum)
{
    static const struct rdb_events events = {.record_end = on_record_end};
    struct err err = ERR_INIT;
    struct rdb_reader *r = rdb_reader_new(&events, sum, NULL);

    sum->data = data;
    int rc = rdb_reader_feed(r, data, size, &err);
    if (rc == 0)
        rc = rdb_reader_end(r, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    FUZZ_ASSERT(rc == 0);
    rdb_reader_free(r);
}

static int cut(const struct buf *inputs, size_t input_count, size_t step, struct buf *outputs,
    size_t count, const struct slots *slots)
{
    struct rdb_split_output places[PARTS];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < count; i++)
        places[i] = (struct rdb_split_output){count > 1 ? &slots[i] : NULL, rdb_scan_new(NULL)};
    const struct rdb_split_params params = {.outputs = places,
        .count = count,
        .stamp = true,
        .stamp_only = stamped != NULL,
        .write = on_write,
        .patch = on_patch,
        .arg = outputs,
        .limits = {.key_bytes = 1 << 20}};
    struct rdb_split *s = split = rdb_split_new(&params, &err);
    int rc = 0;

    FUZZ_ASSERT(s);
    for (size_t i = 0; rc == 0 && i < input_count; i++) {
        if (i)
            rc = rdb_split_next(s, &err);
        for (size_t at = 0; rc == 0 && at < inputs[i].len; at += step) {
            size_t n = inputs[i].len - at < step ? inputs[i].len - at : step;
            rc = rdb_split_feed(s, inputs[i].data + at, n, &err);
        }
    }
    if (rc == 0)
        rc = rdb_split_end(s, &err);
    for (size_t i = 0; i < count; i++) {
        json_decref(rdb_scan_json(places[i].scan));
        rdb_scan_free(places[i].scan);
    }
    rdb_split_free(s);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf input = BUF_INIT, parts[PARTS] = {BUF_INIT, BUF_INIT, BUF_INIT}, whole = BUF_INIT;
    struct slots slots[PARTS] = {{{0}}};

    slots_add_range(&slots[0], 0, 5460);
    slots_add_range(&slots[1], 5461, 10922);
    slots_add_range(&slots[2], 10923, 16383);
    buf_add(&input, data, size);
    if (size > 17)
        memset(input.data + size - 8, 0, 8); /* else nearly all would be refused at their end */
    if (cut(&input, 1, size ? 1 + data[size / 2] % 37U : 1, parts, PARTS, slots) == 0) {
        struct sum before = {0}, after = {0}, joined = {0};
        add_sum(input.data, input.len, &before);
        for (size_t i = 0; i < PARTS; i++)
            add_sum(parts[i].data, parts[i].len, &after);
        FUZZ_ASSERT(before.sum == after.sum && before.keys == after.keys);
        /* Data of modules is refused, and so are libraries of one name. */
        if (cut(parts, PARTS, 1 << 20, &whole, 1, NULL) == 0) {
            add_sum(whole.data, whole.len, &joined);
            FUZZ_ASSERT(before.sum == joined.sum && before.keys == joined.keys);
        }
        struct sum same = {0};
        buf_clear(&whole);
        stamped = &input;
        FUZZ_ASSERT(cut(&input, 1, 1 + data[size / 2] % 37U, &whole, 1, NULL) == 0);
        stamped = NULL;
        add_sum(whole.data, whole.len, &same);
        FUZZ_ASSERT(before.sum == same.sum && before.keys == same.keys);
    }
    buf_release(&input);
    buf_release(&whole);
    for (size_t i = 0; i < PARTS; i++)
        buf_release(&parts[i]);
    return 0;
}
