#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backup_follow.h"
#include "backup_metrics.h"
#include "backup_policy.h"
#include "cluster_look.h"
#include "command.h"
#include "progress.h"
#include "recluster/backup.h"
#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/sealed.h"
#include "recluster/shell_quote.h"
#include "signals.h"
#include "unit.h"

enum { WAIT_S = 30, FORKS = 2, FORKS_MAX = 1000, UNIT_EVERY_S = 86400, POLICY_EVERY_S = 900 };

/* All that a run needs, from the arguments on. */
struct backup_run {
    const struct arguments *args;
    struct live_request *request;
    json_t *location, *server, *recipients;
    struct store *store;
    struct backup_params params;
    int64_t wait_s;
    struct cluster_look *look;
    json_t *ccs_entry;
    struct progress *progress;
    const char *doing;            /* name of the database */
    struct backup_policy *policy; /* NULL: none */
    struct state *keys;           /* what is known of hosts; in memory */
    struct host_links links;
};

/* --- what the arguments say --- */

static int open_location(struct backup_run *run, struct err *err)
{
    const char *word = argument(run->args, OPT_TO);

    if (!word) {
        err_set(err, ERR_USAGE, "'backup' needs a LOCATION to write to");
        return err_hint(err, "Write: --to FOLDER, or --to s3://BUCKET/PREFIX");
    }
    /* Agents have other working folders. */
    AUTO_FREE char *absolute = strstr(word, "://") ? NULL : realpath(word, NULL);
    json_t *location = location_of_word(run->args, absolute ? absolute : word);
    run->location = store_resolve_location(location, err);
    json_decref(location);
    if (run->location)
        run->store = store_open(run->location, err);
    return run->store ? 0 : -1;
}

static int take_number(
    const struct arguments *args, enum option option, int64_t max, int64_t *ret, struct err *err)
{
    const char *text = argument(args, option);
    char *end;

    if (!text)
        return 0;
    *ret = strtoll(text, &end, 10);
    return *text && !*end && *ret > 0 && *ret <= max
               ? 0
               : err_set(err, ERR_USAGE, "--%s: '%s' is not a number from 1 to %" PRId64,
                     option_name(option), text, max);
}

/* What is not compressed would look like a plain file to those who read only its name. */
static int take_recipients(struct backup_run *run, struct err *err)
{
    const char *const *recipients = run->args->values[OPT_ENCRYPT_TO];

    if (!recipients)
        return 0;
    if (run->params.pack == PACK_NONE)
        return err_set(err, ERR_USAGE, "--encrypt-to needs --compress zstd or gzip");
    if (run->params.verify == BACKUP_VERIFY_FULL && !run->args->given[OPT_KEY])
        return err_set(err, ERR_USAGE,
            "--verify full reads what --encrypt-to encrypts: it needs "
            "--key FILE");
    run->recipients = sealed_recipients(recipients, err);
    run->params.recipients = run->recipients;
    return run->recipients ? 0 : err_wrap(err, "--encrypt-to");
}

/* The vendor's files are compressed with gzip. */
static int take_form(struct backup_run *run, struct err *err)
{
    const char *form = argument(run->args, OPT_FORM), *server = argument(run->args, OPT_SERVER);

    if (form && !backup_form_of(form, &run->params.form))
        return err_set(err, ERR_USAGE, "--form: '%s' is none of rdb and rdb+stream", form);
    bool rdb = run->params.form == BACKUP_FORM_RDB;
    run->params.server_files = run->args->given[OPT_SERVER_FILES];
    if (run->params.server_files && run->args->given[OPT_ARCHIVE])
        return err_set(
            err, ERR_USAGE, "--follow reads streams: --server-files does not go with it");
    if (rdb && run->args->given[OPT_ARCHIVE])
        return err_set(err, ERR_USAGE, "--follow keeps streams: --form rdb does not go with it");
    if (server && !rdb)
        return err_set(err, ERR_USAGE, "--server goes with --form rdb");
    run->params.pack = rdb ? PACK_GZIP : PACK_ZSTD;
    run->server = json_pack("{s:s}", "server", server ? server : "redis-server");
    run->params.server = run->server;
    return 0;
}

