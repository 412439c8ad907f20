/* The reader: no input makes it crash, hang or hold more than its limits; all ways of feeding
 * agree. */

#include <stdlib.h>

#include "fuzz.h"
#include "recluster/mem.h"
#include "recluster/rdb.h"
#include "recluster/rdb_scan.h"

struct events {
    uint64_t sum; /* of all that was told */
    bool decode;
};

static void add(struct events *e, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        e->sum = (e->sum ^ p[i]) * UINT64_C(0x100000001b3);
}

static int on_aux(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    (void)err;
    add(arg, key.data, key.len);
    add(arg, value.data, value.len);
    return 0;
}

static int on_function(void *arg, struct rdb_bytes code, struct err *err)
{
    (void)err;
    add(arg, code.data, code.len);
    return 0;
}

static int on_unit(void *arg, const struct rdb_unit *unit, struct err *err)
{
    (void)err;
    FUZZ_ASSERT(unit->end_offset > unit->offset);
    add(arg, &unit->offset, sizeof(unit->offset));
    return 0;
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct events *e = arg;
    (void)err;
    add(e, record->key.data, record->key.len);
    add(e, &record->expires_ms, sizeof(record->expires_ms));
    return e->decode ? RDB_DECODE : RDB_SKIP;
}

static int on_element(
    void *arg, const struct rdb_record *record, const struct rdb_element *element, struct err *err)
{
    (void)record;
    (void)err;
    add(arg, element->field.data, element->field.len);
    add(arg, element->value.data, element->value.len);
    return 0;
}

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    (void)err;
    FUZZ_ASSERT(end_offset > record->offset);
    add(arg, record->key.data, record->key.len);
    add(arg, &end_offset, sizeof(end_offset));
    return 0;
}

/* Pieces of `step` bytes, each in a block of its own, so that a step beside it is seen. */
static int read_all(
    const uint8_t *data, size_t size, size_t step, struct events *e, struct err *err)
{
    static const struct rdb_events events = {
        .aux = on_aux,
        .function = on_function,
        .unit = on_unit,
        .record = on_record,
        .element = on_element,
        .record_end = on_record_end,
    };
    const struct rdb_limits limits = {.key_bytes = 1 << 20, .element_bytes = 1 << 20};
    struct rdb_reader *r = rdb_reader_new(&events, e, &limits);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        uint8_t *piece = xmemdup(data + at, n);
        rc = rdb_reader_feed(r, piece, n, err);
        free(piece);
    }
    if (rc == 0)
        rc = rdb_reader_end(r, err);
    rdb_reader_free(r);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int decode = 0; decode < 2; decode++) {
        struct events whole = {.decode = decode}, pieces = {.decode = decode};
        struct err err = ERR_INIT, err_pieces = ERR_INIT;
        int rc = read_all(data, size, size ? size : 1, &whole, &err);
        size_t step = size ? 1 + data[size / 2] % 23 : 1;
        FUZZ_ASSERT(read_all(data, size, step, &pieces, &err_pieces) == rc);
        FUZZ_ASSERT(err.code == err_pieces.code);
        if (rc == 0)
            FUZZ_ASSERT(whole.sum == pieces.sum);
    }

    struct rdb_scan_options options = {.now_ms = 1700000000000, .samples = 2};
    struct rdb_scan *scan = rdb_scan_new(&options);
    struct err err = ERR_INIT;
    if (rdb_scan_feed(scan, data, size, &err) == 0)
        (void)!rdb_scan_end(scan, &err);
    json_decref(rdb_scan_json(scan));
    rdb_scan_free(scan);
    return 0;
}
