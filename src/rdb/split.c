#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/json.h"
#include "scan_impl.h"
#include "splitting.h"

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

/* Passes all bytes before `end`. */
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

/* The bytes from s->decided to `offset` go to `to` only. */
static void take_out(struct rdb_split *s, uint64_t offset, struct buf *to)
{
    uint64_t at = s->decided;

    if (at == s->held_offset && at < s->piece_offset && offset >= s->piece_offset && !to->len) {
        struct buf all = s->held; /* moved, not copied, because it may be large */
        s->held = *to;
        *to = all;
        at = s->piece_offset;
    } else if (at < s->piece_offset) {
        uint64_t until = offset < s->piece_offset ? offset : s->piece_offset;
        buf_add(to, s->held.data + (at - s->held_offset), (size_t)(until - at));
        at = until;
    }
    if (at < offset)
        buf_add(to, s->piece + (at - s->piece_offset), (size_t)(offset - at));
}

/*
 * A unit starts at `offset`. KeyDB writes parts of a record (an expiry, an aux field, the key)
 * before other units; these are put aside for their record.
 */
static int begin_unit(struct rdb_split *s, uint64_t offset, struct err *err)
{
    if (offset == s->decided)
        return 0;
    if (pass(s, s->decided, err) < 0)
        return -1;
    take_out(s, offset, &s->prefix);
    s->from = s->decided = offset;
    return 0;
}

/* Sends the bytes from s->decided on there. */
static int set_route(struct rdb_split *s, unsigned route, struct err *err)
{
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
    if (s->rest_of)
        return 0;
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
    if (!split_is_first(s) ||
        (!s->params.stamp_only &&
            (is(key, "repl-id") || is(key, "repl-offset") || is(key, "repl-stream-db"))))
        return 0;
    s->unit_route = EVERYWHERE_AUX;
    for (size_t i = 0; i < s->params.count; i++)
        if (s->outputs[i].scan && rdb_scan_events.aux(s->outputs[i].scan, key, value, err) < 0)
            return -1;
    return 0;
}

/* It may be long, so it is passed on while it is read. */
static int on_module_aux(void *arg, const char *module, struct err *err)
{
    struct rdb_split *s = arg;
    bool left_out = json_has_text(s->params.without, module);

    if (begin_unit(s, rdb_reader_unit_offset(s->reader), err) < 0)
        return -1;
    s->flowing = true;
    if (left_out && !json_has_text(s->modules_left_out, module))
        json_array_append_new(s->modules_left_out, json_string(module));
    if (s->rest_of || left_out)
        return set_route(s, NOWHERE, err);
    if (s->module_data_before) {
        err_set(err, ERR_UNSUPPORTED,
            "more than one of the files has data of modules outside of keys (of '%s')", module);
        return err_hint(err, "What the module keeps there cannot be joined without it.");
    }
    s->module_data = true;
    for (size_t i = 0; i < s->params.count; i++)
        if (s->outputs[i].scan && rdb_scan_events.module_aux(s->outputs[i].scan, module, err) < 0)
            return -1;
    return set_route(s, EVERYWHERE, err);
}

static int on_function(void *arg, struct rdb_bytes code, struct err *err)
{
    struct rdb_split *s = arg;

    if (!s->rest_of)
        return split_function(s, code, err);
    s->unit_route = NOWHERE;
    return 0;
}

/* The destination of a unit's bytes, chosen by its own event or by its kind. */
static unsigned route_of_unit(const struct rdb_split *s, const struct rdb_unit *unit)
{
    if (s->params.stamp_only && unit->opcode != RDB_OPCODE_AUX)
        return unit->opcode == RDB_OPCODE_EOF ? NOWHERE : EVERYWHERE;
    if (s->rest_of)
        return NOWHERE;
    switch ((enum rdb_opcode)unit->opcode) {
    case RDB_OPCODE_AUX:
    case RDB_OPCODE_FUNCTION_2:
    case RDB_OPCODE_FUNCTION_PRE_GA:
        return s->unit_route;
    case RDB_OPCODE_MODULE_AUX:
        return EVERYWHERE;
    case RDB_OPCODE_SLOT_INFO:
        return unit->slot < SLOT_COUNT ? s->route_of[unit->slot] : NOWHERE;
    case RDB_OPCODE_SLOT_IMPORT: /* only an output of all slots can complete the migration */
        return s->one_is_all ? 0 : NOWHERE;
    case RDB_OPCODE_RESIZE_DB:
    case RDB_OPCODE_SELECT_DB:
    case RDB_OPCODE_EOF:
        break;
    }
    return NOWHERE;
}

