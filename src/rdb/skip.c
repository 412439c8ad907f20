/*
 * The layouts of values, and how to skip them.
 *
 * A program describes a value, one letter for each part:
 *
 *     s  string          l  length or number      1 4 8  that many bytes      w  16 bytes
 *     z  score as text   m  values of a module, each after its opcode, up to the end opcode
 *     p  string that holds elements     k  its container, or a count for a later loop
 *     o  a flag, followed by a length if it is set     v  element of an array by its tag
 *     [ … ]  a count, and that many times the parts inside; { … ]  the same with an earlier count
 *
 * A stream: its listpacks and numbers, then for each group its name, position, pending entries and
 * consumers, each with their own pending entries. Since 8.8 there are also refused ids; since 8.6,
 * after the groups, how long producers are known, and the ids of each. An array: its count and next
 * index, then for each element its index, tag and value. Types 26 to 28 follow other public
 * readers, because no file of a server was at hand.
 */

#include <inttypes.h>

#include "reader_impl.h"

#define OF(k, l, s) .kind = RDB_KIND_##k, .layout = LAYOUT_##l, .skip = (s)

static const struct type_info types[] = {
    [RDB_STRING] = {OF(STRING, STRING, "s")},
    [RDB_LIST] = {OF(LIST, ELEMENTS, "[s]")},
    [RDB_SET] = {OF(SET, ELEMENTS, "[s]")},
    [RDB_ZSET] = {OF(ZSET, ELEMENTS, "[sz]"), .score = SCORE_TEXT},
    [RDB_HASH] = {OF(HASH, ELEMENTS, "[ss]")},
    [RDB_ZSET_2] = {OF(ZSET, ELEMENTS, "[s8]"), .score = SCORE_DOUBLE},
    [RDB_MODULE_2] = {OF(MODULE, OPAQUE, "m")},
    [RDB_HASH_ZIPMAP] = {OF(HASH, PACKED, "p"), .packing = PACKED_ZIPMAP},
    [RDB_LIST_ZIPLIST] = {OF(LIST, PACKED, "p"), .packing = PACKED_ZIPLIST},
    [RDB_SET_INTSET] = {OF(SET, PACKED, "p"), .packing = PACKED_INTSET},
    [RDB_ZSET_ZIPLIST] = {OF(ZSET, PACKED, "p"), .packing = PACKED_ZIPLIST},
    [RDB_HASH_ZIPLIST] = {OF(HASH, PACKED, "p"), .packing = PACKED_ZIPLIST},
    [RDB_LIST_QUICKLIST] = {OF(LIST, NODES, "[p]"), .packing = PACKED_ZIPLIST},
    [RDB_STREAM_LISTPACKS] = {OF(STREAM, OPAQUE, "[ss]lll[sll[w8l][s8[w]]]")},
    [RDB_HASH_LISTPACK] = {OF(HASH, PACKED, "p"), .packing = PACKED_LISTPACK},
    [RDB_ZSET_LISTPACK] = {OF(ZSET, PACKED, "p"), .packing = PACKED_LISTPACK},
    [RDB_LIST_QUICKLIST_2] = {OF(LIST, NODES, "[kp]"), .packing = PACKED_LISTPACK,
        .containers = true},
    [RDB_STREAM_LISTPACKS_2] = {OF(STREAM, OPAQUE, "[ss]llllllll[slll[w8l][s8[w]]]")},
    [RDB_SET_LISTPACK] = {OF(SET, PACKED, "p"), .packing = PACKED_LISTPACK},
    [RDB_STREAM_LISTPACKS_3] = {OF(STREAM, OPAQUE, "[ss]llllllll[slll[w8l][s88[w]]]")},
    [RDB_HASH_METADATA_PRE_GA] = {OF(HASH, ELEMENTS, "[lss]"), .expiry = EXPIRY_BEFORE},
    [RDB_HASH_LISTPACK_EX_PRE_GA] = {OF(HASH, PACKED, "p"), .packing = PACKED_LISTPACK,
        .expiry = EXPIRY_BEFORE},
    [RDB_HASH_METADATA] = {OF(HASH, ELEMENTS, "8[lss]"), .expiry = EXPIRY_BEFORE_RELATIVE},
    [RDB_HASH_LISTPACK_EX] = {OF(HASH, PACKED, "8p"), .packing = PACKED_LISTPACK,
        .expiry = EXPIRY_BEFORE_RELATIVE},
    [RDB_STREAM_LISTPACKS_4] = {OF(STREAM, OPAQUE, "[ss]llllllll[slll[w8l][s88[w]]]ll[s[sll]]ll")},
    [RDB_STREAM_LISTPACKS_5] = {OF(
        STREAM, OPAQUE, "[ss]llllllll[slll[w8l][s88[w]][w]]ll[s[sll]]ll")},
    [RDB_ARRAY] = {OF(ARRAY, OPAQUE, "ko{lv]")},
};

