#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "recluster/backup_name.h"
#include "recluster/catalogue.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/report.h"
#include "recluster/sealed.h"
#include "recluster/secret.h"
#include "recluster/store.h"
#include "verify_files.h"

enum { LOCATION_FILE_BYTES_MAX = 1 << 20, HEAD_BYTES = 256 };

/* All arguments: the files to read, and what the sets tell about them. */
struct verify {
    const struct arguments *args;
    struct arena arena;
    struct verify_file *files;
    size_t count, alloc;
    json_t *locations; /* array; owns the locations of files */
    json_t *failed;    /* entries of locations that could not be listed */
    json_t *sets, *notes;
    bool bad, not_asked; /* of the locations that could not be listed */
};

static void fail(struct verify *v, const char *word, const struct err *err)
{
    bool not_asked = verify_was_not_asked(err->code);

    *(not_asked ? &v->not_asked : &v->bad) = true;
    json_array_append_new(
        v->failed, json_pack("{s:s, s:b, s:b, s:s, s:s}", "path", word, "ok", false, "checked",
                       false, "error", err->message, "hint", err->hint));
}

static struct verify_file *add_file(
    struct verify *v, const json_t *location, const char *name, const char *path)
{
    GROW(v->files, v->count, v->alloc);
    struct verify_file *file = &v->files[v->count++];

    *file = (struct verify_file){.location = location,
        .name = arena_strdup(&v->arena, name),
        .path = arena_strdup(&v->arena, path),
        .bytes = -1,
        .expected_bytes = -1,
        .keys = -1};
    return file;
}

static int by_name(const void *name, const void *file)
{
    return strcmp(name, ((const struct verify_file *)file)->name);
}

/* Adds what the sets tell about the files from `first` on, by name. */
static void take_sets(struct verify *v, size_t first, const struct catalogue *c)
{
    for (size_t s = 0; s < c->set_count; s++)
        for (size_t f = 0; f < c->sets[s].file_count; f++) {
            const struct backup_file *file = &c->sets[s].files[f];
            struct verify_file *found = v->count > first
                                            ? bsearch(file->name, v->files + first,
                                                  v->count - first, sizeof(*v->files), by_name)
                                            : NULL;
            if (!found)
                continue;
            found->sha256 = arena_strdup(&v->arena, file->sha256);
            found->expected_bytes = file->bytes;
            found->keys = file->keys;
            if (!found->slots)
                found->slots = arena_alloc(&v->arena, sizeof(*found->slots));
            *found->slots = file->slots;
        }
}

static json_t *set_json(const struct backup_set *set, const char *label)
{
    char time[CLOCK_TEXT_MAX];
    json_t *files = json_array();
    struct slots slots = {0};
    int64_t bytes = 0;

    for (size_t i = 0; i < set->file_count; i++) {
        const struct backup_file *file = &set->files[i];
        AUTO_FREE char *path = path_join(label, file->name);
        json_array_append_new(files, json_string(path));
        slots_union(&slots, &file->slots);
        bytes = bytes < 0 || file->bytes < 0 ? -1 : bytes + file->bytes;
    }
    json_t *o = json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:b, s:s*, s:o, s:o, s:o}", "location",
        label, "id", set->id, "time", set->time_ms < 0 ? NULL : clock_format(set->time_ms, time),
        "database_uid", set->database_uid, "database_name", set->database_name, "complete",
        set->complete, "reason", set->reason, "slots", slots_to_json(&slots), "slots_missing",
        slots_to_json(&set->missing), "files", files);
    if (set->time_ms >= 0)
        json_object_set_new(o, "age_s", json_integer((clock_wall_ms() - set->time_ms) / 1000));
    if (bytes >= 0)
        json_object_set_new(o, "bytes", json_integer(bytes));
    return o;
}

static int take_head(void *arg, const void *data, size_t len, struct err *err)
{
    struct buf *head = arg;

    buf_add(head, data, len);
    return head->len < HEAD_BYTES ? 0 : err_set(err, ERR_CANCELLED, "that is enough");
}

/* Whether it is a CCS file beside the backups, which only the owner of a key can read. */
static bool is_encrypted(struct store *store, const char *name)
{
    static const char ending[] = "ccs-redis.rdb";
    CLEANUP(buf_release) struct buf head = BUF_INIT;
    struct err ignored = ERR_INIT;
    size_t len = strlen(name), end = sizeof(ending) - 1;

    return len >= end && strcmp(name + len - end, ending) == 0 &&
           store_read(store, &(struct store_range){name, 0, HEAD_BYTES}, take_head, &head, NULL,
               &ignored) == 0 &&
           sealed_is(head.data, head.len);
}