static bool is_function(const struct rdb_unit *unit)
{
    return unit->opcode == RDB_OPCODE_FUNCTION_2 || unit->opcode == RDB_OPCODE_FUNCTION_PRE_GA;
}

/* The scans see the units that go to their outputs. */
static int tell_unit(struct rdb_split *s, const struct rdb_unit *unit, struct err *err)
{
    unsigned route = is_function(unit) ? s->unit_route : s->route;

    for (size_t i = 0; route != NOWHERE && i < s->params.count; i++)
        if (s->outputs[i].scan && (route > NOWHERE || route == i) &&
            rdb_scan_events.unit(s->outputs[i].scan, unit, err) < 0)
            return -1;
    return 0;
}

/* Units that must come after the functions of the first file. */
static bool ends_functions(const struct rdb_unit *unit)
{
    return unit->opcode == RDB_OPCODE_SELECT_DB || unit->opcode == RDB_OPCODE_EOF;
}

/* The bytes of a function are held until all are known, so that all outputs have the same order. */
static int hold_function(struct rdb_split *s, const struct rdb_unit *unit, struct err *err)
{
    if (pass(s, s->decided, err) < 0)
        return -1;
    if (s->unit_route == EVERYWHERE)
        take_out(s, unit->end_offset, &s->functions[s->function_count - 1].unit);
    s->from = unit->end_offset;
    return 0;
}

static int route_unit(struct rdb_split *s, const struct rdb_unit *unit, struct err *err)
{
    unsigned route = route_of_unit(s, unit);

    if (begin_unit(s, unit->offset, err) < 0)
        return -1;
    if (split_is_first(s) && ends_functions(unit) &&
        (pass(s, s->decided, err) < 0 || split_write_functions(s, err) < 0))
        return -1;
    if (is_function(unit) && !s->one_is_all)
        return hold_function(s, unit, err);
    if (set_route(s, route, err) < 0)
        return -1;
    return route < NOWHERE ? output_select(&s->outputs[route], unit->db, err) : 0;
}

static int on_slots_importing(void *arg, const struct slots *slots, struct err *err)
{
    struct rdb_split *s = arg;

    (void)err;
    slots_union(&s->importing, slots);
    return 0;
}

static int on_unit(void *arg, const struct rdb_unit *unit, struct err *err)
{
    struct rdb_split *s = arg;

    if (!s->flowing && route_unit(s, unit, err) < 0)
        return -1;
    s->flowing = false;
    s->decided = unit->end_offset;
    return s->rest_of ? 0 : tell_unit(s, unit, err);
}

/* The node that a slot was leaving still has the keys of that slot. */
static bool is_importing(const struct rdb_split *s, unsigned slot)
{
    return !s->one_is_all && slots_has(&s->importing, slot);
}

static bool is_wanted(const struct rdb_split *s, unsigned slot)
{
    if (s->route_of[slot] == NOWHERE || (s->take_some && !slots_has(&s->take, slot)) ||
        is_importing(s, slot))
        return false;
    return !s->rest_of || !slots_has(&s->rest_of->prefer, slot);
}

static void count_source(struct rdb_split *s, const struct rdb_record *record, unsigned slot)
{
    if (s->rest_of)
        return;
    if (is_importing(s, slot)) {
        s->source.importing++;
        return;
    }
    s->source.keys++;
    s->source.expires += record->expires_ms != -1;
    slots_add(&s->source.slots, slot);
}

static uint8_t byte_at(const struct rdb_split *s, uint64_t offset)
{
    return offset < s->piece_offset ? (uint8_t)s->held.data[offset - s->held_offset]
                                    : s->piece[offset - s->piece_offset];
}

/* The bytes of an expiry opcode, in seconds or milliseconds; 0: another opcode. */
static size_t expiry_length(uint8_t opcode)
{
    enum { EXPIRY_MS = 252, EXPIRY_S = 253 };
    return opcode == EXPIRY_MS ? 1 + sizeof(int64_t) : opcode == EXPIRY_S ? 1 + sizeof(int32_t) : 0;
}