static int take_options(struct backup_run *run, struct err *err)
{
    const struct arguments *args = run->args;
    const char *wait = argument(args, OPT_WAIT), *kind = argument(args, OPT_COMPRESS);
    const char *verify = argument(args, OPT_VERIFY);
    int64_t forks = FORKS;

    if (take_form(run, err) < 0)
        return -1;
    run->wait_s = WAIT_S;
    if (wait && human_parse_seconds(wait, &run->wait_s, err) < 0)
        return err_wrap(err, "--wait");
    if (kind && !pack_kind_of(kind, &run->params.pack))
        return err_set(err, ERR_USAGE, "--compress: '%s' is none of zstd, gzip and none", kind);
    if (verify && !backup_verify_of(verify, &run->params.verify))
        return err_set(err, ERR_USAGE, "--verify: '%s' is none of size, digest and full", verify);
    if (take_number(args, OPT_FORKS, FORKS_MAX, &forks, err) < 0 ||
        argument_rate(args, &run->params.limit_rate, err) < 0)
        return -1;
    run->params.forks = (size_t)forks;
    run->params.spool = argument(args, OPT_STREAM_SPOOL);
    run->params.patience_ms = run->wait_s * 1000;
    return take_recipients(run, err);
}

static void warn(void *arg, const char *text)
{
    const struct backup_run *run = arg;
    AUTO_FREE char *line = xasprintf("warning: %s", text);

    progress_tell(run->progress, line);
}

/* Hosts read from the servers that they have, and write to the location. */
static int take_hosts(struct backup_run *run, struct err *err)
{
    const struct hosts *hosts = live_request_hosts(run->request);

    if (!hosts || !hosts->count)
        return 0;
    if (state_open(NULL, STATE_MEMORY, &run->keys, err) < 0)
        return -1;
    run->links.st = run->keys;
    run->params.hosts = hosts;
    run->params.links = &run->links;
    return 0;
}

/* --- the CCS file --- */

/* As it is written: encrypted, if that is wanted. */
static int make_ccs_file(const struct backup_run *run, struct buf *ret, struct err *err)
{
    const char *const *recipients = run->args->values[OPT_ENCRYPT_TO];
    const struct buf *plain = &run->look->ccs_file;

    if (!recipients) {
        buf_add(ret, plain->data, plain->len);
        return 0;
    }
    return sealed_seal(recipients, plain, ret, err);
}

static int put_newest_ccs_file(const struct backup_run *run, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;

    return make_ccs_file(run, &file, err) < 0
               ? -1
               : capture_put(run->store, CAPTURE_FILE_NAME, &file, err);
}

/* Once as part of the sets of this run, and once as the newest one. */
static int put_ccs_file(struct backup_run *run, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    AUTO_FREE char *name = backup_ccs_name(&run->params);
    char sha256[DIGEST_HEX_MAX];

    if (make_ccs_file(run, &file, err) < 0 || capture_put(run->store, name, &file, err) < 0)
        return -1;
    run->ccs_entry =
        json_pack("{s:s, s:s}", "name", name, "sha256", digest_of(file.data, file.len, sha256));
    run->params.ccs = run->ccs_entry;
    return capture_put(run->store, CAPTURE_FILE_NAME, &file, err);
}

/* It belongs to no set. */
static void remove_ccs_file(const struct backup_run *run)
{
    AUTO_FREE char *name = backup_ccs_name(&run->params);
    struct err ignored = ERR_INIT;

    (void)!store_remove(run->store, name, &ignored);
}

/* --- databases --- */

