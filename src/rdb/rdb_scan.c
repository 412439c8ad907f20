#include "recluster/rdb_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key_set.h"
#include "recluster/digest.h"
#include "recluster/mem.h"
#include "scan_impl.h"
#include "scan_types.h"

/* Limits of what a hostile file can make the scan remember. */
enum {
    DATABASES_MAX = 16384,
    MODULES_MAX = 1024,
    AUX_MAX = 256,
    AUX_KEY_MAX = 128,
    AUX_VALUE_MAX = 4096,
};

/* Hints that are higher by this make a server allocate memory that it never uses. */
enum { HINT_FACTOR = 8, HINT_HARMLESS = 1 << 20 };

/* A marker to look for, and where it was first seen. */
struct rdb_suspects {
    struct key_list digests;
};

struct database {
    uint64_t number, keys;
};

struct rdb_scan {
    struct rdb_reader *reader;
    uint64_t bytes; /* of a file that is being written: another reader feeds the scan */
    enum rdb_checksum checksum;
    struct rdb_scan_options options;
    struct slots allowed;
    struct digest *digest;
    char sha256[DIGEST_HEX_MAX];

    struct rdb_header header;
    uint64_t keys, expires, expired, functions, foreign;
    uint64_t field_expires; /* hashes with fields that expire */
    struct scan_types types;
    struct slots slots;
    struct seen_key first_foreign;
    unsigned first_foreign_slot;
    struct database *databases; /* sorted by number */
    size_t database_count, database_alloc;
    size_t database; /* of the last key */
    json_t *aux;
    unsigned marks;         /* keys that every CCS file has */
    struct slots importing; /* slots that were being imported */
    uint64_t importing_keys;
    uint64_t empty, hinted; /* hinted: the sum of the size hints */
    struct key_set keys_seen;
    struct rdb_suspects found;
    struct err repeated;           /* the first duplicate key */
    struct seen_key *suspect_keys; /* of options.suspects, those that were seen */
    uint64_t *suspect_offsets;
    struct {
        char name[10];
        bool values;
    } * modules;
    size_t module_count, module_alloc;
    struct seen_key *samples;
    size_t sample_count;
    uint64_t candidates; /* how many keys were candidates */
    uint64_t random;
};

static int on_header(void *arg, const struct rdb_header *header, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    s->header = *header;
    return 0;
}

static int on_aux(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    if (json_object_size(s->aux) >= AUX_MAX || !key.len || key.len > AUX_KEY_MAX ||
        value.len > AUX_VALUE_MAX || memchr(key.data, '\0', key.len) ||
        (value.len && memchr(value.data, '\0', value.len)))
        return 0;
    /* Both fail for text that is not UTF-8. */
    json_object_setn_new(s->aux, key.data, key.len, json_stringn(value.data, value.len));
    return 0;
}

static int add_module(struct rdb_scan *s, const char *name, bool value, struct err *err)
{
    size_t i = 0;

    while (i < s->module_count && strcmp(s->modules[i].name, name) != 0)
        i++;
    if (i == MODULES_MAX)
        return err_set(err, ERR_LIMIT, "RDB file has data of more than %d modules", MODULES_MAX);
    if (i == s->module_count) {
        GROW(s->modules, s->module_count, s->module_alloc);
        s->modules[i].values = false;
        snprintf(s->modules[s->module_count++].name, sizeof(s->modules->name), "%s", name);
    }
    s->modules[i].values |= value;
    return 0;
}

static int on_module_aux(void *arg, const char *module, struct err *err)
{
    return add_module(arg, module, false, err);
}

static int on_function(void *arg, struct rdb_bytes code, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)code;
    (void)err;
    s->functions++;
    return 0;
}