/* All servers write the expiry before anything else of a record. */
static int send_shifted(struct rdb_split *s, const struct rdb_record *record, struct err *err)
{
    const bool aside = s->prefix.len > 0;
    uint8_t first = aside ? (uint8_t)s->prefix.data[0] : byte_at(s, s->decided);
    size_t len = expiry_length(first);
    uint8_t shifted[1 + sizeof(int64_t)] = {252};
    int64_t expires_ms = record->expires_ms + s->params.shift_expiry_ms;

    if (pass(s, s->decided, err) < 0)
        return -1;
    if (!len || (aside && s->prefix.len < len))
        return err_set(err, ERR_UNSUPPORTED,
            "the record at offset %" PRIu64
            " does not begin with its expiry, so it cannot be moved",
            record->offset);
    uint64_t little = htole64((uint64_t)expires_ms);
    memcpy(shifted + 1, &little, sizeof(little));
    if (send(s, shifted, sizeof(shifted), err) < 0)
        return -1;
    if (aside)
        return send(s, s->prefix.data + len, s->prefix.len - len, err);
    s->from = s->decided += len;
    return 0;
}

/* Before a record: its database, its counts, the prefixes that were put aside. */
static int begin_record(struct rdb_split *s, const struct rdb_record *record, unsigned slot,
    unsigned route, struct err *err)
{
    struct output *o = &s->outputs[route];

    if (record->repeated)
        return fail_repeated(record, -1, err);
    if (o->selected != record->db && output_select(o, record->db, err) < 0)
        return -1;
    const bool shifts = s->params.shift_expiry_ms && record->expires_ms != -1;
    struct rdb_record written = *record;
    if (shifts)
        written.expires_ms += s->params.shift_expiry_ms;
    output_count_key(o, record->expires_ms != -1);
    if (o->scan && rdb_scan_record(o->scan, &written, slot, err) < 0)
        return -1;
    if (shifts)
        return send_shifted(s, record, err);
    if (!s->prefix.len)
        return 0;
    return pass(s, s->decided, err) < 0 ? -1 : send(s, s->prefix.data, s->prefix.len, err);
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct rdb_split *s = arg;
    unsigned slot = slot_of_key(record->key.data, record->key.len), route = NOWHERE;
    enum key_verdict verdict = KEY_COUNTS;

    count_source(s, record, slot);
    if (is_wanted(s, slot)) {
        if (split_key(s, record, slot, s->route_of[slot], &verdict, err) < 0)
            return -1;
        route = verdict == KEY_COUNTS ? s->route_of[slot] : NOWHERE;
    }
    if (route != s->route && set_route(s, route, err) < 0)
        return -1;
    s->flowing = true;
    s->record_offset = s->decided - s->prefix.len;
    if (route != NOWHERE && begin_record(s, record, slot, route, err) < 0)
        return -1;
    buf_clear(&s->prefix);
    s->source.left_out +=
        route == NOWHERE && verdict == KEY_COUNTS && !s->rest_of && !is_importing(s, slot);
    return RDB_SKIP;
}

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct rdb_split *s = arg;
    struct rdb_scan *scan = s->route < NOWHERE ? s->outputs[s->route].scan : NULL;

    s->flowing = false;
    s->decided = end_offset;
    if (!scan)
        return 0;
    struct rdb_record written = *record;
    written.offset = s->record_offset;
    if (written.expires_ms != -1)
        written.expires_ms += s->params.shift_expiry_ms;
    return rdb_scan_events.record_end(scan, &written, end_offset, err);
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
        .importing = on_slots_importing,
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
                    return err_set(err, ERR_USAGE, "slot %u belongs to two outputs, %u and %zu",
                        slot, s->route_of[slot] + 1U, i + 1);
                s->route_of[slot] = (uint16_t)i;
            }
    }
    return 0;
}

static void add_input(struct rdb_split *s)
{
    GROW(s->inputs, s->input_count, s->input_alloc);
    s->inputs[s->input_count++] = (struct split_input){.name = NULL};
}

struct rdb_split *rdb_split_new(const struct rdb_split_params *params, struct err *err)
{
    struct rdb_split *s = xcalloc(1, sizeof(*s));