static const struct type_info valkey_hash_2 = {
    OF(HASH, ELEMENTS, "[ss8]"), .expiry = EXPIRY_BEHIND};

const struct type_info *type_info_of(bool valkey, uint8_t type)
{
    if (valkey && type >= RDB_HASH_METADATA_PRE_GA)
        return type == RDB_HASH_METADATA_PRE_GA ? &valkey_hash_2 : NULL;
    return type < ARRAY_SIZE(types) && types[type].skip ? &types[type] : NULL;
}

const char *rdb_kind_name(enum rdb_kind kind)
{
    static const char *const names[] = {
        [RDB_KIND_STRING] = "string",
        [RDB_KIND_LIST] = "list",
        [RDB_KIND_SET] = "set",
        [RDB_KIND_ZSET] = "zset",
        [RDB_KIND_HASH] = "hash",
        [RDB_KIND_STREAM] = "stream",
        [RDB_KIND_MODULE] = "module",
        [RDB_KIND_ARRAY] = "array",
    };
    return kind < RDB_KIND_COUNT ? names[kind] : "unknown";
}

void skip_start(struct rdb_reader *r, const char *program, step_fn *after)
{
    r->program = program;
    r->depth = 0;
    r->after_skip = after;
    r->step = step_skip;
}

static enum taken skip_bytes(struct cursor *c, size_t n)
{
    if (want(c, n) != TAKEN)
        return STARVED;
    c->p += n;
    return TAKEN;
}

/* A length byte and that much text; 253 to 255 mean NaN and the infinities. */
static enum taken skip_score(struct cursor *c)
{
    if (want(c, 1) != TAKEN)
        return STARVED;
    size_t len = *c->p >= 253 ? 0 : *c->p;
    return skip_bytes(c, 1 + len);
}

/* One opcode of a module's values with its operand. */
static enum taken skip_module_value(
    struct rdb_reader *r, struct cursor *c, bool *ret_end, struct err *err)
{
    uint64_t opcode, number;
    enum taken t = take_length(r, c, &opcode, err);
    if (t != TAKEN)
        return t;
    *ret_end = false;
    switch (opcode) {
    case 0:
        *ret_end = true;
        return TAKEN;
    case 1: /* signed */
    case 2: /* unsigned */
        return take_length(r, c, &number, err);
    case 3:
        return skip_bytes(c, sizeof(float));
    case 4:
        return skip_bytes(c, sizeof(double));
    case 5:
        return skip_string(r, c, err);
    default:
        return reader_fail(
            r, c, ERR_CORRUPT, err, "%" PRIu64 " is not an opcode of module values", opcode);
    }
}

/* An element of an array: 0 and 3 are strings, 1 an integer, 2 a double. */
static enum taken skip_tagged(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t tag;
    enum taken t = take_length(r, c, &tag, err);

    if (t != TAKEN)
        return t;
    if (tag > 3)
        return reader_fail(
            r, c, ERR_CORRUPT, err, "%" PRIu64 " is not a tag of an array's element", tag);
    return tag == 0 || tag == 3 ? skip_string(r, c, err) : skip_bytes(c, 8);
}

/* A length that follows a set flag. */
static enum taken skip_optional(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t flag;
    enum taken t = take_length(r, c, &flag, err);

    return t == TAKEN && flag ? take_length(r, c, &flag, err) : t;
}

