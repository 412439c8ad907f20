#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capture_follow.h"
#include "command.h"
#include "from_folders.h"
#include "recluster/capture.h"
#include "recluster/human.h"
#include "recluster/memory_limit.h"
#include "recluster/sealed.h"

enum { WAIT_S = 30 };

struct places {
    struct store **stores;
    size_t count;
};

static void places_release(struct places *p)
{
    for (size_t i = 0; i < p->count; i++)
        store_close(p->stores[i]);
    free(p->stores);
}

static int open_places(const struct arguments *args, struct places *ret, struct err *err)
{
    const char *const *word = args->values[OPT_TO];

    if (!word) {
        err_set(err, ERR_USAGE, "'capture' needs a LOCATION to write to");
        return err_hint(err, "Write: --to FOLDER, or --to s3://BUCKET/PREFIX");
    }
    for (; *word; word++) {
        ret->stores = xreallocarray(ret->stores, ret->count + 1, sizeof(struct store *));
        json_t *location = location_of_word(args, *word);
        ret->stores[ret->count] = store_open_resolved(location, err);
        json_decref(location);
        if (!ret->stores[ret->count])
            return -1;
        ret->count++;
    }
    return 0;
}

/* Replaces the file by what is written: it is encrypted if that is wanted. */
static int put_everywhere(
    const struct arguments *args, const struct places *places, struct buf *file, struct err *err)
{
    const char *const *recipients = args->values[OPT_ENCRYPT_TO];
    CLEANUP(buf_release) struct buf sealed = BUF_INIT;

    if (recipients && sealed_seal(recipients, file, &sealed, err) < 0)
        return -1;
    if (recipients) {
        buf_clear(file);
        buf_add(file, sealed.data, sealed.len);
    }
    for (size_t i = 0; i < places->count; i++)
        if (capture_put(places->stores[i], CAPTURE_FILE_NAME, file, err) < 0)
            return -1;
    return 0;
}

static json_t *document_of(
    const struct live *live, const struct places *places, const struct buf *file)
{
    json_t *written = json_array();
    size_t answered = 0;

    for (size_t i = 0; i < live->count; i++)
        answered += live->servers[i]->answered;
    for (size_t i = 0; i < places->count; i++)
        json_array_append_new(
            written, json_pack("{s:s, s:s, s:I}", "location", store_label(places->stores[i]),
                         "name", CAPTURE_FILE_NAME, "bytes", (json_int_t)file->len));
    return json_pack("{s:I, s:I, s:I, s:o}", "databases", (json_int_t)live->database_count,
        "servers", (json_int_t)live->count, "answered", (json_int_t)answered, "written", written);
}

static void text_of(const json_t *document, bool colour, struct buf *out)
{
    json_int_t databases = json_integer_value(json_object_get(document, "databases"));
    json_int_t servers = json_integer_value(json_object_get(document, "servers"));
    json_int_t answered = json_integer_value(json_object_get(document, "answered"));
    const json_t *place;
    size_t i;

    (void)colour;
    if (!databases)
        buf_adds(out, "Took the newest file");
    else
        buf_addf(out,
            "Captured %" JSON_INTEGER_FORMAT " database%s on %" JSON_INTEGER_FORMAT " server%s",
            databases, databases == 1 ? "" : "s", servers, servers == 1 ? "" : "s");
    if (answered < servers)
        buf_addf(out, ", %" JSON_INTEGER_FORMAT " of which did not answer", servers - answered);
    buf_adds(out, ".\n");
    json_array_foreach (json_object_get(document, "written"), i, place) {
        const char *label = json_string_value(json_object_get(place, "location"));
        buf_addf(out, "Written: %s%s%s, %" JSON_INTEGER_FORMAT " bytes\n", label,
            label[strlen(label) - 1] == '/' ? "" : "/",
            json_string_value(json_object_get(place, "name")),
            json_integer_value(json_object_get(place, "bytes")));
    }
}

static void warn(const char *before, const char *text)
{
    AUTO_FREE char *line = xasprintf("warning: %s%s\n", before, text);
    print_plain(stderr, line);
}

static void tell_found(void *arg, const struct live_address *server, const struct live_address *by)
{
    (void)arg;
    AUTO_FREE char *text = xasprintf("%s:%d names the server %s:%d: asking it too\n", by->addr,
        by->port, server->addr, server->port);
    print_plain(stderr, text);
}

/* request NULL: the servers no longer run. */
static int look(const struct arguments *args, const struct live_request *request, int64_t wait_s,
    struct live **ret, const char **ret_unsettled, struct err *err)
{
    if (args->given[OPT_FROM_FOLDER])
        return from_folders_look(args, args->values[OPT_FROM_FOLDER], ret, err);
    struct live_params params = *live_request_params(request);
    if (args->given[OPT_VERBOSE])
        params.found = tell_found;
    return capture_settled(&params, wait_s * 1000, ret, ret_unsettled, err);
}

/* All but the options. */
static int capture(const struct arguments *args, const struct live_request *request,
    const struct places *places, int64_t wait_s, struct err *err)
{
    CLEANUP(buf_release) struct buf before = BUF_INIT;
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    struct live *live = NULL;
    const char *unsettled = NULL, *name = argument(args, OPT_NAME);

    int64_t before_ms;

    if (capture_get_newest(
            places->stores, places->count, argument(args, OPT_KEY), &before, &before_ms, err) < 0 ||
        look(args, request, wait_s, &live, &unsettled, err) < 0)
        return -1;
    const struct capture_params make = {
        .cluster_name = name || !request ? name : live_request_name(request),
        .hosts = request ? live_request_hosts(request) : NULL,
        .before = {before.len ? before.data : NULL, before.len},
        .from = request ? live_request_addresses(request) : args->values[OPT_FROM_FOLDER],
        .unsettled = unsettled,
        .without_secrets = args->given[OPT_WITHOUT_SECRETS],
    };
    int rc = capture_make(live, &make, &file, err);
    if (rc == 0)
        rc = put_everywhere(args, places, &file, err);
    if (rc == 0) {
        json_t *document = document_of(live, places, &file);
        rc = print_result(args, document, text_of, err);
        json_decref(document);
    }
    if (unsettled)
        warn("the cluster was being changed: ", unsettled);
    live_free(live);
    return rc;
}