static void show_progress(void *arg, const struct backup_progress *now)
{
    const struct backup_run *run = arg;
    char bytes[HUMAN_TEXT_MAX], stream[HUMAN_TEXT_MAX];
    AUTO_FREE char *line = xasprintf("%s: %zu of %zu data sets, %s; %s of stream", run->doing,
        now->based, now->shards, human_bytes((uint64_t)now->bytes, bytes),
        human_bytes((uint64_t)now->stream_bytes, stream));

    progress_doing(run->progress, line);
}

static int take_set(
    struct backup_run *run, const struct backup_shards *shards, json_t *sets, struct err *err)
{
    json_t *manifest = NULL;

    for (const char *const *w = shards->warnings; *w; w++)
        warn(run, *w);
    run->doing = shards->db->name;
    int rc = backup_take(&run->params, shards, &manifest, err);
    if (rc == 0)
        json_array_append_new(sets, manifest);
    return rc < 0 ? err_wrap(err, "no backup of '%s' was taken", run->doing) : 0;
}

/* A database that fails does not stop the others. The exit status, or -1: none has a set. */
static int take_sets(struct backup_run *run, json_t *sets, struct err *err)
{
    size_t count = run->look->found_count;
    struct err first = ERR_INIT;

    for (size_t i = 0; i < count; i++) {
        struct err failure = ERR_INIT;
        if (take_set(run, run->look->found[i], sets, &failure) == 0)
            continue;
        if (first.code == ERR_NONE)
            first = failure;
        if (count > 1)
            print_error(&failure);
        if (failure.code == ERR_CANCELLED)
            break;
    }
    if (first.code == ERR_NONE)
        return 0;
    *err = first;
    return json_array_size(sets) && first.code != ERR_CANCELLED ? EXIT_PARTLY : -1;
}

/* --- the result --- */

static void add_set(const json_t *set, const char *location, struct buf *out)
{
    const json_t *files = json_object_get(set, "files"),
                 *database = json_object_get(set, "database");
    const json_t *cut = json_object_get(set, "cut"), *file;
    char bytes[HUMAN_TEXT_MAX];
    uint64_t total = 0;
    size_t i;

    json_array_foreach (files, i, file)
        total += (uint64_t)json_int(file, "bytes", 0);
    json_int_t paused_ms = json_int(cut, "paused_ms", 0);
    buf_addf(out, "Took the set %s of '%s' (db:%s): %zu file%s, %s, in %s\n",
        json_text(set, "set", ""), json_text(database, "name", ""), json_text(database, "uid", ""),
        json_array_size(files), json_array_size(files) == 1 ? "" : "s", human_bytes(total, bytes),
        location);
    buf_addf(out, "  It is what all shards held at %s.\n", json_text(cut, "time", ""));
    if (paused_ms)
        buf_addf(out, "  Writes were paused for %" JSON_INTEGER_FORMAT " ms.\n", paused_ms);
    else
        buf_adds(out, "  Writes were not paused.\n");
}

static void text_of(const json_t *document, bool colour, struct buf *out)
{
    const char *location = json_text(document, "location", "");
    const json_t *set;
    size_t i;

    (void)colour;
    json_array_foreach (json_object_get(document, "sets"), i, set) {
        add_set(set, location, out);
    }
    if (!json_array_size(json_object_get(document, "sets")))
        buf_adds(out, "Nothing is due.\n");
    else
        buf_addf(out, "Check them:  recluster verify %s\n", location);
}

static int print_sets(const struct backup_run *run, json_t *sets, struct err *err)
{
    json_t *document = json_pack("{s:s, s:O*, s:O}", "location", store_label(run->store), "ccs",
        run->ccs_entry, "sets", sets);
    int rc = print_result(run->args, document, text_of, err);

    json_decref(document);
    return rc;
}

static int write_metrics(const struct backup_run *run, bool ok)
{
    struct err failure = ERR_INIT;

    if (backup_metrics_of_sets(argument(run->args, OPT_METRICS), run->store, ok, &failure) == 0)
        return 0;
    print_error(&failure);
    return -1;
}

