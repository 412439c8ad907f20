#include "recluster/rdb_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/digest.h"
#include "recluster/mem.h"
#include "scan_impl.h"
#include "scan_types.h"

/* What a hostile file may make the scan remember. */
enum {
    DATABASES_MAX = 16384,
    MODULES_MAX = 1024,
    AUX_MAX = 256,
    AUX_KEY_MAX = 128,
    AUX_VALUE_MAX = 4096,
};

struct database {
    uint64_t number, keys;
};

struct rdb_scan {
    struct rdb_reader *reader;
    uint64_t bytes; /* without being fed: of the file that was written */
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
    char (*modules)[10];
    size_t module_count, module_alloc;
    struct seen_key *samples;
    size_t sample_count;
    uint64_t candidates; /* keys that could have become samples */
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
        value.len > AUX_VALUE_MAX || memchr(key.data, '\0', key.len))
        return 0;
    /* Both fail on what is not UTF-8. */
    json_object_setn_new(s->aux, key.data, key.len, json_stringn(value.data, value.len));
    return 0;
}

static int add_module(struct rdb_scan *s, const char *name, struct err *err)
{
    for (size_t i = 0; i < s->module_count; i++)
        if (strcmp(s->modules[i], name) == 0)
            return 0;
    if (s->module_count == MODULES_MAX)
        return err_set(err, ERR_LIMIT, "RDB file has data of more than %d modules", MODULES_MAX);
    GROW(s->modules, s->module_count, s->module_alloc);
    snprintf(s->modules[s->module_count++], sizeof(*s->modules), "%s", name);
    return 0;
}

static int on_module_aux(void *arg, const char *module, struct err *err)
{
    return add_module(arg, module, err);
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

/* The n-th candidate replaces one of the samples with the probability samples / n. */
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

/* It has fields that expire: once all have, it is gone too. */
static bool may_fade(const struct rdb_record *record)
{
    return record->kind == RDB_KIND_HASH && record->type >= RDB_HASH_METADATA_PRE_GA;
}

static inline int count_record(
    struct rdb_scan *s, const struct rdb_record *record, unsigned slot, struct err *err)
{
    if (s->database >= s->database_count || s->databases[s->database].number != record->db)
        if (find_database(s, record->db, err) < 0)
            return -1;
    if (record->kind == RDB_KIND_MODULE && add_module(s, record->module, err) < 0)
        return -1;
    s->databases[s->database].keys++;
    s->keys++;
    scan_types_record(&s->types, record);
    bool fades = may_fade(record);
    s->field_expires += fades;
    if (record->expires_ms != -1) {
        s->expires++;
        if (s->options.now_ms && record->expires_ms < s->options.now_ms)
            s->expired++;
    } else if (s->options.samples && !fades) {
        maybe_sample(s, record);
    }
    if (record->db == 0)
        slots_add(&s->slots, slot);
    if (s->options.allowed && !slots_has(&s->allowed, slot) && !s->foreign++) {
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
    scan_types_record_end(&s->types, s->header.valkey, record, end_offset - record->offset);
    return 0;
}

static int on_unit(void *arg, const struct rdb_unit *unit, struct err *err)
{
    struct rdb_scan *s = arg;
    (void)err;
    scan_types_unit(&s->types, unit);
    return 0;
}

const struct rdb_events rdb_scan_events = {
    .header = on_header,
    .aux = on_aux,
    .module_aux = on_module_aux,
    .function = on_function,
    .unit = on_unit,
    .record = on_record,
    .record_end = on_record_end,
};

void rdb_scan_written(struct rdb_scan *s, uint64_t bytes, enum rdb_checksum checksum)
{
    s->bytes = bytes;
    s->checksum = checksum;
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
    if (rdb_reader_end(s->reader, err) < 0)
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

static json_t *modules_json(const struct rdb_scan *s)
{
    json_t *json = json_array();

    for (size_t i = 0; i < s->module_count; i++)
        json_array_append_new(json, json_string(s->modules[i]));
    return json;
}

static json_t *samples_json(const struct rdb_scan *s)
{
    json_t *json = json_array();

    for (size_t i = 0; i < s->sample_count; i++)
        json_array_append_new(json, seen_key_json(&s->samples[i]));
    return json;
}

static void add_head(const struct rdb_scan *s, json_t *json)
{
    if (s->header.version) {
        json_object_set_new(json, "rdb_version", json_integer(s->header.version));
        json_object_set_new(json, "valkey", json_boolean(s->header.valkey));
    }
    json_object_set(json, "aux", s->aux);
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
    json_object_set_new(json, "expires", count_json(s->expires));
    json_object_set_new(json, "expired", count_json(s->expired));
    json_object_set_new(json, "field_expires", count_json(s->field_expires));
    json_object_set_new(json, "keys_by_db", databases_json(s));
    scan_types_json(&s->types, &s->header, s->expires, json);
    json_object_set_new(json, "slots",
        json_pack("{s:i, s:o}", "covered", (int)slots_count(&s->slots), "ranges",
            slots_to_json(&s->slots)));
    json_object_set_new(json, "foreign", foreign_json(s));
    json_object_set_new(json, "modules", modules_json(s));
    json_object_set_new(json, "functions", count_json(s->functions));
    json_object_set_new(json, "samples", samples_json(s));
    return json;
}

int rdb_scan_head(const void *data, size_t len, json_t **ret_facts, struct err *err)
{
    struct rdb_scan *s = rdb_scan_new(NULL);
    struct err failure = ERR_INIT;
    int rc = rdb_scan_feed(s, data, len, &failure);

    /* A failure behind the header is for the scan of the whole file to report. */
    if (s->header.version) {
        rc = 0;
        *ret_facts = json_object();
        add_head(s, *ret_facts);
    } else if (rc < 0) {
        *err = failure;
    } else {
        rc = err_set(err, ERR_CORRUPT, "not an RDB file: it has only %zu bytes", len);
    }
    rdb_scan_free(s);
    return rc;
}
