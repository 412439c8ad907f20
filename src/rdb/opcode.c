/* What a file holds besides records: aux fields, functions, data of modules, hints. */

#include <inttypes.h>

#include "reader_impl.h"

static step_fn step_function;

void module_name(uint64_t id, char name[10])
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    id >>= 10; /* its version */
    for (int i = 8; i >= 0; i--, id >>= 6)
        name[i] = set[id & 63];
    name[9] = '\0';
}

static enum taken take_aux(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    struct raw_string raw[2];
    struct rdb_bytes key, value;

    enum taken t = take_string(r, c, r->limits.key_bytes, &raw[0], err);
    if (t == TAKEN)
        t = take_string(r, c, r->limits.key_bytes, &raw[1], err);
    if (t == TAKEN)
        t = string_bytes(r, c, &raw[0], 0, &key, err);
    if (t == TAKEN)
        t = string_bytes(r, c, &raw[1], 1, &value, err);
    if (t == TAKEN && r->events.aux && r->events.aux(r->arg, key, value, err) < 0)
        return FAILED;
    drop_large(&r->scratch[0]);
    drop_large(&r->scratch[1]);
    return t;
}

static enum taken step_function(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    struct raw_string raw;
    struct rdb_bytes code;

    enum taken t = take_string(r, c, r->limits.key_bytes, &raw, err);
    if (t == TAKEN)
        t = string_bytes(r, c, &raw, 0, &code, err);
    if (t != TAKEN)
        return t;
    r->step = step_opcode;
    if (r->events.function && r->events.function(r->arg, code, err) < 0)
        return FAILED;
    drop_large(&r->scratch[0]);
    return TAKEN;
}

static enum taken take_module_aux(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t id;
    char name[10];

    enum taken t = take_length(r, c, &id, err);
    if (t != TAKEN)
        return t;
    skip_start(r, "m", step_opcode);
    module_name(id, name);
    if (r->events.module_aux && r->events.module_aux(r->arg, name, err) < 0)
        return FAILED;
    return TAKEN;
}

/* For keys and for expiries; a server allocates room for their sum. */
static enum taken take_hints(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t keys, expires;

    enum taken t = take_length(r, c, &keys, err);
    if (t == TAKEN)
        t = take_length(r, c, &expires, err);
    if (t == TAKEN)
        r->unit.hint = keys > UINT64_MAX - expires ? UINT64_MAX : keys + expires;
    return t;
}

static enum taken take_slot_info(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    enum taken t = take_length(r, c, &r->unit.slot, err);
    return t == TAKEN ? take_hints(r, c, err) : t;
}

/* The name of the migration and its slot ranges, as one atom. */
static enum taken take_slot_import(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    struct raw_string job;
    struct slots slots;
    uint64_t count, first, last;

    slots_clear(&slots);
    enum taken t = take_string(r, c, r->limits.key_bytes, &job, err);
    if (t == TAKEN)
        t = take_length(r, c, &count, err);
    if (t == TAKEN && count > SLOT_COUNT)
        return reader_fail(r, c, ERR_CORRUPT, err, "a slot import has %" PRIu64 " ranges", count);
    for (uint64_t i = 0; t == TAKEN && i < count; i++) {
        t = take_length(r, c, &first, err);
        if (t == TAKEN)
            t = take_length(r, c, &last, err);
        if (t == TAKEN && (first > last || last >= SLOT_COUNT))
            return reader_fail(r, c, ERR_CORRUPT, err, "a slot import names invalid slots");
        if (t == TAKEN)
            slots_add_range(&slots, (unsigned)first, (unsigned)last);
    }
    if (t == TAKEN && r->events.importing && r->events.importing(r->arg, &slots, err) < 0)
        return FAILED;
    return t;
}

enum taken take_unit(struct rdb_reader *r, struct cursor *c, uint8_t opcode, struct err *err)
{
    switch (opcode) {
    case RDB_OPCODE_SELECT_DB:
        return take_length(r, c, &r->db, err);
    case RDB_OPCODE_AUX:
        return take_aux(r, c, err);
    case RDB_OPCODE_MODULE_AUX:
        return take_module_aux(r, c, err);
    case RDB_OPCODE_FUNCTION_2:
        r->step = step_function;
        return TAKEN;
    case RDB_OPCODE_FUNCTION_PRE_GA: /* name, engine, optional description, code */
        skip_start(r, "ss[s]", step_function);
        return TAKEN;
    case RDB_OPCODE_RESIZE_DB:
        return take_hints(r, c, err);
    case RDB_OPCODE_SLOT_INFO:
        return take_slot_info(r, c, err);
    case RDB_OPCODE_SLOT_IMPORT:
        if (!r->header.valkey)
            break;
        return take_slot_import(r, c, err);
    default:
        break;
    }
    return fail_type(r, c, opcode, err);
}
