#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "recluster/digest.h"
#include "recluster/rdb_split.h"
#include "scan_impl.h"

/*
 * Bytes go through in runs. All before `from` are passed on; those up to `decided` go to `route`,
 * as will those that follow while `flowing`; what comes behind waits for its unit's end, or the
 * record's key, to be decided about. Of these the bytes of earlier pieces are kept in `held`.
 */

enum {
    OUTPUTS_MAX = 1000, /* as many nodes as a cluster is made for */
    FUNCTIONS_MAX = 10000,
    PIECE_BYTES = 128 * 1024, /* read and then written while in the processor's cache */
};

/* Where bytes go; below: an output. */
enum { NOWHERE = OUTPUTS_MAX, EVERYWHERE, EVERYWHERE_AUX };

struct function {
    char digest[DIGEST_HEX_MAX];
    char *library; /* "" where the code does not say */
};

struct rdb_split {
    struct rdb_split_params params;
    struct rdb_split_output *places; /* params.outputs */
    struct output *outputs;
    uint16_t route_of[SLOT_COUNT];
    struct rdb_reader *reader;
    unsigned input; /* 0: the first */
    bool take_some;
    struct slots take;
    struct slots kept, kept_before; /* slots of keys of this input, of earlier ones */
    struct rdb_header header;
    bool module_data, module_data_before; /* of this input, of an earlier one */
    struct function *functions;
    size_t function_count, function_alloc;
    struct rdb_split_source source;
    uint64_t bytes_before; /* of earlier inputs */

    const uint8_t *piece;
    uint64_t piece_offset;
    struct buf held; /* the bytes from held_offset up to the piece */
    uint64_t held_offset;
    uint64_t from, decided;
    unsigned route;
    unsigned unit_route; /* of the unit whose event is next */
    bool flowing;

    struct err failure;
};