/* Adds all backup files of a location, and its sets. */
static int add_location(struct verify *v, const json_t *location, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;
    struct catalogue catalogue;
    size_t first = v->count;
    json_t *resolved = store_resolve_location(location, err);
    struct store *store = resolved ? store_open(resolved, err) : NULL;

    json_array_append_new(v->locations, resolved);
    if (!store || store_list(store, &list, err) < 0) {
        store_close(store);
        return -1;
    }
    const char *label = store_label(store);
    for (size_t i = 0; i < list.count; i++) {
        const struct store_entry *e = &list.entries[i];
        AUTO_FREE char *path = path_join(label, e->name);
        if (backup_name_is_unfinished(e->name))
            json_array_append_new(v->notes,
                json_sprintf(
                    "'%s' is left out: a server leaves such a file when a save is killed", path));
        else if (is_encrypted(store, e->name))
            json_array_append_new(v->notes,
                json_sprintf(
                    "'%s' is left out: it is encrypted, recluster inspect --key reads it", path));
        else if (backup_name_is_rdb(e->name) || backup_name_is_aof(e->name) ||
                 catalogue_segment_bytes(e->name) >= 0)
            add_file(v, resolved, e->name, path)->bytes = e->bytes;
    }
    int rc = catalogue_read_all(store, &list, &catalogue, err);
    if (rc == 0) {
        take_sets(v, first, &catalogue);
        for (size_t i = 0; i < catalogue.set_count; i++)
            json_array_append_new(v->sets, set_json(&catalogue.sets[i], label));
        catalogue_release(&catalogue);
    }
    if (list.not_utf8)
        json_array_append_new(v->notes,
            json_sprintf("'%s' has %zu names that are not UTF-8: left out", label, list.not_utf8));
    if (rc == 0 && v->count == first)
        rc = err_set(
            err, ERR_NOT_FOUND, "there is no .rdb, .rdb.gz, .rdb.zst or .aof file in '%s'", label);
    store_list_release(&list);
    store_close(store);
    return rc;
}

/* Adds a file by its path or URL: its folder is the location. */
static int add_one(struct verify *v, const char *word, struct err *err)
{
    AUTO_FREE char *dir = path_dir(word);
    AUTO_FREE char *absolute = strstr(dir, "://") ? xstrdup(dir) : realpath(dir, NULL);

    if (!absolute)
        return err_sys(err, ERR_NOT_FOUND, "cannot open '%s'", word);
    json_t *location = location_of_word(v->args, absolute);
    json_t *resolved = store_resolve_location(location, err);
    json_decref(location);
    if (!resolved)
        return -1;
    json_array_append_new(v->locations, resolved);
    add_file(v, resolved, path_base(word), word);
    return 0;
}

static int add_word(struct verify *v, const char *word, struct err *err)
{
    struct stat st;
    size_t len = strlen(word);
    bool url = strstr(word, "://") != NULL;
    bool file = backup_name_is_rdb(word) || backup_name_is_aof(word);
    bool folder = url ? word[len - 1] == '/' || !file : stat(word, &st) == 0 && S_ISDIR(st.st_mode);

    if (!folder)
        return add_one(v, word, err);
    AUTO_FREE char *absolute = url ? NULL : realpath(word, NULL);
    json_t *location = location_of_word(v->args, absolute ? absolute : word);
    int rc = add_location(v, location, err);
    json_decref(location);
    return rc;
}

static int add_location_file(struct verify *v, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    json_error_t where;

    if (file_read(path, LOCATION_FILE_BYTES_MAX, &text, err) < 0)
        return -1;
    json_t *location = json_loadb(text.data, text.len, JSON_DECODE_ANY, &where);
    if (!location)
        return err_set(
            err, ERR_USAGE, "'%s' line %d is not JSON: %s", path, where.line, where.text);
    int rc = add_location(v, location, err);
    json_decref(location);
    return rc;
}

static void add_all(struct verify *v, const struct arguments *args)
{
    for (size_t i = 0; i < args->word_count; i++) {
        struct err err = ERR_INIT;
        AUTO_FREE char *shown = secret_mask_url(args->words[i]);
        if (add_word(v, args->words[i], &err) < 0)
            fail(v, shown, &err);
    }
    for (const char **path = args->values[OPT_LOCATION]; path && *path; path++) {
        struct err err = ERR_INIT;
        if (add_location_file(v, *path, &err) < 0)
            fail(v, *path, &err);
    }
}