static int find_database(struct rdb_scan *s, uint64_t number, struct err *err)
{
    size_t low = 0, high = s->database_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->databases[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    s->database = low;
    if (low < s->database_count && s->databases[low].number == number)
        return 0;
    if (s->database_count == DATABASES_MAX)
        return err_set(
            err, ERR_LIMIT, "RDB file has keys in more than %d databases", DATABASES_MAX);
    GROW(s->databases, s->database_count, s->database_alloc);
    memmove(s->databases + low + 1, s->databases + low,
        (s->database_count - low) * sizeof(*s->databases));
    s->databases[low] = (struct database){.number = number};
    s->database_count++;
    return 0;
}

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The n-th candidate replaces a sample with the probability samples / n. */
static void maybe_sample(struct rdb_scan *s, const struct rdb_record *record)
{
    if (record->key.len > SEEN_KEY_MAX)
        return;
    s->candidates++;
    if (s->sample_count < s->options.samples) {
        s->samples = xreallocarray(s->samples, s->sample_count + 1, sizeof(*s->samples));
        s->samples[s->sample_count] = (struct seen_key){.key = NULL};
        seen_key_set(&s->samples[s->sample_count++], record, SEEN_KEY_MAX);
        return;
    }
    uint64_t at = next_random(&s->random) % s->candidates;
    if (at < s->sample_count)
        seen_key_set(&s->samples[at], record, SEEN_KEY_MAX);
}

/* A hash whose fields all expire disappears with the last one. */
static bool may_fade(const struct rdb_record *record)
{
    return record->kind == RDB_KIND_HASH && record->type >= RDB_HASH_METADATA_PRE_GA;
}

/* Reported at the end, when all else is known. */
static void look_for_suspects(struct rdb_scan *s, const struct rdb_record *record)
{
    const struct key_list *list = &s->options.suspects->digests;
    uint64_t digest = key_digest(record, 0);

    for (size_t i = 0; i < list->count; i++) {
        struct seen_key *seen = &s->suspect_keys[i];
        if (list->digests[i] != digest)
            continue;
        if (!seen->key) {
            seen_key_set(seen, record, SIZE_MAX);
            s->suspect_offsets[i] = record->offset;
        } else if (seen->db == record->db && seen->len == record->key.len &&
                   memcmp(seen->key, record->key.data, seen->len) == 0) {
            if (!s->repeated.code)
                (void)!fail_repeated(record, (int64_t)s->suspect_offsets[i], &s->repeated);
        }
        break;
    }
}

static inline int look_for_repeated(
    struct rdb_scan *s, const struct rdb_record *record, struct err *err)
{
    if (s->options.ignore_repeated)
        return 0;
    if (record->repeated)
        return fail_repeated(record, -1, err);
    if (s->options.suspects)
        look_for_suspects(s, record);
    else
        key_set_add(&s->keys_seen, key_digest(record, 0));
    return 0;
}

static const char *const ccs_marks[] = {"bdb:all", "node:all", "redis:all"};
enum { CCS_MARKS = (1 << ARRAY_SIZE(ccs_marks)) - 1 };

/* Keys that every CCS file has; no other file has all of them. */
static void look_for_ccs(struct rdb_scan *s, const struct rdb_record *record)
{
    for (size_t i = 0; i < ARRAY_SIZE(ccs_marks); i++)
        if (record->key.len == strlen(ccs_marks[i]) && record->kind == RDB_KIND_SET &&
            memcmp(record->key.data, ccs_marks[i], record->key.len) == 0)
            s->marks |= 1U << i;
}

static inline int count_record(
    struct rdb_scan *s, const struct rdb_record *record, unsigned slot, struct err *err)
{
    if (s->database >= s->database_count || s->databases[s->database].number != record->db)
        if (find_database(s, record->db, err) < 0)
            return -1;
    if (record->kind == RDB_KIND_MODULE && add_module(s, record->module, true, err) < 0)
        return -1;
    s->databases[s->database].keys++;
    s->keys++;
    scan_types_record(&s->types, record);
    if (record->kind == RDB_KIND_SET)
        look_for_ccs(s, record);
    bool fades = may_fade(record);
    s->field_expires += fades;
    if (look_for_repeated(s, record, err) < 0)
        return -1;
    if (record->expires_ms != -1) {
        s->expires++;
        if (s->options.now_ms && record->expires_ms < s->options.now_ms)
            s->expired++;
    }
    if (record->db == 0)
        slots_add(&s->slots, slot);
    bool importing = slots_has(&s->importing, slot);
    s->importing_keys += importing;
    if (s->options.allowed && !importing && !slots_has(&s->allowed, slot) && !s->foreign++) {
        s->first_foreign_slot = slot;
        seen_key_set(&s->first_foreign, record, SEEN_KEY_MAX);
    }
    return 0;
}

int rdb_scan_record(
    struct rdb_scan *s, const struct rdb_record *record, unsigned slot, struct err *err)
{
    return count_record(s, record, slot, err);
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    unsigned slot = slot_of_key(record->key.data, record->key.len);
    return count_record(arg, record, slot, err) < 0 ? -1 : RDB_SKIP;
}

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    s->empty += record->empty;
    if (s->options.samples && record->expires_ms == -1 && !record->empty && !may_fade(record))
        maybe_sample(s, record);
    scan_types_record_end(&s->types, &s->header, record, end_offset - record->offset);
    return 0;
}