static int send(struct rdb_split *s, const void *bytes, size_t len, struct err *err)
{
    if (s->route == NOWHERE)
        return 0;
    if (s->params.stamp_only) {
        if (s->route != EVERYWHERE_AUX)
            output_own_data(&s->outputs[0], bytes, len);
        return 0;
    }
    if (s->route < NOWHERE)
        return output_data(&s->outputs[s->route], bytes, len, err);
    for (size_t i = 0; i < s->params.count; i++) {
        int rc = s->route == EVERYWHERE_AUX ? output_aux(&s->outputs[i], bytes, len, err)
                                            : output_data(&s->outputs[i], bytes, len, err);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Passes on all before `end`. */
static int pass(struct rdb_split *s, uint64_t end, struct err *err)
{
    if (s->from < s->piece_offset && s->from < end) {
        uint64_t until = end < s->piece_offset ? end : s->piece_offset;
        if (send(s, s->held.data + (s->from - s->held_offset), (size_t)(until - s->from), err) < 0)
            return -1;
        s->from = until;
    }
    if (s->from < end &&
        send(s, s->piece + (s->from - s->piece_offset), (size_t)(end - s->from), err) < 0)
        return -1;
    s->from = end;
    return 0;
}

/* The bytes from `offset` on, where a unit or a record starts, go there. */
static int set_route(struct rdb_split *s, uint64_t offset, unsigned route, struct err *err)
{
    if (offset != s->decided)
        return err_set(err, ERR_CORRUPT,
            "something stands between an expiry and its key, behind offset %" PRIu64, s->decided);
    if (route == s->route)
        return 0;
    if (pass(s, s->decided, err) < 0)
        return -1;
    s->route = route;
    return 0;
}

/* events */

static int on_header(void *arg, const struct rdb_header *header, struct err *err)
{
    struct rdb_split *s = arg;

    s->route = NOWHERE;
    s->decided = RDB_HEADER_BYTES;
    if (!s->header.version) {
        s->header = *header;
        for (size_t i = 0; i < s->params.count; i++)
            if (output_header(&s->outputs[i], header, err) < 0)
                return -1;
        return 0;
    }
    if (header->valkey != s->header.valkey)
        return err_set(err, ERR_UNSUPPORTED,
            "files of Redis and of Valkey's own format (version %d) cannot be joined",
            header->valkey ? header->version : s->header.version);
    if (header->version > s->header.version)
        s->header.version = header->version;
    return 0;
}

static bool is(struct rdb_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static int on_aux(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    struct rdb_split *s = arg;

    s->unit_route = NOWHERE;
    if (s->input || (!s->params.stamp_only && (is(key, "repl-id") || is(key, "repl-offset") ||
                                                  is(key, "repl-stream-db"))))
        return 0;
    s->unit_route = EVERYWHERE_AUX;
    for (size_t i = 0; i < s->params.count; i++)
        if (s->outputs[i].scan && rdb_scan_events.aux(s->outputs[i].scan, key, value, err) < 0)
            return -1;
    return 0;
}

/* May be long: goes through while it is read. */
static int on_module_aux(void *arg, const char *module, struct err *err)
{
    struct rdb_split *s = arg;

    if (s->module_data_before) {
        err_set(err, ERR_UNSUPPORTED,
            "more than one of the files has data of modules outside of keys (of '%s')", module);
        return err_hint(err, "What the module keeps there cannot be joined without it.");
    }
    s->module_data = true;
    for (size_t i = 0; i < s->params.count; i++)
        if (s->outputs[i].scan && rdb_scan_events.module_aux(s->outputs[i].scan, module, err) < 0)
            return -1;
    s->flowing = true;
    return set_route(s, s->decided, EVERYWHERE, err);
}

/* "#!lua name=LIBRARY": the caller's. */
static char *library_of(struct rdb_bytes code)
{
    const char *text = code.data;
    const char *line_end = memchr(text, '\n', code.len);
    size_t len = line_end ? (size_t)(line_end - text) : code.len;
    const char *name = memmem(text, len, " name=", strlen(" name="));

    if (!name)
        return xstrdup("");
    name += strlen(" name=");
    size_t name_len = 0;
    while (name + name_len < text + len && !strchr(" \t\r", name[name_len]))
        name_len++;
    return xstrndup(name, name_len);
}

static int on_function(void *arg, struct rdb_bytes code, struct err *err)
{
    struct rdb_split *s = arg;
    struct function f;

    digest_of(code.data, code.len, f.digest);
    f.library = library_of(code);
    s->unit_route = EVERYWHERE;
    for (size_t i = 0; s->input && i < s->function_count; i++) {
        if (strcmp(s->functions[i].digest, f.digest) == 0) {
            s->unit_route = NOWHERE;
        } else if (*f.library && strcmp(s->functions[i].library, f.library) == 0) {
            err_set(err, ERR_CHECK, "the library '%s' of functions differs between the files",
                f.library);
            free(f.library);
            return err_hint(err, "Load the same library into all shards, then save them again.");
        }
    }
    if (s->unit_route == NOWHERE || s->function_count == FUNCTIONS_MAX) {
        free(f.library);
        return s->unit_route == NOWHERE
                   ? 0
                   : err_set(err, ERR_LIMIT, "more than %d functions", FUNCTIONS_MAX);
    }
    GROW(s->functions, s->function_count, s->function_alloc);
    s->functions[s->function_count++] = f;
    for (size_t i = 0; i < s->params.count; i++)
        if (s->outputs[i].scan && rdb_scan_events.function(s->outputs[i].scan, code, err) < 0)
            return -1;
    return 0;
}

/* Where the bytes of the unit go, decided by its own event or by what it is. */
static unsigned route_of_unit(const struct rdb_split *s, const struct rdb_unit *unit)
{
    if (s->params.stamp_only && unit->opcode != RDB_OPCODE_AUX)
        return unit->opcode == RDB_OPCODE_EOF ? NOWHERE : EVERYWHERE;
    switch ((enum rdb_opcode)unit->opcode) {
    case RDB_OPCODE_AUX:
    case RDB_OPCODE_FUNCTION_2:
    case RDB_OPCODE_FUNCTION_PRE_GA:
        return s->unit_route;
    case RDB_OPCODE_MODULE_AUX:
        return EVERYWHERE;
    case RDB_OPCODE_SLOT_INFO:
        return unit->slot < SLOT_COUNT ? s->route_of[unit->slot] : NOWHERE;
    case RDB_OPCODE_SLOT_IMPORT: /* only an output of all slots can finish it */
        return s->params.count == 1 && !s->params.outputs[0].slots ? 0 : NOWHERE;
    case RDB_OPCODE_RESIZE_DB:
    case RDB_OPCODE_SELECT_DB:
    case RDB_OPCODE_EOF:
        break;
    }
    return NOWHERE;
}

/* The scans see the units that go to their outputs. */
static int tell_unit(struct rdb_split *s, const struct rdb_unit *unit, struct err *err)
{
    for (size_t i = 0; s->route != NOWHERE && i < s->params.count; i++)
        if (s->outputs[i].scan && (s->route > NOWHERE || s->route == i) &&
            rdb_scan_events.unit(s->outputs[i].scan, unit, err) < 0)
            return -1;
    return 0;
}

static int on_unit(void *arg, const struct rdb_unit *unit, struct err *err)
{
    struct rdb_split *s = arg;

    if (!s->flowing) {
        unsigned route = route_of_unit(s, unit);
        if (set_route(s, unit->offset, route, err) < 0)
            return -1;
        if (route < NOWHERE && output_select(&s->outputs[route], unit->db, err) < 0)
            return -1;
    }
    s->flowing = false;
    s->decided = unit->end_offset;
    return tell_unit(s, unit, err);
}

static int slot_of_two_inputs(unsigned slot, struct err *err)
{
    err_set(err, ERR_CHECK, "slot %u has keys in more than one of the files", slot);
    return err_hint(err, "Say which slots of each file count: its other keys are left out.");
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct rdb_split *s = arg;
    unsigned slot = slot_of_key(record->key.data, record->key.len);
    unsigned route = s->take_some && !slots_has(&s->take, slot) ? NOWHERE : s->route_of[slot];
    bool expires = record->expires_ms != -1;

    s->source.keys++;
    s->source.expires += expires;
    slots_add(&s->source.slots, slot);
    if ((route != s->route || record->offset != s->decided) &&
        set_route(s, record->offset, route, err) < 0)
        return -1;
    s->flowing = true;
    if (route == NOWHERE) {
        s->source.left_out++;
        return RDB_SKIP;
    }

    struct output *o = &s->outputs[route];
    if (s->input && slots_has(&s->kept_before, slot))
        return slot_of_two_inputs(slot, err);
    slots_add(&s->kept, slot);
    if (o->selected != record->db && output_select(o, record->db, err) < 0)
        return -1;
    output_count_key(o, expires);
    if (o->scan && rdb_scan_record(o->scan, record, slot, err) < 0)
        return -1;
    return RDB_SKIP;
}

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct rdb_split *s = arg;
    struct rdb_scan *scan = s->route < NOWHERE ? s->outputs[s->route].scan : NULL;

    s->flowing = false;
    s->decided = end_offset;
    return scan ? rdb_scan_events.record_end(scan, record, end_offset, err) : 0;
}

/* the calls */

static struct rdb_reader *new_reader(struct rdb_split *s)
{
    static const struct rdb_events events = {
        .header = on_header,
        .aux = on_aux,
        .module_aux = on_module_aux,
        .function = on_function,
        .unit = on_unit,
        .record = on_record,
        .record_end = on_record_end,
    };
    return rdb_reader_new(&events, s, &s->params.limits);
}

static int fill_routes(struct rdb_split *s, struct err *err)
{
    struct slots all;

    slots_fill(&all);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        s->route_of[slot] = NOWHERE;
    for (size_t i = 0; i < s->params.count; i++) {
        const struct slots *slots = s->params.outputs[i].slots;
        for (unsigned at = 0, first, last;
             slots_next_range(slots ? slots : &all, &at, &first, &last);)
            for (unsigned slot = first; slot <= last; slot++) {
                if (s->route_of[slot] != NOWHERE)
                    return err_set(err, ERR_USAGE, "slot %u is of two outputs, %u and %zu", slot,
                        s->route_of[slot] + 1U, i + 1);
                s->route_of[slot] = (uint16_t)i;
            }
    }
    return 0;
}

struct rdb_split *rdb_split_new(const struct rdb_split_params *params, struct err *err)
{
    struct rdb_split *s = xcalloc(1, sizeof(*s));

    s->params = *params;
    s->params.count = 0; /* of the outputs that there are */
    buf_init(&s->held);
    s->route = NOWHERE;
    if (!params->count || params->count > OUTPUTS_MAX) {
        err_set(
            err, ERR_USAGE, "%zu outputs, but there can be 1 to %d", params->count, OUTPUTS_MAX);
        goto failed;
    }
    if (params->stamp_only && (!params->stamp || params->count != 1 || params->outputs[0].slots)) {
        err_set(err, ERR_USAGE, "a file that is only stamped goes to one output of all slots");
        goto failed;
    }
    s->places = xmemdup(params->outputs, params->count * sizeof(*params->outputs));
    s->params.outputs = s->places;
    s->outputs = xcalloc(params->count, sizeof(*s->outputs));
    for (; s->params.count < params->count; s->params.count++)
        output_init(&s->outputs[s->params.count], &s->params, s->params.count);
    if (fill_routes(s, err) < 0)
        goto failed;
    s->reader = new_reader(s);
    return s;

failed:
    rdb_split_free(s);
    return NULL;
}

void rdb_split_free(struct rdb_split *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->params.count; i++)
        output_release(&s->outputs[i]);
    for (size_t i = 0; i < s->function_count; i++)
        free(s->functions[i].library);
    free(s->functions);
    free(s->outputs);
    free(s->places);
    buf_release(&s->held);
    rdb_reader_free(s->reader);
    free(s);
}

void rdb_split_take(struct rdb_split *s, const struct slots *slots)
{
    s->take_some = slots != NULL;
    if (slots)
        s->take = *slots;
}

/* Behind a piece: what is decided goes on, the rest waits. */
static int finish_piece(struct rdb_split *s, size_t len, struct err *err)
{
    uint64_t end = s->piece_offset + len;

    if (pass(s, s->flowing ? end : s->decided, err) < 0)
        return -1;
    if (s->from >= s->piece_offset) {
        buf_clear(&s->held);
        if (s->held.alloc > PIECE_BYTES)
            buf_release(&s->held);
        s->held_offset = s->from;
        buf_add(&s->held, s->piece + (s->from - s->piece_offset), (size_t)(end - s->from));
    } else {
        buf_add(&s->held, s->piece, len);
    }
    return 0;
}

static int feed(struct rdb_split *s, const uint8_t *data, size_t len, struct err *err)
{
    for (size_t n; len; data += n, len -= n) {
        n = len < PIECE_BYTES ? len : PIECE_BYTES;
        s->piece = data;
        s->piece_offset = rdb_reader_offset(s->reader);
        if (rdb_reader_feed(s->reader, data, n, err) < 0 || finish_piece(s, n, err) < 0)
            return -1;
    }
    return 0;
}

int rdb_split_feed(struct rdb_split *s, const void *data, size_t len, struct err *err)
{
    if (!s->failure.code && feed(s, data, len, &s->failure) == 0)
        return 0;
    *err = s->failure;
    return -1;
}

/* The present input has ended. */
static int end_input(struct rdb_split *s, struct err *err)
{
    int rc = rdb_reader_end(s->reader, err);

    s->source.checksum = rdb_reader_checksum(s->reader);
    return rc;
}

int rdb_split_next(struct rdb_split *s, struct err *err)
{
    if (s->failure.code || end_input(s, &s->failure) < 0) {
        *err = s->failure;
        return -1;
    }
    if (s->params.stamp_only)
        return err_set(err, ERR_USAGE, "a file that is only stamped is joined with no other");
    s->bytes_before += rdb_reader_offset(s->reader);
    rdb_reader_free(s->reader);
    s->reader = new_reader(s);
    s->input++;
    s->take_some = false;
    slots_union(&s->kept_before, &s->kept);
    slots_clear(&s->kept);
    s->module_data_before |= s->module_data;
    buf_clear(&s->held);
    s->held_offset = s->from = s->decided = 0;
    s->route = NOWHERE;
    return 0;
}

static int end(struct rdb_split *s, struct err *err)
{
    if (end_input(s, err) < 0)
        return -1;
    if (s->params.stamp_only) {
        uint64_t crc, bytes = rdb_reader_data_end(s->reader, &crc);
        output_own_end(&s->outputs[0], bytes, crc);
    }
    for (size_t i = 0; i < s->params.count; i++)
        if (output_end(&s->outputs[i], &s->header, err) < 0)
            return -1;
    return 0;
}

int rdb_split_end(struct rdb_split *s, struct err *err)
{
    if (!s->failure.code && end(s, &s->failure) == 0)
        return 0;
    *err = s->failure;
    return -1;
}

const struct rdb_split_facts *rdb_split_facts(const struct rdb_split *s, size_t output)
{
    return &s->outputs[output].facts;
}

void rdb_split_source(const struct rdb_split *s, struct rdb_split_source *ret)
{
    *ret = s->source;
    ret->bytes = s->bytes_before + rdb_reader_offset(s->reader);
}