/* Of the databases that the look has found. */
static int take_all(struct backup_run *run, struct err *err)
{
    json_t *sets = json_array();

    int rc = backup_begin(&run->params, run->look->found, run->look->found_count, err);
    if (rc == 0)
        rc = put_ccs_file(run, err);
    run->progress = progress_new(run->args->given[OPT_VERBOSE]);
    if (rc == 0)
        rc = take_sets(run, sets, err);
    progress_free(run->progress);
    run->progress = NULL;
    if (rc < 0 && run->ccs_entry && !json_array_size(sets))
        remove_ccs_file(run);
    backup_end(&run->params);
    if (rc >= 0 && run->policy && backup_policy_expire(run->policy, run->store, sets, err) < 0) {
        print_error(err);
        rc = EXIT_PARTLY;
    }
    if (rc >= 0 && print_sets(run, sets, err) < 0)
        rc = -1;
    json_decref(sets);
    return rc;
}

static int take_none(const struct backup_run *run, struct err *err)
{
    json_t *sets = json_array();
    int rc = print_sets(run, sets, err);

    json_decref(sets);
    return rc;
}

static int backup_sets(
    struct backup_run *run, const struct cluster_look_params *look, struct err *err)
{
    if (cluster_look(look, &run->look, err) < 0 || signals_catch(&run->params.stop_fd, err) < 0)
        return -1;
    if (run->policy && backup_policy_choose(run->policy, run->store, run->look, err) < 0)
        return -1;
    return run->look->found_count ? take_all(run, err) : take_none(run, err);
}

static int follow(struct backup_run *run, const struct cluster_look_params *look, struct err *err)
{
    if (cluster_look(look, &run->look, err) < 0 || signals_catch(&run->params.stop_fd, err) < 0 ||
        put_newest_ccs_file(run, err) < 0)
        return -1;
    struct cluster_look *first = run->look;
    run->look = NULL;
    return backup_run_follow(look, first, &run->params, err);
}

static int backup(struct backup_run *run, struct err *err)
{
    const struct cluster_look_params look = {
        run->args, run->request, run->params.ask, run->store, run->wait_s};

    run->params.time_ms = clock_wall_ms();
    if (run->args->given[OPT_ARCHIVE])
        return follow(run, &look, err);
    int rc = backup_sets(run, &look, err);
    if (run->args->given[OPT_METRICS] && write_metrics(run, rc == 0) < 0 && rc == 0)
        rc = EXIT_PARTLY;
    return rc;
}

static int print_acl(struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    buf_addf(&text,
        "# Redis 7 or newer, Valkey. The user can read all data, and settings with passwords.\n"
        "ACL SETUSER backup on >PASSWORD resetkeys resetchannels -@all %s %s\n"
        "# With --server-files, also: +backup\n"
        "# Redis 6.2\n"
        "ACL SETUSER backup on >PASSWORD resetkeys resetchannels -@all %s +psync +replconf +client\n"
        "# Sentinel\n"
        "ACL SETUSER backup on >PASSWORD resetchannels -@all %s\n",
        live_acl_rules, backup_acl_rules, live_acl_rules_6, live_acl_sentinel_rules);
    return print_text(&text, err);
}