static int on_unit(void *arg, const struct rdb_unit *unit, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    scan_types_unit(&s->types, unit);
    if (unit->opcode == RDB_OPCODE_RESIZE_DB || unit->opcode == RDB_OPCODE_SLOT_INFO)
        s->hinted += unit->hint <= UINT64_MAX - s->hinted ? unit->hint : UINT64_MAX - s->hinted;
    return 0;
}

static int on_importing(void *arg, const struct slots *slots, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    slots_union(&s->importing, slots);
    return 0;
}

const struct rdb_events rdb_scan_events = {
    .importing = on_importing,
    .header = on_header,
    .aux = on_aux,
    .module_aux = on_module_aux,
    .function = on_function,
    .unit = on_unit,
    .record = on_record,
    .record_end = on_record_end,
};

/* All digests are known: are some equal? */
static int check_repeated(struct rdb_scan *s, struct err *err)
{
    enum { SUSPECTS_MAX = 64 };

    if (s->repeated.code) {
        *err = s->repeated;
        return -1;
    }
    key_set_repeated(&s->keys_seen, &s->found.digests);
    key_set_release(&s->keys_seen);
    size_t count = s->found.digests.count;
    if (!count)
        return 0;
    if (count > SUSPECTS_MAX) /* enough to identify a key */
        s->found.digests.count = SUSPECTS_MAX;
    err_set(err, ERR_CORRUPT, "%zu key%s there twice", count, count == 1 ? " is" : "s are");
    return err_hint(err,
        "Servers refuse a file that has a key twice: take another copy of it, or an "
        "older backup.");
}

int rdb_scan_written(
    struct rdb_scan *s, uint64_t bytes, enum rdb_checksum checksum, struct err *err)
{
    s->bytes = bytes;
    s->checksum = checksum;
    return check_repeated(s, err);
}

struct rdb_suspects *rdb_scan_suspects(const struct rdb_scan *s)
{
    const struct key_list *found = &s->found.digests;

    if (!found->count)
        return NULL;
    struct rdb_suspects *copy = xcalloc(1, sizeof(*copy));
    for (size_t i = 0; i < found->count; i++)
        key_list_add(&copy->digests, found->digests[i]);
    return copy;
}

void rdb_suspects_free(struct rdb_suspects *suspects)
{
    if (!suspects)
        return;
    key_list_release(&suspects->digests);
    free(suspects);
}

bool rdb_scan_hints_are_false(const struct rdb_scan *s)
{
    return s->hinted > HINT_HARMLESS && s->hinted / HINT_FACTOR > s->keys;
}

struct rdb_scan *rdb_scan_new(const struct rdb_scan_options *options)
{
    struct rdb_scan *s = xcalloc(1, sizeof(*s));

    if (options)
        s->options = *options;
    if (s->options.allowed)
        s->allowed = *s->options.allowed;
    if (s->options.sha256)
        s->digest = digest_new();
    if (s->options.suspects) {
        s->suspect_keys = xcalloc(s->options.suspects->digests.count + 1, sizeof(*s->suspect_keys));
        s->suspect_offsets =
            xcalloc(s->options.suspects->digests.count + 1, sizeof(*s->suspect_offsets));
    }
    s->random = s->options.seed;
    s->aux = json_object();
    s->reader = rdb_reader_new(&rdb_scan_events, s, &s->options.limits);
    return s;
}

