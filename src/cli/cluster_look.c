#include "cluster_look.h"

#include <poll.h>
#include <stdlib.h>

#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/sealed.h"
#include "recluster/state.h"

enum { LOOK_AGAIN_MS = 500 };

/*
 * The file before, which gives the uids: that of the location. Who has no key for it, as a timer that
 * encrypts should not have one, can name a CCS file of this cluster.
 */
static int get_before(const struct cluster_look_params *p, struct buf *ret, struct err *err)
{
    const struct ccs *given = live_request_ccs(p->request);

    if (capture_get(p->store, argument(p->args, OPT_KEY), ret, err) == 0)
        return 0;
    if (err->code != ERR_USAGE)
        return -1;
    if (!given)
        return err_hint(err, "Give the private key: --key FILE. Or name a CCS file of this cluster "
                             "that you can read in the place of the addresses.");
    *err = (struct err)ERR_INIT;
    return file_read(given->source, SEALED_BYTES_MAX, ret, err);
}

static int capture_it(
    const struct cluster_look_params *p, struct cluster_look *look, struct err *err)
{
    CLEANUP(buf_release) struct buf before = BUF_INIT;
    const char *unsettled = NULL, *name = argument(p->args, OPT_NAME);

    if (get_before(p, &before, err) < 0 ||
        capture_settled(p->ask, p->wait_s * 1000, &look->live, &unsettled, err) < 0)
        return -1;
    if (unsettled) {
        err_set(err, ERR_BUSY, "the cluster is being changed: %s", unsettled);
        return err_hint(err, "Wait until it is settled, or wait longer: --wait TIME");
    }
    const struct capture_params make = {
        .cluster_name = name ? name : live_request_name(p->request),
        .hosts = live_request_hosts(p->request),
        .before = {before.len ? before.data : NULL, before.len},
        .from = live_request_addresses(p->request),
    };
    if (capture_make(look->live, &make, &look->ccs_file, err) < 0 ||
        state_open(NULL, STATE_MEMORY, &look->st, err) < 0 ||
        ccs_import_bytes("of the running cluster",
            (struct rdb_bytes){look->ccs_file.data, look->ccs_file.len}, look->st, err) < 0)
        return -1;
    look->ccs = ccs_load(look->st, err);
    return look->ccs ? 0 : -1;
}

static bool is_wanted(const struct cluster_look_params *p, const struct cluster_look *look,
    const struct ccs_database *db)
{
    const char *const *words = p->args->values[OPT_DATABASE];
    struct err ignored = ERR_INIT;

    for (; words && *words; words++)
        if (ccs_find_database(look->ccs, *words, &ignored) == db)
            return true;
    return !p->args->values[OPT_DATABASE];
}

static int check_words(
    const struct cluster_look_params *p, struct cluster_look *look, struct err *err)
{
    const char *const *words = p->args->values[OPT_DATABASE];

    for (; words && *words; words++)
        if (!ccs_find_database(look->ccs, *words, err))
            return -1;
    return 0;
}

static int find_databases(
    const struct cluster_look_params *p, struct cluster_look *look, struct err *err)
{
    if (check_words(p, look, err) < 0)
        return -1;
    look->found = xcalloc(look->ccs->database_count + 1, sizeof(*look->found));
    for (size_t i = 0; i < look->ccs->database_count; i++) {
        const struct ccs_database *db = &look->ccs->databases[i];
        if (!is_wanted(p, look, db))
            continue;
        if (backup_find(look->live, look->ccs, db, &look->found[look->found_count], err) < 0)
            return err_wrap(err, "no backup of '%s' was taken", db->name);
        look->found_count++;
    }
    return 0;
}

static int look_once(
    const struct cluster_look_params *p, struct cluster_look **ret, struct err *err)
{
    struct cluster_look *look = xcalloc(1, sizeof(*look));

    buf_init(&look->ccs_file);
    if (capture_it(p, look, err) < 0 || find_databases(p, look, err) < 0) {
        cluster_look_free(look);
        return -1;
    }
    *ret = look;
    return 0;
}

/* A server that runs a long script, or is just starting, is waited for like a failover. */
int cluster_look(
    const struct cluster_look_params *params, struct cluster_look **ret, struct err *err)
{
    int64_t give_up_at_ms = clock_mono_ms() + params->wait_s * 1000;

    while (look_once(params, ret, err) < 0) {
        if (err->code != ERR_BUSY || clock_mono_ms() >= give_up_at_ms)
            return -1;
        *err = (struct err)ERR_INIT;
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
    return 0;
}

void cluster_look_free(struct cluster_look *look)
{
    if (!look)
        return;
    for (size_t i = 0; i < look->found_count; i++)
        backup_shards_free(look->found[i]);
    free(look->found);
    ccs_free(look->ccs);
    state_close(look->st);
    live_free(look->live);
    buf_release(&look->ccs_file);
    free(look);
}
