#include "manifest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recluster/backup_name.h"
#include "recluster/buf.h"
#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/sealed.h"

enum { FORMAT = 1, STAMP_MAX = 16 };

static const struct {
    const char *name, *kind, *suffix;
} forms[] = {
    [BACKUP_FORM_STREAM] = {"rdb+stream", "aof", ".aof"},
    [BACKUP_FORM_RDB] = {"rdb", "rdb", ".rdb"},
};

const char *backup_form_name(enum backup_form form)
{
    return forms[form].name;
}

bool backup_form_of(const char *name, enum backup_form *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (strcmp(forms[i].name, name) == 0) {
            *ret = (enum backup_form)i;
            return true;
        }
    return false;
}

/* "20260131-130509" */
static void write_stamp(int64_t time_ms, char ret[STAMP_MAX])
{
    time_t t = (time_t)(time_ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(ret, STAMP_MAX, "%Y%m%d-%H%M%S", &tm);
}

void manifest_word(const char *text, char ret[MANIFEST_WORD_MAX])
{
    size_t len = 0;

    for (; *text && len + 1 < MANIFEST_WORD_MAX; text++) {
        bool plain = isalnum((unsigned char)*text) || (*text == '.' && len);
        ret[len++] = plain ? *text : '_';
    }
    ret[len] = '\0';
}

static void slot_bounds(const struct slots *slots, unsigned *ret_first, unsigned *ret_last)
{
    unsigned at = 0, first, last;

    *ret_first = *ret_last = 0;
    for (bool any = false; slots_next_range(slots, &at, &first, &last); any = true) {
        *ret_first = any ? *ret_first : first;
        *ret_last = last;
    }
}

char *manifest_file_name(
    const struct backup_params *params, const struct backup_shards *shards, size_t i)
{
    struct backup_name name = {
        .time_ms = params->time_ms,
        .index = (unsigned)i + 1,
        .total = (unsigned)shards->count,
    };
    AUTO_FREE char *suffix =
        xasprintf("%s%s", forms[params->form].suffix, pack_suffix(params->pack));

    slot_bounds(shards->shards[i].slots, &name.first_slot, &name.last_slot);
    manifest_word(shards->db->uid, name.database_uid);
    manifest_word(shards->db->name, name.database_name);
    manifest_word(shards->shards[i].uid, name.shard_uid);
    return backup_name_format(&name, suffix);
}

char *backup_ccs_name(const struct backup_params *params)
{
    char stamp[STAMP_MAX];

    write_stamp(params->time_ms, stamp);
    return xasprintf("bk%s-%s", stamp, CAPTURE_FILE_NAME);
}

char *manifest_name(const struct backup_params *params, const struct ccs_database *db)
{
    char stamp[STAMP_MAX], uid[MANIFEST_WORD_MAX];

    write_stamp(params->time_ms, stamp);
    manifest_word(db->uid, uid);
    return xasprintf("bk%s-%s-recluster-manifest.json", stamp, uid);
}

/* Of a plain RDB file; those of an append-only file are known when it has been loaded. */
static const json_t *keys_of(const struct manifest_file *file)
{
    const json_t *made = json_object_get(file->written, "keys");

    return made ? made : json_object_get(json_object_get(file->based, "facts"), "keys");
}

static json_t *file_entry(const struct backup_params *params, const struct manifest_file *file)
{
    const json_t *facts = json_object_get(file->based, "facts");
    json_t *entry = json_pack("{s:s, s:s, s:s, s:O, s:O, s:o}", "name", file->name, "kind",
        forms[params->form].kind, "shard", file->shard->uid, "bytes",
        json_object_get(file->written, "bytes"), "sha256", json_object_get(file->written, "sha256"),
        "slots", slots_to_json(&file->cut->slots));
    json_t *base = json_pack("{s:O*, s:O*, s:O, s:O}", "repl_id",
        json_object_get(file->based, "repl_id"), "offset", json_object_get(file->based, "offset"),
        "bytes", json_object_get(file->based, "bytes"), "keys", json_object_get(facts, "keys"));

    json_object_set_new(entry, "base", base);
    if (params->form == BACKUP_FORM_RDB)
        json_object_set_new(entry, "keys", json_deep_copy(keys_of(file)));
    json_object_set_new(entry, "cut",
        json_pack("{s:s, s:I}", "repl_id", file->cut->place.id, "offset",
            (json_int_t)file->cut->place.offset));
    json_object_set(entry, "plain_bytes", json_object_get(file->written, "plain_bytes"));
    json_object_set(entry, "stream_bytes", json_object_get(file->written, "stream_bytes"));
    json_object_set(entry, "commands", json_object_get(file->written, "commands"));
    return entry;
}

json_t *manifest_make(const struct backup_params *params, const struct backup_shards *shards,
    const struct cut *cut, const struct manifest_file *files)
{
    char time[CLOCK_TEXT_MAX], stamp[STAMP_MAX];
    json_t *list = json_array();

    write_stamp(params->time_ms, stamp);
    for (size_t i = 0; i < shards->count; i++)
        json_array_append_new(list, file_entry(params, &files[i]));
    json_t *manifest = json_pack("{s:i, s:s, s:s, s:s, s:{s:s, s:s, s:b}, s:o}",
        "recluster_manifest", FORMAT, "set", stamp, "time", clock_format(cut->time_ms, time),
        "form", backup_form_name(params->form), "database", "uid", shards->db->uid, "name",
        shards->db->name, "sharded", shards->db->sharded, "files", list);
    json_object_set_new(manifest, "cut",
        json_pack("{s:s, s:i, s:I}", "time", time, "tries", cut->tries, "paused_ms",
            (json_int_t)cut->paused_ms));
    json_object_set_new(manifest, "made_by", json_string("recluster " RECLUSTER_VERSION));
    if (params->recipients)
        json_object_set_new(manifest, "encrypted",
            json_string(sealed_kind(json_string_value(json_array_get(params->recipients, 0)))));
    if (params->ccs)
        json_object_set_new(manifest, "ccs", json_deep_copy(params->ccs));
    return manifest;
}

int manifest_put(const struct backup_params *params, const struct ccs_database *db,
    const json_t *manifest, struct err *err)
{
    AUTO_FREE char *name = manifest_name(params, db);
    AUTO_FREE char *text = json_dumps(manifest, JSON_INDENT(2));
    CLEANUP(buf_release) struct buf file = BUF_INIT;

    buf_addf(&file, "%s\n", text);
    return capture_put(params->store, name, &file, err);
}
