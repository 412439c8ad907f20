#include <string.h>
#include <unistd.h>

#include "command.h"
#include "rdb_cut.h"
#include "rdb_text.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/memory_limit.h"
#include "recluster/pull.h"

enum { HEAD_BYTES = 64 * 1024 };

static int scan_file(
    const struct arguments *args, const char *word, json_t **ret_facts, struct err *err)
{
    const char *name;
    struct store *store = open_file_location(args, word, &name, err);

    if (!store)
        return -1;
    const struct pull_params params = {
        .store = store, .name = name, .expected_bytes = -1, .scan = {.now_ms = clock_wall_ms()}};
    int rc = pull(&params, ret_facts, err);
    store_close(store);
    return rc;
}

struct head {
    struct buf bytes;
    bool enough;
};

static int on_head(void *arg, const void *data, size_t len, struct err *err)
{
    struct head *head = arg;
    size_t room = HEAD_BYTES - head->bytes.len;

    buf_add(&head->bytes, data, len < room ? len : room);
    head->enough = len >= room;
    return head->enough ? err_set(err, ERR_CANCELLED, "enough was read") : 0;
}

static int head_of_file(
    const struct arguments *args, const char *word, json_t **ret_facts, struct err *err)
{
    const char *name;
    struct store *store = open_file_location(args, word, &name, err);
    struct head head = {.bytes = BUF_INIT};

    if (!store)
        return -1;
    const struct pull_params params = {.store = store, .name = name, .expected_bytes = -1};
    int rc = pull_plain(&params, on_head, &head, err);
    if (rc == 0 || head.enough)
        rc = rdb_scan_head(head.bytes.data, head.bytes.len, ret_facts, err);
    buf_release(&head.bytes);
    store_close(store);
    return rc;
}

/* One document for all files; a bad file does not hide the others. Exit status 1 if one is bad. */
static int look_at_files(const struct arguments *args,
    int (*look)(
        const struct arguments *args, const char *word, json_t **ret_facts, struct err *err),
    struct err *err)
{
    json_t *files = json_array(), *document = json_pack("{s:o}", "files", files);
    bool ok = true;

    for (size_t i = 1; i < args->word_count; i++) {
        struct err failure = ERR_INIT;
        json_t *facts = NULL;
        bool good = look(args, args->words[i], &facts, &failure) == 0;
        if (!facts)
            facts = json_object();
        json_object_set_new(facts, "path", json_string(args->words[i]));
        json_object_set_new(facts, "ok", json_boolean(good));
        json_object_set_new(facts, "error", good ? json_null() : json_string(failure.message));
        if (!good && *failure.hint)
            json_object_set_new(facts, "hint", json_string(failure.hint));
        json_array_append_new(files, facts);
        ok &= good;
    }
    int rc = print_result(args, document, rdb_files_text, err);
    json_decref(document);
    return rc < 0 ? -1 : ok ? 0 : err_code_exit_status(ERR_FAILED);
}

static int run_scan(const struct arguments *args, struct err *err)
{
    return look_at_files(args, scan_file, err);
}

static int run_head(const struct arguments *args, struct err *err)
{
    return look_at_files(args, head_of_file, err);
}

static int cut(const struct arguments *args, bool join, struct err *err)
{
    json_t *document;

    if (rdb_cut(args, join, &document, err) < 0)
        return -1;
    int rc = print_result(args, document, rdb_cut_text, err);
    json_decref(document);
    return rc;
}

static int run_split(const struct arguments *args, struct err *err)
{
    return cut(args, false, err);
}

static int run_join(const struct arguments *args, struct err *err)
{
    return cut(args, true, err);
}

static const struct {
    const char *name;
    bool cuts; /* takes the options for it */
    int (*run)(const struct arguments *args, struct err *err);
} verbs[] = {
    {"scan", false, run_scan},
    {"head", false, run_head},
    {"split", true, run_split},
    {"join", true, run_join},
};

static int run(const struct arguments *args, struct err *err)
{
    static const struct {
        enum option option;
        const char *name;
    } cutting[] = {{OPT_SLOTS, "slots"}, {OPT_SHARDS, "shards"}, {OPT_OUT, "out"},
        {OPT_TAKE, "take"}, {OPT_STAMP, "stamp"}, {OPT_RDB_SHIFT_TTL, "shift-ttl"}};
    const char *names[ARRAY_SIZE(verbs) + 1] = {NULL};

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        names[i] = verbs[i].name;
        if (strcmp(verbs[i].name, args->words[0]) != 0)
            continue;
        for (size_t k = 0; k < ARRAY_SIZE(cutting) && !verbs[i].cuts; k++)
            if (args->given[cutting[k].option])
                return err_set(err, ERR_USAGE, "'rdb %s' has no option '--%s'", verbs[i].name,
                    cutting[k].name);
        memory_limit_set(memory_limit_of_reader());
        return verbs[i].run(args, err);
    }
    err_set(err, ERR_USAGE, "'rdb' cannot '%s'", args->words[0]);
    const char *nearest = human_nearest(args->words[0], names);
    return nearest ? err_hint(err, "Did you mean '%s'?", nearest)
                   : err_hint(err, "It can scan, head, split and join.");
}

const struct command command_rdb = {
    .name = "rdb",
    .words = "scan|head|split|join FILE...",
    .summary = "look into RDB files, cut them by slots, join them",
    .help =
        "scan reads whole files and prints all facts about them; head reads only their "
        "beginning. split writes the keys of FILE into other files by their slots; join makes "
        "one file of several. Records are copied as they are; functions go into every output. "
        "A file may be compressed or encrypted, or a URL. Outputs must not exist yet, and appear only when "
        "all are complete.",
    .min_words = 2,
    .max_words = 10000,
    .options = OPTIONS(OPT_KEY, OPT_SLOTS, OPT_SHARDS, OPT_OUT, OPT_TAKE, OPT_STAMP,
        OPT_RDB_SHIFT_TTL, OPT_INSECURE, OPT_JSON, OPT_HELP),
    .run = run,
};
