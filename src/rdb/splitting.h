#ifndef RECLUSTER_SPLITTING_H
#define RECLUSTER_SPLITTING_H

/* The inside of cutting and joining: split.c moves bytes, join.c chooses between files. */

#include "key_set.h"
#include "output.h"
#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/rdb_split.h"

/*
 * Bytes pass in runs. All before `from` are passed on. Those up to `decided` go to `route`, and so
 * do the following ones while `flowing`. The bytes after that wait until the end of their unit, or
 * the key of the record, decides; `held` keeps those of earlier pieces. The parts of a record that
 * come before another unit are moved to `prefix`.
 */

enum {
    OUTPUTS_MAX = 1000, /* the largest cluster size */
    INPUTS_MAX = 100000,
    FUNCTIONS_MAX = 10000,
    PIECE_BYTES = 128 * 1024, /* read and written while it is in the processor's cache */
};

/* The destination of bytes; a smaller number is an output. */
enum { NOWHERE = OUTPUTS_MAX, EVERYWHERE, EVERYWHERE_AUX };

struct held_library {
    char digest[DIGEST_HEX_MAX];
    char *library;   /* "" if the code does not tell */
    struct buf unit; /* its bytes, until they are written */
};

/* A file whose records are read; it may be read again for the keys that waited. */
struct split_input {
    const char *name;
    bool prefer_some;
    struct slots prefer; /* keys of other slots wait */
    struct slots kept;   /* of written keys */
    uint64_t waiting;
    struct key_list
        keys[2]; /* two digests of each written key; filled when another input follows */
};

struct rdb_split {
    struct rdb_split_params params;
    struct rdb_split_output *places; /* params.outputs */
    struct output *outputs;
    uint16_t route_of[SLOT_COUNT];
    struct rdb_reader *reader;
    struct split_input
        *inputs; /* in the order of reading; a second reading is an input of its own */
    size_t input_count, input_alloc;
    struct key_set keys[2]; /* the same of the current input */
    const struct split_input
        *rest_of; /* only keys that waited in it count; NULL: a first reading */
    bool take_some;
    struct slots take;
    struct slots importing; /* of this input: slots that its server was importing */
    struct rdb_header header;
    json_t *modules_left_out;
    bool module_data, module_data_before; /* of this input, of an earlier one */
    bool one_is_all; /* one output of all slots: a copy, if there is only one input */
    struct held_library *functions;
    size_t function_count, function_alloc;
    struct rdb_split_source source;
    uint64_t bytes_before; /* of earlier inputs */

    const uint8_t *piece;
    uint64_t piece_offset;
    struct buf held; /* the bytes from held_offset to the piece */
    uint64_t held_offset;
    uint64_t from, decided;
    uint64_t record_offset; /* where the record would start without the other unit */
    struct buf prefix;      /* of the next record, found before another unit */
    unsigned route;
    unsigned unit_route; /* of the unit of the next event */
    bool flowing;

    struct err failure;
};

static inline struct split_input *split_present(struct rdb_split *s)
{
    return &s->inputs[s->input_count - 1];
}

static inline bool split_is_first(const struct rdb_split *s)
{
    return s->input_count == 1;
}

/* Notes the bytes of a function; those of equal ones are not written again. */
int split_function(struct rdb_split *s, struct rdb_bytes code, struct err *err) MUST_CHECK;
/* Writes the noted functions to all outputs, in an order that depends only on their contents. */
int split_write_functions(struct rdb_split *s, struct err *err) MUST_CHECK;

enum key_verdict { KEY_COUNTS, KEY_WAITS, KEY_IS_DUPLICATE };
/* Decides about a key that an output wants. ERR_CHECK: two files have it, and no rule decides. */
int split_key(struct rdb_split *s, const struct rdb_record *record, unsigned slot, unsigned route,
    enum key_verdict *ret, struct err *err) MUST_CHECK;
/* The current input was read to its end. */
int split_end_keys(struct rdb_split *s, struct err *err) MUST_CHECK;

/* Another input follows: its keys are compared with those of this one. */
void split_keep_keys(struct rdb_split *s);

#endif
