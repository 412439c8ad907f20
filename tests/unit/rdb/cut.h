#ifndef RECLUSTER_TEST_CUT_H
#define RECLUSTER_TEST_CUT_H

/* rdb_split over files in memory. */

#include "recluster/rdb_split.h"
#include "trace.h"

enum { CUT_MAX = 16 };

struct cut {
    /* set by the test */
    const struct buf *inputs;
    const struct slots *takes[CUT_MAX];   /* NULL: all */
    const struct slots *prefers[CUT_MAX]; /* NULL: all */
    const json_t *without;
    size_t input_count;
    const struct slots *slots[CUT_MAX]; /* of the outputs; NULL: all */
    size_t output_count;
    bool stamp, no_checksum, stamp_only;
    int64_t shift_expiry_ms;
    enum feeding way;
    struct rdb_split *split; /* while it runs */
    /* what came of it */
    struct buf outputs[CUT_MAX];
    struct rdb_split_facts facts[CUT_MAX];
    json_t *scans[CUT_MAX];
    struct rdb_split_source source;
    unsigned patches;
};

int cut_run(struct cut *cut, struct err *err);
void cut_release(struct cut *cut);

/* Sum over all records of a hash of database, opcodes, key and value: their order does not matter. */
uint64_t records_digest(const struct buf *file);

/* The facts of a file; fails the test if it is not whole and right. */
json_t *scan_facts(const struct buf *file);

#endif
