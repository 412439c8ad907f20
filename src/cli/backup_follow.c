#include "backup_follow.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup_metrics.h"
#include "progress.h"
#include "recluster/archive.h"
#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/human.h"

enum {
    WITNESS_MS = 86400 * 1000,
    SETTLE_MS = 1000,
    CUTS_MS = 1000,
    CUTS_MIN_MS = 20,
    SEGMENT_S = 10,
    SEGMENT_BYTES = 16 << 20,
    BASE_S = 86400
};

struct follow_run {
    const struct cluster_look_params *look_params;
    struct cluster_look *now, *before; /* shards point into them; before: NULL after the first */
    struct progress *progress;
    bool metrics_failed;
};

/* --- the cluster, again and again --- */

static int one_database(
    const struct cluster_look *look, struct backup_shards **ret, struct err *err)
{
    if (look->found_count == 1) {
        *ret = look->found[0];
        return 0;
    }
    err_set(err, ERR_USAGE, "the cluster has %zu databases, an archive has one", look->found_count);
    return err_hint(err, "Choose one with --database, and run an archive for each.");
}

/* The server that was asked first may be the one that is gone. */
static struct live_address *all_servers(const struct follow_run *run, size_t *ret_count)
{
    const struct live *live = run->now->live;
    struct live_address *seeds = xcalloc(live->count + 1, sizeof(*seeds));

    for (size_t i = 0; i < live->count; i++)
        seeds[i] = (struct live_address){live->servers[i]->addr, live->servers[i]->port};
    *ret_count = live->count;
    return seeds;
}

static int look_again(void *arg, struct backup_shards **ret, struct err *err)
{
    struct follow_run *run = arg;
    struct cluster_look_params params = *run->look_params;
    struct live_params ask = *params.ask;
    struct cluster_look *look;

    AUTO_FREE struct live_address *seeds = all_servers(run, &ask.seed_count);
    ask.seeds = seeds;
    params.ask = &ask;
    params.wait_s = 0; /* the archive itself tries again */
    if (cluster_look(&params, &look, err) < 0)
        return -1;
    if (one_database(look, ret, err) < 0) {
        cluster_look_free(look);
        return -1;
    }
    /* The archive compares the new one with the last one, and then forgets that. */
    cluster_look_free(run->before);
    run->before = run->now;
    run->now = look;
    return 0;
}

/* --- what is told --- */

static void tell(void *arg, bool warning, const char *text)
{
    char at[CLOCK_TEXT_MAX];

    (void)arg;
    AUTO_FREE char *line =
        xasprintf("%s %s%s\n", clock_format(clock_wall_ms(), at), warning ? "warning: " : "", text);
    print_plain(stderr, line);
}

static void warn(void *arg, const char *text)
{
    tell(arg, true, text);
}

/* A file that cannot be written does not end an archive; it is told once. */
static void write_metrics(struct follow_run *run, const struct archive_status *now)
{
    const char *path = argument(run->look_params->args, OPT_METRICS);
    struct err failure = ERR_INIT;

    if (!path)
        return;
    if (backup_metrics_of_archive(path, run->now->found[0]->db->name, now, &failure) == 0) {
        run->metrics_failed = false;
        return;
    }
    if (!run->metrics_failed)
        tell(run, true, failure.message);
    run->metrics_failed = true;
}

static void show(void *arg, const struct archive_status *now)
{
    struct follow_run *run = arg;
    char cut[HUMAN_TEXT_MAX], archived[HUMAN_TEXT_MAX], waiting[HUMAN_TEXT_MAX];
    int64_t now_ms = clock_wall_ms();

    write_metrics(run, now);
    if (!isatty(STDERR_FILENO)) /* a journal would have a line each few seconds, for months */
        return;
    AUTO_FREE char *line = xasprintf("%zu of %zu streams; last moment %s ago, archived %s ago; %s "
                                     "waiting",
        now->streaming, now->shards,
        now->last_cut_ms ? human_duration(now_ms - now->last_cut_ms, cut) : "-",
        now->archived_ms ? human_duration(now_ms - now->archived_ms, archived) : "-",
        human_bytes((uint64_t)now->waiting_bytes, waiting));

    progress_doing(run->progress, line);
}

/* --- options --- */

/* "1s", "50ms" */
static int take_ms(const struct arguments *args, enum option option, int64_t missing_ms,
    int64_t *ret_ms, struct err *err)
{
    const char *text = argument(args, option);
    size_t len = text ? strlen(text) : 0;
    int64_t seconds;

    *ret_ms = missing_ms;
    if (!text)
        return 0;
    if (len > 2 && strcmp(text + len - 2, "ms") == 0 && strspn(text, "0123456789") == len - 2 &&
        len < 12) {
        *ret_ms = strtoll(text, NULL, 10);
        return 0;
    }
    if (human_parse_seconds(text, &seconds, err) < 0)
        return err_wrap(err, "--%s", option_name(option));
    *ret_ms = seconds * 1000;
    return 0;
}

