#include "rdb_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/key_text.h"
#include "recluster/rdb_scan.h"

enum { COLUMN = 12 };

static void line(struct buf *out, const char *label)
{
    buf_addf(out, "  %-*s", COLUMN, label);
}

static void add_count(struct buf *out, uint64_t n)
{
    char text[HUMAN_TEXT_MAX];
    buf_adds(out, human_count(n, text));
}

static void add_bytes(struct buf *out, uint64_t n)
{
    char text[HUMAN_TEXT_MAX];
    buf_adds(out, human_bytes(n, text));
}

static void add_key(struct buf *out, const char *hex)
{
    AUTO_FREE char *text = key_text_of_hex(hex);
    buf_adds(out, text);
}

/* Text of an untrusted file: characters that a terminal would act on are shown as \xHH. */
static void add_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        /* U+0080 to U+009F are control characters too. */
        bool c1 = c == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0;
        if (c < ' ' || c == 0x7f)
            buf_addf(out, "\\x%02x", c);
        else if (c1)
            buf_addf(out, "\\x%02x\\x%02x", c, (unsigned char)*++text);
        else
            buf_addc(out, (char)c);
    }
}

static void add_kinds(struct buf *out, const json_t *kinds)
{
    const char *separator = "";

    for (void *i = json_object_iter((json_t *)(uintptr_t)kinds); i;
         i = json_object_iter_next((json_t *)(uintptr_t)kinds, i)) {
        uint64_t n = (uint64_t)json_integer_value(json_object_iter_value(i));
        if (!n)
            continue;
        buf_addf(out, "%s%s ", separator, json_object_iter_key(i));
        add_count(out, n);
        separator = ", ";
    }
    buf_addc(out, '\n');
}

static void add_oldest(struct buf *out, const json_t *oldest)
{
    const char *redis = json_text(oldest, "redis", NULL),
               *valkey = json_text(oldest, "valkey", NULL);

    line(out, "loads on");
    if (redis)
        buf_addf(out, "Redis %s or newer%s", redis, valkey ? ", " : "");
    if (valkey)
        buf_addf(out, "Valkey %s or newer", valkey);
    if (!redis && !valkey)
        buf_adds(out, "no server of Redis or Valkey");
    buf_addc(out, '\n');
}

/* Why an older server version cannot load the file: the types and opcodes as new as the newest. */
static void add_needs(struct buf *out, const json_t *list, const char *unit, const char *redis)
{
    size_t i;
    json_t *need;

    json_array_foreach (list, i, need) {
        const char *since = json_text(need, "redis", NULL);
        const char *first = json_text(json_object_get(need, "first"), "key", NULL);
        if (redis ? !since || strcmp(since, redis) != 0 : since != NULL)
            continue;
        line(out, "");
        buf_addf(out, "needed for %s: ", json_text(need, "name", NULL));
        add_count(out, (uint64_t)json_int(need, unit, 0));
        if (first) {
            buf_adds(out, ", first ");
            add_key(out, first);
        }
        buf_addc(out, '\n');
    }
}

static void add_largest(struct buf *out, const json_t *largest)
{
    size_t i;
    json_t *key;

    json_array_foreach (largest, i, key) {
        line(out, i ? "" : "largest");
        add_key(out, json_text(key, "key", NULL));
        buf_addf(out, " %s, ", json_text(key, "kind", NULL));
        add_bytes(out, (uint64_t)json_int(key, "bytes", 0));
        if ((uint64_t)json_int(key, "db", 0))
            buf_addf(out, ", database %" PRIu64, (uint64_t)json_int(key, "db", 0));
        buf_addc(out, '\n');
    }
}

static void add_aux(struct buf *out, const json_t *aux)
{
    const char *label = "fields";

    for (void *i = json_object_iter((json_t *)(uintptr_t)aux); i;
         i = json_object_iter_next((json_t *)(uintptr_t)aux, i)) {
        line(out, label);
        add_text(out, json_object_iter_key(i));
        buf_adds(out, " = ");
        add_text(out, json_string_value(json_object_iter_value(i)));
        buf_addc(out, '\n');
        label = "";
    }
}

static void add_scan(struct buf *out, const json_t *facts)
{
    const json_t *slots = json_object_get(facts, "slots"), *modules;
    const json_t *oldest = json_object_get(facts, "oldest");

    line(out, "keys");
    add_count(out, (uint64_t)json_int(facts, "keys", 0));
    buf_adds(out, ", of which expire ");
    add_count(out, (uint64_t)json_int(facts, "expires", 0));
    buf_adds(out, "; already expired ");
    add_count(out, (uint64_t)json_int(facts, "expired", 0));
    buf_addc(out, '\n');
    line(out, "types");
    add_kinds(out, json_object_get(facts, "kinds"));
    line(out, "databases");
    add_kinds(out, json_object_get(facts, "keys_by_db"));
    line(out, "slots");
    buf_addf(out, "%" PRIu64 " have keys\n", (uint64_t)json_int(slots, "covered", 0));
    line(out, "memory");
    buf_adds(out, "about ");
    add_bytes(out, (uint64_t)json_int(facts, "memory", 0));
    buf_adds(out, " when loaded\n");
    add_oldest(out, oldest);
    add_needs(out, json_object_get(facts, "types"), "keys", json_text(oldest, "redis", NULL));
    add_needs(out, json_object_get(facts, "opcodes"), "count", json_text(oldest, "redis", NULL));
    modules = json_object_get(facts, "modules");
    for (size_t i = 0; i < json_array_size(modules); i++) {
        line(out, i ? "" : "modules");
        buf_addf(out, "%s\n", json_string_value(json_array_get(modules, i)));
    }
    add_largest(out, json_object_get(facts, "largest"));
}

static void add_file(struct buf *out, const json_t *facts)
{
    const char *error = json_text(facts, "error", NULL), *hint = json_text(facts, "hint", NULL);
    const json_t *version = json_object_get(facts, "rdb_version");

    buf_addf(out, "%s: %s\n", json_text(facts, "path", NULL), error ? error : "good");
    if (hint)
        buf_addf(out, "  %s\n", hint);
    if (!version)
        return;
    line(out, "format");
    buf_addf(out, "RDB version %d%s", (int)json_integer_value(version),
        json_flag(facts, "valkey") ? " of Valkey" : "");
    if (json_object_get(facts, "bytes")) {
        buf_adds(out, ", ");
        add_bytes(out, (uint64_t)json_int(facts, "bytes", 0));
        buf_addf(out, ", checksum %s", json_text(facts, "checksum", NULL));
    }
    buf_addc(out, '\n');
    add_aux(out, json_object_get(facts, "aux"));
    if (!error && json_object_get(facts, "keys"))
        add_scan(out, facts);
}

void rdb_files_text(const json_t *document, bool colour, struct buf *out)
{
    const json_t *files = json_object_get(document, "files");

    (void)colour;
    for (size_t i = 0; i < json_array_size(files); i++)
        add_file(out, json_array_get(files, i));
}