/* With --follow a service that runs on, else one that a timer starts. */
static int print_unit(const struct arguments *args, struct err *err)
{
    const char *every = argument(args, OPT_BACKUP_EVERY);
    bool follow = args->given[OPT_ARCHIVE];
    struct unit unit = {
        .name = follow ? "recluster-archive" : "recluster-backup",
        .description = follow ? "keeps every instant of a cluster" : "takes a backup of a cluster",
        .words = "backup",
        .options = OPTIONS(LIVE_OPTIONS, OPT_TO, OPT_DATABASE, OPT_KEY, OPT_ENCRYPT_TO, OPT_NAME,
            OPT_WAIT, OPT_COMPRESS, OPT_POLICY, OPT_FORM, OPT_SERVER, OPT_SERVER_FILES, OPT_ARCHIVE,
            OPT_CUTS, OPT_SEGMENT, OPT_BASE_EVERY, OPT_BASE_RTO, OPT_VERIFY, OPT_FORKS,
            OPT_LIMIT_RATE, OPT_STREAM_SPOOL, OPT_METRICS, OPT_INSECURE),
        .every_s = follow                    ? 0
                   : args->given[OPT_POLICY] ? POLICY_EVERY_S
                                             : UNIT_EVERY_S,
    };

    if (every && human_parse_seconds(every, &unit.every_s, err) < 0)
        return err_wrap(err, "--every");
    if (every && (follow || unit.every_s <= 0))
        return err_set(err, ERR_USAGE, "--every: '%s' is no time between two backup sets", every);
    return unit_print(args, &unit, err);
}

static void release(struct backup_run *run)
{
    cluster_look_free(run->look);
    json_decref(run->ccs_entry);
    store_close(run->store);
    json_decref(run->location);
    json_decref(run->server);
    json_decref(run->recipients);
    backup_policy_free(run->policy);
    state_close(run->keys);
    live_request_free(run->request);
}

static int run(const struct arguments *args, struct err *err)
{
    struct backup_run run = {
        .args = args, .params = {.stop_fd = -1, .progress = show_progress, .warn = warn}};

    if (args->given[OPT_ACL])
        return print_acl(err);
    if (args->given[OPT_UNIT])
        return print_unit(args, err);
    if (args->given[OPT_POLICY] && args->given[OPT_ARCHIVE])
        return err_set(err, ERR_USAGE, "--policy is for sets: --follow does not go with it");
    if (args->given[OPT_BACKUP_EVERY])
        return err_set(err, ERR_USAGE, "--every goes with --unit: a timer of systemd does it");
    memory_limit_set(memory_limit_of_reader());
    memory_limit_name("the answers of the servers");
    int rc = take_options(&run, err);
    if (rc == 0)
        rc = open_location(&run, err);
    if (rc == 0)
        rc = live_request_new(args, &run.request, err);
    if (rc == 0)
        rc = take_hosts(&run, err);
    if (rc == 0)
        rc = backup_policy_read(args, run.request, &run.policy, err);
    if (rc == 0) {
        run.params.ask = live_request_params(run.request);
        run.params.tls = live_request_tls(run.request);
        run.params.store = run.store;
        run.params.location = run.location;
        run.params.arg = &run;
        rc = backup(&run, err);
    }
    release(&run);
    return rc;
}

const struct command command_backup = {
    .name = "backup",
    .words = "CCS|ADDRESS... --to LOCATION",
    .summary = "take a backup set that is one moment of all shards",
    .help =
        "Takes a backup set of a running cluster: a file for each shard, all true at the same "
        "moment, and the cluster's CCS file beside them. Reads from replicas where there are some; "
        "changes nothing on the servers. If the cluster is too busy for the moment to be proven, "
        "writes wait for a tenth of a second at most.",
    .min_words = 0,
    .max_words = 10000,
    .options = OPTIONS(LIVE_OPTIONS, OPT_TO, OPT_DATABASE, OPT_KEY, OPT_ENCRYPT_TO, OPT_NAME,
        OPT_ACL, OPT_WAIT, OPT_COMPRESS, OPT_POLICY, OPT_FORM, OPT_SERVER, OPT_SERVER_FILES,
        OPT_ARCHIVE, OPT_CUTS, OPT_SEGMENT, OPT_BASE_EVERY, OPT_BASE_RTO, OPT_VERIFY, OPT_FORKS,
        OPT_LIMIT_RATE, OPT_STREAM_SPOOL, OPT_METRICS, OPT_UNIT, OPT_BACKUP_EVERY, OPT_INSECURE,
        OPT_JSON, OPT_VERBOSE, OPT_HELP),
    .run = run,
};
