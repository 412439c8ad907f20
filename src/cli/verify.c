#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/pull.h"
#include "recluster/report.h"
#include "recluster/rpc.h"

static bool is_backup_name(const char *name)
{
    size_t len = strlen(name);
    return (len > 4 && strcmp(name + len - 4, ".rdb") == 0) ||
           (len > 7 && strcmp(name + len - 7, ".rdb.gz") == 0);
}

/* One file's entry. True if it is good. */
static bool verify_file(struct store *store, const char *path, const char *name, json_t *files)
{
    struct err err = ERR_INIT;
    json_t *facts = NULL;
    const struct pull_params params = {
        .store = store,
        .name = name,
        .expected_bytes = -1,
        .scan = {.now_ms = clock_wall_ms(), .sha256 = true},
    };
    bool ok = pull(&params, &facts, &err) == 0;
    json_t *entry = facts ? facts : json_object();

    json_object_set_new(entry, "path", json_string(path));
    json_object_set_new(entry, "ok", json_boolean(ok));
    json_object_set_new(entry, "error", ok ? json_null() : json_string(err.message));
    json_array_append_new(files, entry);
    return ok;
}

static bool failed_location(const char *word, const struct err *err, json_t *files)
{
    json_array_append_new(files, json_pack("{s:s, s:b, s:s, s:s}", "path", word, "ok", false,
                                     "error", err->message, "hint", err->hint));
    return false;
}

static bool verify_folder(const char *word, json_t *files)
{
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;
    json_t *location = json_string(word);
    struct store *store = store_open(location, &err);
    bool ok = true;
    size_t count = 0;

    json_decref(location);
    if (!store || store_list(store, &list, &err) < 0) {
        store_close(store);
        return failed_location(word, &err, files);
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.entries[i].name;
        if (!is_backup_name(name))
            continue;
        CLEANUP(free_ptr) char *path = path_join(store_label(store), name);
        ok &= verify_file(store, path, name, files);
        count++;
    }
    store_list_release(&list);
    if (!count) {
        err_set(
            &err, ERR_NOT_FOUND, "there is no .rdb or .rdb.gz file in '%s'", store_label(store));
        ok = failed_location(word, &err, files);
    }
    store_close(store);
    return ok;
}

/* A file by its path or URL: its folder is the location. */
static bool verify_one(const char *word, json_t *files)
{
    struct err err = ERR_INIT;
    CLEANUP(free_ptr) char *dir = path_dir(word);
    CLEANUP(free_ptr) char *absolute = strstr(dir, "://") ? xstrdup(dir) : realpath(dir, NULL);
    const char *name = path_base(word);

    if (!absolute) {
        err_sys(&err, ERR_NOT_FOUND, "cannot open '%s'", word);
        return failed_location(word, &err, files);
    }
    json_t *location = json_string(absolute);
    struct store *store = store_open(location, &err);
    json_decref(location);
    if (!store)
        return failed_location(word, &err, files);
    bool ok = verify_file(store, word, name, files);
    store_close(store);
    return ok;
}

static bool verify_word(const char *word, json_t *files)
{
    struct stat st;
    size_t len = strlen(word);
    bool url = strstr(word, "://") != NULL;

    if (!url && stat(word, &st) == 0 && S_ISDIR(st.st_mode)) {
        CLEANUP(free_ptr) char *absolute = realpath(word, NULL);
        return verify_folder(absolute ? absolute : word, files);
    }
    if (url && (word[len - 1] == '/' || !is_backup_name(word)))
        return verify_folder(word, files);
    return verify_one(word, files);
}

static int run(const struct arguments *args, struct err *err)
{
    json_t *files = json_array();
    json_t *document = json_pack("{s:o}", "files", files);
    bool ok = true;

    for (size_t i = 0; i < args->word_count; i++)
        ok &= verify_word(args->words[i], files);
    int rc = print_result(args, document, report_verify_text, err);
    json_decref(document);
    return rc < 0 ? -1 : ok ? 0 : err_code_exit_status(ERR_FAILED);
}

const struct command command_verify = {
    .name = "verify",
    .words = "FILE|LOCATION...",
    .summary = "check backup files without any cluster",
    .help = "Reads each file whole: checksum, structure, keys, slots. A folder or a URL that is no "
            "file stands for all .rdb and .rdb.gz files in it. Exit status 1 if any is bad.",
    .min_words = 1,
    .max_words = 10000,
    .options = OPTION_BIT(OPT_JSON) | OPTION_BIT(OPT_HELP),
    .run = run,
};