void rdb_scan_free(struct rdb_scan *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->sample_count; i++)
        seen_key_release(&s->samples[i]);
    free(s->samples);
    for (size_t i = 0; s->suspect_keys && i < s->options.suspects->digests.count; i++)
        seen_key_release(&s->suspect_keys[i]);
    free(s->suspect_keys);
    free(s->suspect_offsets);
    key_set_release(&s->keys_seen);
    key_list_release(&s->found.digests);
    seen_key_release(&s->first_foreign);
    scan_types_release(&s->types);
    free(s->databases);
    free(s->modules);
    json_decref(s->aux);
    digest_free(s->digest);
    rdb_reader_free(s->reader);
    free(s);
}

int rdb_scan_feed(struct rdb_scan *s, const void *data, size_t len, struct err *err)
{
    if (s->digest)
        digest_add(s->digest, data, len);
    return rdb_reader_feed(s->reader, data, len, err);
}

int rdb_scan_end(struct rdb_scan *s, struct err *err)
{
    if (rdb_reader_end(s->reader, err) < 0 || check_repeated(s, err) < 0)
        return -1;
    if (s->digest)
        digest_end(s->digest, s->sha256);
    s->digest = NULL;
    return 0;
}

uint64_t rdb_scan_offset(const struct rdb_scan *s)
{
    return rdb_reader_offset(s->reader);
}

const char *rdb_checksum_name(enum rdb_checksum checksum)
{
    switch (checksum) {
    case RDB_CHECKSUM_OK:
        return "ok";
    case RDB_CHECKSUM_BAD:
        return "bad";
    case RDB_CHECKSUM_NOT_REACHED:
        return "not reached";
    case RDB_CHECKSUM_ABSENT:
        break;
    }
    return "absent";
}