    s->params = *params;
    s->params.count = 0; /* of the existing outputs */
    buf_init(&s->held);
    buf_init(&s->prefix);
    s->modules_left_out = json_array();
    s->one_is_all = params->count == 1 && !params->outputs[0].slots;
    s->route = NOWHERE;
    if (!params->count || params->count > OUTPUTS_MAX) {
        err_set(
            err, ERR_USAGE, "%zu outputs, but there can be 1 to %d", params->count, OUTPUTS_MAX);
        goto failed;
    }
    if (params->stamp_only &&
        (!params->stamp || params->shift_expiry_ms || json_array_size(params->without) ||
            params->count != 1 || params->outputs[0].slots)) {
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
    add_input(s);
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
    for (size_t i = 0; i < s->function_count; i++) {
        free(s->functions[i].library);
        buf_release(&s->functions[i].unit);
    }
    for (size_t i = 0; i < s->input_count; i++) {
        key_list_release(&s->inputs[i].keys[0]);
        key_list_release(&s->inputs[i].keys[1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(s->keys); i++)
        key_set_release(&s->keys[i]);
    free(s->inputs);
    json_decref(s->modules_left_out);
    free(s->functions);
    free(s->outputs);
    free(s->places);
    buf_release(&s->held);
    buf_release(&s->prefix);
    rdb_reader_free(s->reader);
    free(s);
}

void rdb_split_take(struct rdb_split *s, const struct slots *slots)
{
    s->take_some = slots != NULL;
    if (slots)
        s->take = *slots;
}

void rdb_split_prefer(struct rdb_split *s, const struct slots *slots)
{
    split_present(s)->prefer_some = slots != NULL;
    if (slots)
        split_present(s)->prefer = *slots;
}

void rdb_split_name(struct rdb_split *s, const char *name)
{
    split_present(s)->name = name;
}

uint64_t rdb_split_waiting(const struct rdb_split *s, size_t input)
{
    return s->inputs[input].waiting;
}

/* After a piece: passes decided bytes on; the rest is held. */
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

static int end_input(struct rdb_split *s, struct err *err)
{
    int rc = rdb_reader_end(s->reader, err);

    s->source.checksum = rdb_reader_checksum(s->reader);
    return rc < 0 ? -1 : split_end_keys(s, err);
}

static int next(struct rdb_split *s, struct err *err)
{
    if (end_input(s, err) < 0)
        return -1;
    if (s->params.stamp_only)
        return err_set(err, ERR_USAGE, "a file that is only stamped cannot be joined with another");
    if (s->params.one_input || s->input_count == INPUTS_MAX)
        return err_set(err, ERR_USAGE, "no other file can be joined with this one");
    split_keep_keys(s);
    s->bytes_before += s->rest_of ? 0 : rdb_reader_offset(s->reader);
    rdb_reader_free(s->reader);
    s->reader = new_reader(s);
    add_input(s);
    s->take_some = false;
    s->rest_of = NULL;
    slots_clear(&s->importing);
    s->module_data_before |= s->module_data;
    buf_clear(&s->held);
    buf_clear(&s->prefix);
    s->held_offset = s->from = s->decided = 0;
    s->route = NOWHERE;
    return 0;
}

int rdb_split_next(struct rdb_split *s, struct err *err)
{
    if (!s->failure.code && next(s, &s->failure) == 0)
        return 0;
    *err = s->failure;
    return -1;
}

int rdb_split_again(struct rdb_split *s, size_t input, struct err *err)
{
    if (rdb_split_next(s, err) < 0)
        return -1;
    s->rest_of = &s->inputs[input];
    split_present(s)->name = s->inputs[input].name;
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
    if (split_write_functions(s, err) < 0)
        return -1;
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

const json_t *rdb_split_modules_left_out(const struct rdb_split *s)
{
    return s->modules_left_out;
}

const struct rdb_split_facts *rdb_split_facts(const struct rdb_split *s, size_t output)
{
    return &s->outputs[output].facts;
}

void rdb_split_source(const struct rdb_split *s, struct rdb_split_source *ret)
{
    *ret = s->source;
    ret->bytes = s->bytes_before + (s->rest_of ? 0 : rdb_reader_offset(s->reader));
}