/* One for each location and database, so that two archives do not meet. The caller frees it. */
static char *default_folder(const struct store *store, const char *uid)
{
    const char *state = getenv("XDG_STATE_HOME");
    AUTO_FREE char *label = xasprintf("%s\n%s", store_label(store), uid);
    char hex[DIGEST_HEX_MAX];

    digest_of(label, strlen(label), hex);
    if (state && *state == '/')
        return xasprintf("%s/recluster/archive-%.16s", state, hex);
    AUTO_FREE char *home = path_expand_home("~/.local/state/recluster");
    return xasprintf("%s/archive-%.16s", home, hex);
}

/* --- the witness --- */

#define WITNESS_PREFIX "archive-"
#define WITNESS_SUFFIX ".here"

/* Those of runs that were killed, a day later. */
static void remove_old_witnesses(struct store *store)
{
    struct store_list list = STORE_LIST_INIT;
    struct err ignored = ERR_INIT;
    int64_t now_ms = clock_wall_ms();
    size_t tail = strlen(WITNESS_SUFFIX);

    if (store_list(store, &list, &ignored) < 0)
        return;
    for (size_t i = 0; i < list.count; i++) {
        const struct store_entry *e = &list.entries[i];
        size_t len = strlen(e->name);
        if (strncmp(e->name, WITNESS_PREFIX, strlen(WITNESS_PREFIX)) == 0 && len > tail &&
            strcmp(e->name + len - tail, WITNESS_SUFFIX) == 0 && e->modified_ms >= 0 &&
            now_ms - e->modified_ms > WITNESS_MS)
            (void)!store_remove(store, e->name, &ignored);
    }
    store_list_release(&list);
}

/* The name of an object that only this run has written. The caller frees it. */
static char *write_witness(struct store *store, struct err *err)
{
    static const char text[] = "an archive of recluster writes here\n";
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    AUTO_FREE char *word = random_hex(16);
    char *name = xasprintf(WITNESS_PREFIX "%s" WITNESS_SUFFIX, word);

    remove_old_witnesses(store);
    buf_adds(&file, text);
    if (capture_put(store, name, &file, err) == 0)
        return name;
    free(name);
    return NULL;
}

static void remove_witness(struct store *store, const char *name)
{
    struct err ignored = ERR_INIT;

    if (name)
        (void)!store_remove(store, name, &ignored);
}

/* --- all of it --- */

/* When shards are added or removed, it starts again: streams of shards that are still there continue. */
static int follow(struct follow_run *run, const struct archive_params *archive, struct err *err)
{
    struct backup_shards *shards = NULL;

    for (;;) {
        if (one_database(run->now, &shards, err) < 0)
            return -1;
        if (archive_follow(archive, shards, err) == 0)
            return 0;
        if (err->code != ERR_CHANGED)
            return -1;
        tell(run, true, err->message);
        *err = (struct err)ERR_INIT;
        poll(NULL, 0, SETTLE_MS); /* the agents of before end, and give their folders back */
    }
}

int backup_run_follow(const struct cluster_look_params *look_params, struct cluster_look *look,
    const struct backup_params *params, struct err *err)
{
    const struct arguments *args = look_params->args;
    const char *given = argument(args, OPT_STREAM_SPOOL);
    struct follow_run run = {.look_params = look_params, .now = look};
    struct backup_params backup = *params;
    struct archive_params archive = {.backup = &backup,
        .segment_bytes = SEGMENT_BYTES,
        .look = look_again,
        .tell = tell,
        .status = show,
        .arg = &run};
    struct backup_shards *shards = NULL;
    char *folder = NULL, *host_folder = NULL;

    backup.warn = warn;
    backup.arg = &run;

    int rc = one_database(look, &shards, err);
    if (rc == 0)
        rc = take_ms(args, OPT_CUTS, CUTS_MS, &archive.cuts_ms, err);
    if (rc == 0)
        rc = take_ms(args, OPT_SEGMENT, SEGMENT_S * 1000, &archive.segment_ms, err);
    if (rc == 0)
        rc = take_ms(args, OPT_BASE_EVERY, BASE_S * 1000LL, &archive.base_ms, err);
    if (rc == 0)
        rc = take_ms(args, OPT_BASE_RTO, 0, &archive.replay_ms, err);
    if (rc == 0 && (archive.cuts_ms < CUTS_MIN_MS || archive.segment_ms <= 0))
        rc = err_set(
            err, ERR_USAGE, "--cuts and --segment need times of %d ms or more", CUTS_MIN_MS);
    if (rc == 0) {
        folder = given ? xstrdup(given) : default_folder(params->store, shards->db->uid);
        host_folder = given ? NULL : xasprintf("/var/tmp/recluster-%s", strrchr(folder, '/') + 1);
        archive.host_folder = host_folder;
        archive.folder = folder;
        rc = dir_make(folder, 0700, err);
    }
    AUTO_FREE char *witness = rc == 0 ? write_witness(params->store, err) : NULL;
    archive.witness = witness;
    if (rc == 0 && !witness)
        rc = -1;
    run.progress = progress_new(args->given[OPT_VERBOSE]);
    if (rc == 0)
        rc = follow(&run, &archive, err);
    progress_free(run.progress);
    remove_witness(params->store, witness);
    cluster_look_free(run.before);
    cluster_look_free(run.now);
    free(folder);
    free(host_folder);
    return rc;
}