static json_t *count_json(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *databases_json(const struct rdb_scan *s)
{
    json_t *json = json_object();

    for (size_t i = 0; i < s->database_count; i++) {
        char number[24];
        snprintf(number, sizeof(number), "%" PRIu64, s->databases[i].number);
        json_object_set_new(json, number, count_json(s->databases[i].keys));
    }
    return json;
}

static json_t *foreign_json(const struct rdb_scan *s)
{
    const struct seen_key *first = &s->first_foreign;
    json_t *json = json_object();

    json_object_set_new(json, "keys", count_json(s->foreign));
    if (s->foreign)
        json_object_set_new(json, "first",
            json_pack("{s:o, s:i}", "key", hex_json(first->key, first->len), "slot",
                (int)s->first_foreign_slot));
    return json;
}

static json_t *samples_json(const struct rdb_scan *s)
{
    json_t *json = json_array();

    for (size_t i = 0; i < s->sample_count; i++)
        json_array_append_new(json, seen_key_json(&s->samples[i]));
    return json;
}

static json_t *modules_json(const struct rdb_scan *s)
{
    json_t *json = json_array();

    for (size_t i = 0; i < s->module_count; i++)
        json_array_append_new(json, json_string(s->modules[i].name));
    return json;
}

/* The kinds that have values. */
static json_t *module_values_json(const struct rdb_scan *s)
{
    json_t *json = json_array();

    for (size_t i = 0; i < s->module_count; i++)
        if (s->modules[i].values)
            json_array_append_new(json, json_string(s->modules[i].name));
    return json;
}

static void add_head(const struct rdb_scan *s, json_t *json)
{
    if (s->header.version) {
        json_object_set_new(json, "rdb_version", json_integer(s->header.version));
        json_object_set_new(json, "valkey", json_boolean(s->header.valkey));
    }
    json_object_set(json, "aux", s->aux);
    if (!slots_is_empty(&s->importing))
        json_object_set_new(json, "importing",
            json_pack("{s:o, s:I}", "ranges", slots_to_json(&s->importing), "keys",
                (json_int_t)s->importing_keys));
    json_object_set_new(json, "modules", modules_json(s));
}

static void add_notes(const struct rdb_scan *s, json_t *json)
{
    json_t *notes = json_array();
    uint64_t trailing = rdb_reader_trailing(s->reader);

    if (s->marks == CCS_MARKS)
        json_array_append_new(notes,
            json_string(
                "it is a CCS file, the configuration of a cluster: no backup of a database"));
    if (s->empty)
        json_array_append_new(notes,
            json_sprintf("%" PRIu64 " of the keys %s without elements: servers since 6.2.6 leave "
                         "%s out",
                s->empty, s->empty == 1 ? "is" : "are", s->empty == 1 ? "it" : "them"));
    if (trailing)
        json_array_append_new(notes,
            json_sprintf("%" PRIu64 " byte%s after the end of the data do%s no harm: %s", trailing,
                trailing == 1 ? "" : "s", trailing == 1 ? "es" : "",
                trailing < 40 ? "line ends" : "the mark that a dump through a pipe has there"));
    if (rdb_scan_hints_are_false(s))
        json_array_append_new(
            notes, json_sprintf("its size hints speak of %" PRIu64 " keys, it has %" PRIu64
                                ": no server gets these hints",
                       s->hinted, s->keys));
    if (json_array_size(notes))
        json_object_set(json, "notes", notes);
    json_decref(notes);
}

json_t *rdb_scan_json(const struct rdb_scan *s)
{
    json_t *json = json_object();
    enum rdb_checksum checksum = s->bytes ? s->checksum : rdb_reader_checksum(s->reader);

    add_head(s, json);
    json_object_set_new(json, "bytes", count_json(s->bytes ? s->bytes : rdb_scan_offset(s)));
    json_object_set_new(json, "checksum", json_string(rdb_checksum_name(checksum)));
    if (s->sha256[0])
        json_object_set_new(json, "sha256", json_string(s->sha256));
    json_object_set_new(json, "keys", count_json(s->keys));
    json_object_set_new(json, "empty", count_json(s->empty));
    json_object_set_new(json, "expires", count_json(s->expires));
    json_object_set_new(json, "expired", count_json(s->expired));
    json_object_set_new(json, "field_expires", count_json(s->field_expires));
    json_object_set_new(json, "keys_by_db", databases_json(s));
    scan_types_json(&s->types, &s->header, s->expires, json);
    json_object_set_new(json, "slots",
        json_pack("{s:i, s:o}", "covered", (int)slots_count(&s->slots), "ranges",
            slots_to_json(&s->slots)));
    json_object_set_new(json, "foreign", foreign_json(s));
    json_object_set_new(json, "module_values", module_values_json(s));
    json_object_set_new(json, "functions", count_json(s->functions));
    json_object_set_new(json, "samples", samples_json(s));
    add_notes(s, json);
    return json;
}

/* Known only at the end of the file. */
static void add_all(const struct rdb_scan *s, json_t *json)
{
    json_object_set_new(json, "keys", count_json(s->keys));
    json_object_set_new(json, "module_values", module_values_json(s));
}

int rdb_scan_head(const void *data, size_t len, json_t **ret_facts, struct err *err)
{
    const struct rdb_scan_options options = {.ignore_repeated = true};
    struct rdb_scan *s = rdb_scan_new(&options);
    struct err failure = ERR_INIT;
    int rc = rdb_scan_feed(s, data, len, &failure);

    /* A failure after the header is for the full scan to report. */
    if (s->header.version) {
        rc = 0;
        *ret_facts = json_object();
        add_head(s, *ret_facts);
        if (!failure.code && rdb_scan_end(s, &failure) == 0) /* that was the whole file */
            add_all(s, *ret_facts);
    } else if (rc < 0) {
        *err = failure;
    } else {
        rc = err_set(err, ERR_CORRUPT, "not an RDB file: it has only %zu bytes", len);
    }
    rdb_scan_free(s);
    return rc;
}
