/* Joins several files: which records are equal, and which of them counts. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/key_text.h"
#include "recluster/mem.h"
#include "scan_impl.h"
#include "splitting.h"

/* --- functions --- */

/* "#!lua name=LIBRARY", printable; the caller's. */
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
    while (name + name_len < text + len && name[name_len] > ' ' && name[name_len] < 0x7f)
        name_len++;
    return xstrndup(name, name_len);
}

int split_function(struct rdb_split *s, struct rdb_bytes code, struct err *err)
{
    struct held_library f = {.unit = BUF_INIT};

    digest_of(code.data, code.len, f.digest);
    f.library = library_of(code);
    s->unit_route = EVERYWHERE;
    for (size_t i = 0; !split_is_first(s) && i < s->function_count; i++) {
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

static int by_digest(const void *a, const void *b)
{
    const struct held_library *x = a, *y = b;
    return strcmp(x->digest, y->digest);
}

int split_write_functions(struct rdb_split *s, struct err *err)
{
    size_t written = 0;

    while (written < s->function_count && !s->functions[written].unit.len)
        written++;
    if (written < s->function_count)
        qsort(
            s->functions + written, s->function_count - written, sizeof(*s->functions), by_digest);
    for (size_t f = written; f < s->function_count; f++) {
        struct buf *unit = &s->functions[f].unit;
        for (size_t i = 0; i < s->params.count; i++)
            if (output_data(&s->outputs[i], unit->data, unit->len, err) < 0)
                return -1;
        buf_release(unit);
    }
    return 0;
}

/* --- keys --- */

static const char *name_of(const struct rdb_split *s, const struct split_input *in, char text[32])
{
    if (in->name)
        return in->name;
    snprintf(text, 32, "file %zu", (size_t)(in - s->inputs) + 1);
    return text;
}

/* The earlier input that has the key; NULL: none. Two digests identify a key. */
static const struct split_input *find_earlier(
    const struct rdb_split *s, const uint64_t digest[2], unsigned slot)
{
    for (size_t i = 0; i + 1 < s->input_count; i++) {
        const struct split_input *in = &s->inputs[i];
        if (slots_has(&in->kept, slot) && key_list_has(&in->keys[0], digest[0]) &&
            key_list_has(&in->keys[1], digest[1]))
            return in;
    }
    return NULL;
}

static int fail_double(struct rdb_split *s, const struct split_input *earlier,
    const struct rdb_record *record, unsigned slot, struct err *err)
{
    char key[KEY_TEXT_MAX], a[32], b[32];

    err_set(err, ERR_CHECK,
        "slot %u has keys in more than one of the files: '%s' of database %" PRIu64
        " is in '%s' and in '%s'",
        slot, key_text(record->key, key), record->db, name_of(s, earlier, a),
        name_of(s, split_present(s), b));
    return err_hint(err,
        "Name the slots to take from a file (its other keys are left out): rdb join --take "
        "SLOTS=FILE. 'recover --resort' takes the copy of the shard that owns the slot.");
}

static void note_double(struct rdb_split *s, const struct split_input *earlier,
    const struct rdb_record *record, unsigned slot, unsigned route)
{
    struct rdb_split_facts *facts = &s->outputs[route].facts;
    char text[32];

    if (!facts->doubles++) {
        facts->double_slot = slot;
        key_text(record->key, facts->double_key);
        snprintf(facts->double_kept, sizeof(facts->double_kept), "%s", name_of(s, earlier, text));
        snprintf(facts->double_dropped, sizeof(facts->double_dropped), "%s",
            name_of(s, split_present(s), text));
    }
}

int split_key(struct rdb_split *s, const struct rdb_record *record, unsigned slot, unsigned route,
    enum key_verdict *ret, struct err *err)
{
    struct split_input *in = split_present(s);
    bool preferred = !in->prefer_some || slots_has(&in->prefer, slot);

    if (!s->rest_of && !preferred) {
        in->waiting++;
        *ret = KEY_WAITS;
        return 0;
    }
    *ret = KEY_COUNTS;
    if (s->params.stamp_only || s->params.one_input)
        return 0;
    const uint64_t digest[2] = {key_digest(record, 1), key_digest(record, 2)};
    const struct split_input *earlier = find_earlier(s, digest, slot);
    if (earlier && s->rest_of) {
        note_double(s, earlier, record, slot, route);
        *ret = KEY_IS_DUPLICATE;
        return 0;
    }
    if (earlier)
        return fail_double(s, earlier, record, slot, err);
    slots_add(&in->kept, slot);
    key_set_add(&s->keys[0], digest[0]);
    key_set_add(&s->keys[1], digest[1]);
    return 0;
}

int split_end_keys(struct rdb_split *s, struct err *err)
{
    bool twice = true;

    for (size_t i = 0; twice && i < ARRAY_SIZE(s->keys); i++) {
        struct key_list repeated = {.digests = NULL};
        key_set_repeated(&s->keys[i], &repeated);
        twice = repeated.count > 0;
        key_list_release(&repeated);
    }
    if (!twice)
        return 0;
    err_set(err, ERR_CORRUPT, "it has a key twice");
    return err_hint(err,
        "Servers refuse a file that has a key twice: take another copy of it, or an "
        "older backup. To see which key: recluster rdb scan FILE");
}

void split_keep_keys(struct rdb_split *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->keys); i++)
        key_set_to_list(&s->keys[i], &split_present(s)->keys[i]);
}
