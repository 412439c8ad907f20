#include "cut.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recluster/digest.h"

static int on_write(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    struct cut *cut = arg;
    struct buf *b = &cut->outputs[output];
    (void)err;
    if (cut->stamp_only && !b->len)
        buf_add(b, cut->inputs[0].data, rdb_split_facts(cut->split, 0)->end_offset);
    buf_add(b, data, len);
    return 0;
}

static int on_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    struct cut *cut = arg;
    struct buf *b = &cut->outputs[output];
    (void)err;
    assert_true(offset + len <= b->len);
    memcpy(b->data + offset, data, len);
    cut->patches++;
    return 0;
}

static int feed(struct rdb_split *s, const struct buf *input, enum feeding way, struct err *err)
{
    size_t odd = 1;

    for (size_t at = 0, n; at < input->len; at += n) {
        n = way == FEED_WHOLE ? input->len : way == FEED_BYTES ? 1 : odd;
        odd = odd * 7 % 61 + 1;
        if (n > input->len - at)
            n = input->len - at;
        uint8_t *piece = xmemdup(input->data + at, n);
        int rc = rdb_split_feed(s, piece, n, err);
        memset(piece, 0xdd, n);
        free(piece);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int run(struct cut *cut, struct rdb_split *s, struct err *err)
{
    for (size_t i = 0; i < cut->input_count; i++) {
        if (i && rdb_split_next(s, err) < 0)
            return -1;
        rdb_split_take(s, cut->takes[i]);
        rdb_split_prefer(s, cut->prefers[i]);
        if (feed(s, &cut->inputs[i], cut->way, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < cut->input_count; i++) {
        if (!rdb_split_waiting(s, i))
            continue;
        if (rdb_split_again(s, i, err) < 0)
            return -1;
        rdb_split_take(s, cut->takes[i]);
        if (feed(s, &cut->inputs[i], cut->way, err) < 0)
            return -1;
    }
    return rdb_split_end(s, err);
}

int cut_run(struct cut *cut, struct err *err)
{
    struct rdb_split_output outputs[CUT_MAX];
    struct rdb_split_params params = {
        .outputs = outputs,
        .count = cut->output_count,
        .stamp = cut->stamp,
        .stamp_only = cut->stamp_only,
        .no_checksum = cut->no_checksum,
        .shift_expiry_ms = cut->shift_expiry_ms,
        .without = cut->without,
        .write = on_write,
        .patch = on_patch,
        .arg = cut,
    };

    for (size_t i = 0; i < cut->output_count; i++) {
        outputs[i] = (struct rdb_split_output){cut->slots[i], rdb_scan_new(NULL)};
        buf_init(&cut->outputs[i]);
    }
    struct rdb_split *s = cut->split = rdb_split_new(&params, err);
    int rc = s ? run(cut, s, err) : -1;
    for (size_t i = 0; i < cut->output_count; i++) {
        if (s)
            cut->facts[i] = *rdb_split_facts(s, i);
        cut->scans[i] = rdb_scan_json(outputs[i].scan);
        rdb_scan_free(outputs[i].scan);
    }
    if (s)
        rdb_split_source(s, &cut->source);
    rdb_split_free(s);
    return rc;
}

void cut_release(struct cut *cut)
{
    for (size_t i = 0; i < cut->output_count; i++) {
        buf_release(&cut->outputs[i]);
        json_decref(cut->scans[i]);
    }
}

struct summing {
    const struct buf *file;
    uint64_t sum;
};

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct summing *summing = arg;
    struct digest *d = digest_new();
    char hex[DIGEST_HEX_MAX];

    (void)err;
    digest_add(d, &record->db, sizeof(record->db));
    digest_add(d, summing->file->data + record->offset, end_offset - record->offset);
    digest_end(d, hex);
    hex[16] = '\0';
    summing->sum += strtoull(hex, NULL, 16);
    return 0;
}

uint64_t records_digest(const struct buf *file)
{
    static const struct rdb_events events = {.record_end = on_record_end};
    struct summing summing = {.file = file};
    struct err err = ERR_INIT;
    struct rdb_reader *r = rdb_reader_new(&events, &summing, NULL);

    if (rdb_reader_feed(r, file->data, file->len, &err) < 0 || rdb_reader_end(r, &err) < 0)
        fail_msg("%s", err.message);
    rdb_reader_free(r);
    return summing.sum;
}

json_t *scan_facts(const struct buf *file)
{
    struct rdb_scan *s = rdb_scan_new(NULL);
    struct err err = ERR_INIT;

    if (rdb_scan_feed(s, file->data, file->len, &err) < 0 || rdb_scan_end(s, &err) < 0)
        fail_msg("%s", err.message);
    json_t *facts = rdb_scan_json(s);
    rdb_scan_free(s);
    return facts;
}