/*
 * Whether a packed string, of which `len` bytes are at `data`, has no element. No server loads an
 * empty intset or zipmap.
 */
static bool is_empty(enum packing packing, const uint8_t *data, size_t len, bool *ret_damaged)
{
    *ret_damaged = len == 0;
    switch (packing) {
    case PACKED_LISTPACK:
        return len == 7 && load16(data + 4) == 0;
    case PACKED_ZIPLIST:
        return len == 11 && load16(data + 8) == 0;
    case PACKED_INTSET:
        *ret_damaged |= len == 8 && load32(data + 4) == 0;
        break;
    case PACKED_ZIPMAP:
        *ret_damaged |= len == 2 && data[0] == 0;
        break;
    case PACKED_NONE:
        break;
    }
    return false;
}

enum taken skip_packed(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    enum { EMPTY_MAX = 11, CONTAINER_PLAIN = 1 };
    bool nodes = r->type->layout == LAYOUT_NODES, empty = false, damaged = false;
    size_t len = c->p < c->end ? *c->p : 0;

    if (c->p < c->end && len <= EMPTY_MAX) {
        if (want(c, 1 + len) != TAKEN)
            return STARVED;
        bool plain = r->type->containers && r->number == CONTAINER_PLAIN;
        empty = is_empty(plain ? PACKED_NONE : r->type->packing, c->p + 1, len, &damaged);
        if (damaged)
            return reader_fail(r, c, ERR_CORRUPT, err, "a collection without its elements");
    }
    enum taken t = skip_string(r, c, err);
    if (t == TAKEN)
        r->record.empty = empty && (!nodes || r->record.empty);
    return t;
}

static const char *behind_loop(const char *p)
{
    for (unsigned depth = 1; depth; p++)
        depth += *p == '[' || *p == '{' ? 1U : *p == ']' ? -1U : 0U;
    return p;
}

static enum taken loop_start(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t count = r->number;
    enum taken t = *r->program == '[' ? take_length(r, c, &count, err) : TAKEN;
    if (t == TAKEN)
        t = reader_fits(r, c, count, "count", err); /* each has at least one byte */
    if (t != TAKEN)
        return t;
    /* Only the first node shows whether there are elements. */
    if (r->in_record && !r->depth &&
        (r->type->layout == LAYOUT_NODES || r->type->layout == LAYOUT_ELEMENTS))
        r->record.empty = r->type->layout == LAYOUT_NODES || count == 0;
    r->program++;
    if (count)
        r->loops[r->depth++] = (struct skip_loop){r->program, count};
    else
        r->program = behind_loop(r->program);
    return TAKEN;
}

/* One letter other than a loop; *ret_end: it is finished. */
static enum taken skip_letter(
    struct rdb_reader *r, struct cursor *c, bool *ret_end, struct err *err)
{
    uint64_t number;

    switch (*r->program) {
    case 's':
        return skip_string(r, c, err);
    case 'p':
        return skip_packed(r, c, err);
    case 'l':
        return take_length(r, c, &number, err);
    case 'k':
        return take_length(r, c, &r->number, err);
    case 'o':
        return skip_optional(r, c, err);
    case 'v':
        return skip_tagged(r, c, err);
    case 'w':
        return skip_bytes(c, 16);
    case 'z':
        return skip_score(c);
    case 'm':
        return skip_module_value(r, c, ret_end, err);
    default: /* '1', '4', '8' */
        return skip_bytes(c, (size_t)(*r->program - '0'));
    }
}

enum taken step_skip(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    while (!r->skip) {
        enum taken t = TAKEN;
        bool end = true;
        commit(c);
        switch (*r->program) {
        case '\0':
            r->step = r->after_skip;
            return TAKEN;
        case '[':
        case '{':
            t = loop_start(r, c, err);
            if (t != TAKEN)
                return t;
            continue;
        case ']':
        case '}': {
            struct skip_loop *loop = &r->loops[r->depth - 1];
            if (--loop->left) {
                r->program = loop->body;
                continue;
            }
            r->depth--;
            break;
        }
        default:
            t = skip_letter(r, c, &end, err);
        }
        if (t != TAKEN)
            return t;
        if (end)
            r->program++;
    }
    return TAKEN;
}