/* Marks a set with a bad file as incomplete. `bad`: paths, each with whether it could be read. */
static void mark_sets(json_t *sets, const json_t *bad)
{
    size_t i, k;
    json_t *set, *file;

    json_array_foreach (sets, i, set) {
        json_array_foreach (json_object_get(set, "files"), k, file) {
            const char *path = json_string_value(file);
            const json_t *was_read = json_object_get(bad, path);
            if (!was_read || !json_flag(set, "complete"))
                continue;
            json_object_set_new(set, "complete", json_false());
            json_object_set_new(set, "reason",
                json_sprintf(json_is_true(was_read) ? "'%s' is bad" : "'%s' could not be read",
                    path_base(path)));
            if (!json_is_true(was_read))
                json_object_set_new(set, "checked", json_false());
        }
    }
}

static bool is_same_text(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    return x ? y && json_equal(x, y) : !y;
}

/* For each incomplete set, names the newest older complete one of its database. */
static void name_older_sets(json_t *sets)
{
    json_t *set, *older;
    size_t i, k;

    json_array_foreach (sets, i, set) {
        for (k = i + 1; !json_flag(set, "complete") && (older = json_array_get(sets, k)) != NULL;
             k++) {
            if (!json_flag(older, "complete") || !json_object_get(older, "time") ||
                !is_same_text(set, older, "location") ||
                !is_same_text(set, older, "database_uid") ||
                !is_same_text(set, older, "database_name"))
                continue;
            json_object_set_new(set, "older",
                json_pack("{s:O, s:O}", "id", json_object_get(older, "id"), "time",
                    json_object_get(older, "time")));
            break;
        }
    }
}

/* The result, and the exit status for it. */
static json_t *document_of(struct verify *v, int *ret_status)
{
    json_t *files = json_array(), *bad = json_object(), *set;
    size_t i;

    for (size_t f = 0; f < v->count; f++) {
        json_t *entry = v->files[f].entry;
        bool not_asked = json_is_false(json_object_get(entry, "checked"));
        if (!json_flag(entry, "ok")) {
            *(not_asked ? &v->not_asked : &v->bad) = true;
            json_object_set_new(bad, v->files[f].path, json_boolean(!not_asked));
        }
        json_array_append(files, entry);
    }
    mark_sets(v->sets, bad);
    json_decref(bad);
    json_array_extend(files, v->failed);
    name_older_sets(v->sets);
    json_array_foreach (v->sets, i, set) {
        /* A file that could not be read is not a reason. */
        v->bad |= !json_flag(set, "complete") && !json_is_false(json_object_get(set, "checked"));
    }
    *ret_status = v->bad ? err_code_exit_status(ERR_FAILED) : v->not_asked ? EXIT_NOT_ASKED : 0;
    return json_pack("{s:o, s:O, s:O}", "files", files, "sets", v->sets, "notes", v->notes);
}

static int run(const struct arguments *args, struct err *err)
{
    struct verify v = {.args = args,
        .arena = ARENA_INIT,
        .locations = json_array(),
        .failed = json_array(),
        .sets = json_array(),
        .notes = json_array()};
    struct rate *rate = NULL;
    int64_t limit;
    int status = 0;

    if (!args->word_count && !args->given[OPT_LOCATION])
        return err_set(err, ERR_USAGE, "'verify' needs a FILE, a LOCATION or --location");
    if (argument_rate(args, &limit, err) < 0)
        return -1;
    if (limit)
        rate = rate_new(limit);
    add_all(&v, args);
    int rc = verify_files(v.files, v.count, rate, args->given[OPT_DIGEST], err);
    if (rc == 0) {
        json_t *document = document_of(&v, &status);
        rc = print_result(args, document, report_verify_text, err);
        json_decref(document);
    }
    for (size_t i = 0; i < v.count; i++)
        json_decref(v.files[i].entry);
    free(v.files);
    rate_free(rate);
    json_decref(v.locations);
    json_decref(v.failed);
    json_decref(v.sets);
    json_decref(v.notes);
    arena_release(&v.arena);
    return rc < 0 ? -1 : status;
}

const struct command command_verify = {
    .name = "verify",
    .words = "FILE|LOCATION...",
    .summary = "check backup files without any cluster",
    .help =
        "Reads each file whole: checksum, structure, keys, slots. A folder or a URL that is not a "
        "file means all .rdb, .rdb.gz and .rdb.zst files in it, and the streams of archives; its "
        "backup sets must be complete. Exit status 1 if anything is bad, else 6 if something could not be "
        "read.",
    .min_words = 0,
    .max_words = 10000,
    .options = OPTIONS(
        OPT_LOCATION, OPT_KEY, OPT_DIGEST, OPT_INSECURE, OPT_LIMIT_RATE, OPT_JSON, OPT_HELP),
    .run = run,
};