/* The newest of the files that the cluster writes itself, unless a location has a newer one. */
static int take(const struct arguments *args, const struct capture_files *files,
    const struct places *places, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    const struct live none = {.count = 0};
    const char *key = argument(args, OPT_KEY);
    int64_t saved_ms, before_ms = -1;
    bool taken;

    /* Who encrypts files without being able to read them cannot compare either. */
    if ((key || !args->values[OPT_ENCRYPT_TO]) &&
        capture_get_newest(places->stores, places->count, key, &file, &before_ms, err) < 0)
        return -1;
    if (capture_take(files->list, files->count, before_ms, &file, &saved_ms, &taken, err) < 0)
        return -1;
    for (size_t i = 0; i < files->count; i++)
        if (files->list[i].error.code != ERR_NONE)
            warn("", files->list[i].error.message);
    if (put_everywhere(args, places, &file, err) < 0)
        return -1;
    json_t *document = document_of(&none, places, &file);
    int rc = print_result(args, document, text_of, err);
    json_decref(document);
    return rc;
}

static int find_source(const struct arguments *args, struct live_request **ret,
    struct capture_files *files, struct err *err)
{
    if (args->given[OPT_FROM_FOLDER] && (args->word_count || args->given[OPT_FROM]))
        return err_set(err, ERR_USAGE,
            "--from-folder stands for all servers: leave out addresses "
            "and --from");
    if (args->given[OPT_FROM_FOLDER] && args->given[OPT_FOLLOW])
        return err_set(err, ERR_USAGE, "there is nothing to follow in --from-folder");
    if (args->given[OPT_FROM_FOLDER])
        return 0;
    if (!args->given[OPT_FROM])
        return live_request_new(args, ret, err);
    if (!args->word_count)
        return capture_files_open(args, files, err);
    err_set(err, ERR_USAGE, "'capture' asks servers, or takes files with --from, not both");
    return err_hint(err, "Leave out '%s', or --from.", args->words[0]);
}

static int print_acl(struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    buf_addf(&text,
        "# Redis 7 or newer, Valkey. The user can read settings, passwords among them.\n"
        "ACL SETUSER capture on >PASSWORD resetkeys resetchannels -@all %s\n"
        "# Redis 6\n"
        "ACL SETUSER capture on >PASSWORD resetkeys -@all %s\n"
        "# Sentinel\n"
        "ACL SETUSER capture on >PASSWORD resetchannels -@all %s\n",
        live_acl_rules, live_acl_rules_6, live_acl_sentinel_rules);
    return print_text(&text, err);
}

static int run(const struct arguments *args, struct err *err)
{
    const char *wait = argument(args, OPT_WAIT);
    struct live_request *request = NULL;
    struct places places = {NULL, 0};
    int64_t wait_s = WAIT_S;

    if (args->given[OPT_ACL])
        return print_acl(err);
    if (args->given[OPT_UNIT])
        return capture_print_unit(args, err);
    if (wait && human_parse_seconds(wait, &wait_s, err) < 0)
        return err_wrap(err, "--wait");
    memory_limit_set(memory_limit_of_reader());
    memory_limit_name("the answers of the servers");
    struct capture_files files = {.list = NULL};
    int rc = open_places(args, &places, err);
    if (rc == 0 && args->given[OPT_CHECK]) {
        rc = capture_check(args, places.stores, places.count, err);
    } else if (rc == 0 && (rc = find_source(args, &request, &files, err)) == 0) {
        const struct capture_run run = {args, request, &files, places.stores, places.count, wait_s};
        rc = args->given[OPT_FOLLOW] ? capture_run_follow(&run, err)
             : files.count           ? take(args, &files, &places, err)
                                     : capture(args, request, &places, wait_s, err);
    }
    capture_files_release(&files);
    places_release(&places);
    live_request_free(request);
    return rc;
}

const struct command command_capture = {
    .name = "capture",
    .words = "ADDRESS... --to LOCATION",
    .summary = "write a CCS file of a running cluster",
    .help =
        "Asks the servers at the ADDRESSes (10.0.0.1:6379), and every server that they name, for "
        "all that a recovery needs to know: topology, settings, users, modules, Sentinels. "
        "Writes it to LOCATION as " CAPTURE_FILE_NAME ". Works with Redis Cluster, Valkey, a "
        "primary with replicas, Sentinel and single servers; changes nothing on them. With --follow "
        "it runs on, and writes the file again whenever something has changed.",
    .min_words = 0,
    .max_words = 10000,
    .options = OPTIONS(LIVE_OPTIONS, OPT_TO, OPT_FROM, OPT_FROM_FOLDER, OPT_KEY, OPT_ENCRYPT_TO,
        OPT_NAME, OPT_ACL, OPT_WAIT, OPT_FOLLOW, OPT_EVERY, OPT_KEEP, OPT_SPOOL, OPT_CHECK,
        OPT_METRICS, OPT_UNIT, OPT_WITHOUT_SECRETS, OPT_INSECURE, OPT_JSON, OPT_VERBOSE, OPT_HELP),
    .run = run,
};
