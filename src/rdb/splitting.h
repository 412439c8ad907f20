#ifndef RECLUSTER_SPLITTING_H
#define RECLUSTER_SPLITTING_H

/* The inside of cutting and joining: split.c moves the bytes, join.c says what counts of several files. */

#include "output.h"
#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/rdb_split.h"
#include "twice.h"

/*
 * Bytes go through in runs. All before `from` are passed on; those up to `decided` go to `route`,
 * as will those that follow while `flowing`; what comes behind waits for its unit's end, or the
 * record's key, to be decided about. Of these the bytes of earlier pieces are kept in `held`. The
 * prefixes of a record in front of a unit are taken out, into `prefix`.
 */

enum {
    OUTPUTS_MAX = 1000, /* as many nodes as a cluster is made for */
    INPUTS_MAX = 100000,
    FUNCTIONS_MAX = 10000,
    PIECE_BYTES = 128 * 1024, /* read and then written while in the processor's cache */
};

/* Where bytes go; below: an output. */
enum { NOWHERE = OUTPUTS_MAX, EVERYWHERE, EVERYWHERE_AUX };

struct held_library {
    char digest[DIGEST_HEX_MAX];
    char *library;   /* "" where the code does not say */
    struct buf unit; /* its bytes, until they are written */
};

/* A file whose records are read, perhaps a second time for those that waited. */
struct split_input {
    const char *name;
    bool prefer_some;
    struct slots prefer; /* keys of other slots wait */
    struct slots kept;   /* of keys that were written */
    uint64_t waiting;
    struct key_list keys[2]; /* two digests of each that was written */
};

struct rdb_split {
    struct rdb_split_params params;
    struct rdb_split_output *places; /* params.outputs */
    struct output *outputs;
    uint16_t route_of[SLOT_COUNT];
    struct rdb_reader *reader;
    struct split_input *inputs; /* as they were read; a second reading is one of its own */
    size_t input_count, input_alloc;
    const struct split_input
        *rest_of; /* only keys that waited in it count; NULL: this is no rest */
    bool take_some;
    struct slots take;
    struct slots importing; /* of this input: slots that were only on their way to its server */
    struct rdb_header header;
    json_t *modules_left_out;
    bool module_data, module_data_before; /* of this input, of an earlier one */
    bool one_is_all;                      /* one output of all slots: a copy, if of one input */
    struct held_library *functions;
    size_t function_count, function_alloc;
    struct rdb_split_source source;
    uint64_t bytes_before; /* of earlier inputs */

    const uint8_t *piece;
    uint64_t piece_offset;
    struct buf held; /* the bytes from held_offset up to the piece */
    uint64_t held_offset;
    uint64_t from, decided;
    uint64_t record_offset; /* where the record would start, were it in one piece */
    struct buf prefix;      /* of the next record, which it stood in front of a unit with */
    unsigned route;
    unsigned unit_route; /* of the unit whose event is next */
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

/* Takes note of the bytes of a function; those of equal ones are not written again. */
int split_function(struct rdb_split *s, struct rdb_bytes code, struct err *err) MUST_CHECK;
/* Those that were noted and not written yet go to all outputs, in an order that their contents give. */
int split_write_functions(struct rdb_split *s, struct err *err) MUST_CHECK;

enum key_fate { KEY_COUNTS, KEY_WAITS, KEY_IS_DOUBLE };
/* What becomes of a key that an output wants. ERR_CHECK: in two files, and nothing says whose counts. */
int split_key(struct rdb_split *s, const struct rdb_record *record, unsigned slot, unsigned route,
    enum key_fate *ret, struct err *err) MUST_CHECK;
/* The present input was read to its end. */
int split_end_keys(struct rdb_split *s, struct err *err) MUST_CHECK;

#endif
