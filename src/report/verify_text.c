#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "recluster/human.h"
#include "text.h"

static void keys_text(struct text *t, const json_t *file)
{
    char keys[HUMAN_TEXT_MAX], expires[HUMAN_TEXT_MAX], count[HUMAN_TEXT_MAX];
    int64_t expired = json_int(file, "expired", 0);
    json_t *by_db = json_object_get(file, "keys_by_db");
    struct buf line = BUF_INIT;
    const char *db;
    json_t *value;

    if (!json_has(file, "keys"))
        return;
    buf_addf(&line, "%s, %s of them with an expiry",
        human_count((uint64_t)json_int(file, "keys", 0), keys),
        human_count((uint64_t)json_int(file, "expires", 0), expires));
    if (json_object_size(by_db) > 1 ||
        (json_object_size(by_db) == 1 && !json_object_get(by_db, "0")))
        json_object_foreach (by_db, db, value) {
            buf_addf(&line, "; database %s: %s", db,
                human_count((uint64_t)json_integer_value(value), count));
        }
    text_field(t, "keys", "%s", line.data);
    buf_release(&line);
    if (expired > 0)
        text_field(t, "", "expired by now: %s; recover --shift-ttl restores them too",
            human_count((uint64_t)expired, count));
}

static void notes_text(struct text *t, const json_t *file)
{
    const json_t *note;
    size_t i;

    json_array_foreach (json_object_get(file, "notes"), i, note) {
        text_field(t, i ? "" : "note", "%s", json_string_value(note));
    }
}

static void file_text(struct text *t, const json_t *file)
{
    const json_t *error = json_object_get(file, "error");
    const json_t *slots = json_object_get(file, "slots");
    const char *checksum = json_text(file, "checksum", "not reached");
    const json_t *aux = json_object_get(file, "aux");
    const char *server = json_text(aux, "valkey-ver", json_text(aux, "redis-ver", NULL));
    bool ok = json_flag(file, "ok");
    struct buf ranges = BUF_INIT;
    char text[HUMAN_TEXT_MAX];

    bool not_checked = json_is_false(json_object_get(file, "checked"));
    text_wrap(t,
        ok            ? TEXT_GREEN
        : not_checked ? TEXT_YELLOW
                      : TEXT_RED,
        ok            ? "ok   "
        : not_checked ? "?    "
                      : "BAD  ",
        "%s", json_text(file, "path", "?"));
    if (error && !json_is_null(error)) {
        text_field(t, "error", "%s", doc_message(error));
        if (json_has(file, "hint"))
            text_field(t, "", "%s", json_text(file, "hint", ""));
    }
    if (json_has(file, "rdb_version"))
        text_field(t, "format", "RDB version %" PRId64 "%s%s",
            (int64_t)json_int(file, "rdb_version", 0), server ? ", written by " : "",
            server ? server : "");
    if (json_has(file, "read_bytes"))
        text_field(t, "read", "%s of it, unpacked",
            human_bytes((uint64_t)json_int(file, "read_bytes", 0), text));
    if (json_has(file, "bytes"))
        text_field(t, "size", "%s", human_bytes((uint64_t)json_int(file, "bytes", 0), text));
    if (!not_checked)
        text_field(t, "checksum", "%s",
            strcmp(checksum, "absent") == 0 ? "absent (not an error)" : checksum);
    if (json_has(file, "sha256"))
        text_field(t, "SHA-256", "%s", json_text(file, "sha256", ""));
    keys_text(t, file);
    notes_text(t, file);
    if (json_int(slots, "covered", 0) > 0) {
        doc_ranges(json_object_get(slots, "ranges"), 6, &ranges);
        text_field(t, "slots", "%" PRId64 " hold keys: %s", (int64_t)json_int(slots, "covered", 0),
            ranges.data);
    }
    buf_release(&ranges);
}

static void set_text(struct text *t, const json_t *set)
{
    const json_t *older = json_object_get(set, "older");
    bool complete = json_flag(set, "complete");
    const char *name = json_text(set, "database_name", NULL);
    size_t files = json_array_size(json_object_get(set, "files"));
    AUTO_FREE char *of = name ? xasprintf(" of '%s'", name) : xstrdup("");
    char bytes[HUMAN_TEXT_MAX], age[HUMAN_TEXT_MAX];
    bool sized = json_has(set, "bytes"), dated = json_has(set, "age_s");

    human_bytes((uint64_t)json_int(set, "bytes", 0), bytes);
    human_duration(json_int(set, "age_s", 0) * 1000, age);
    text_wrap(t, complete ? TEXT_GREEN : TEXT_RED, complete ? "ok   " : "BAD  ",
        "set %s%s: %zu file%s%s%s in %s%s%s", json_text(set, "id", "?"), of, files,
        files == 1 ? "" : "s", sized ? ", " : "", sized ? bytes : "",
        json_text(set, "location", "?"), dated ? ", old: " : "", dated ? age : "");
    if (!complete)
        text_field(t, "incomplete", "%s", json_text(set, "reason", "?"));
    if (json_has(set, "older"))
        text_field(t, "instead", "the next older complete set is %s: recluster recover … --at %s",
            json_text(older, "id", "?"), json_text(older, "time", "?"));
}

/* The sets and the notes. Returns how many sets are incomplete. */
static size_t sets_text(struct text *t, const json_t *verify)
{
    const json_t *sets = json_object_get(verify, "sets");
    const json_t *notes = json_object_get(verify, "notes");
    size_t bad = 0, i;
    json_t *item;

    json_array_foreach (sets, i, item) {
        set_text(t, item);
        bad += !json_flag(item, "complete");
    }
    json_array_foreach (notes, i, item) {
        text_wrap(t, TEXT_PLAIN, "", "%s", json_string_value(item));
    }
    return bad;
}

void report_verify_text(const json_t *verify, bool colour, struct buf *out)
{
    struct text t = {.out = out, .colour = colour};
    const json_t *files = json_object_get(verify, "files");
    size_t good = 0, not_checked = 0, i;
    json_t *file;

    json_array_foreach (files, i, file) {
        file_text(&t, file);
        good += json_flag(file, "ok");
        not_checked += json_is_false(json_object_get(file, "checked"));
    }
    size_t checked = json_array_size(files) - not_checked;
    size_t bad_sets = sets_text(&t, verify);
    if (bad_sets)
        text_wrap(&t, TEXT_RED, "", "%zu of %zu backup sets are not complete.", bad_sets,
            json_array_size(json_object_get(verify, "sets")));
    if (not_checked)
        text_wrap(&t, TEXT_YELLOW, "", "%zu could not be checked.", not_checked);
    if (good == checked)
        text_wrap(
            &t, good ? TEXT_GREEN : TEXT_PLAIN, "", "%zu of %zu files are whole.", good, checked);
    else
        text_wrap(&t, TEXT_RED, "", "%zu of %zu files are bad.", checked - good, checked);
}
