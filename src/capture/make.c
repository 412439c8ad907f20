/* capture_make(): what stands in a CCS file of a running cluster. */

#include <stdlib.h>
#include <string.h>

#include "database.h"
#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"

static void find_unasked(struct making *m)
{
    for (size_t i = 0; i < m->live->count; i++) {
        const struct live_server *s = m->live->servers[i];
        if (!s->answered)
            making_finding(m, "server-silent", "the server %s:%d could not be asked: %s", s->addr,
                s->port, s->error.message);
        else if (s->error.code != ERR_NONE)
            making_finding(m, "server-incomplete", "the server %s:%d answers only in part: %s",
                s->addr, s->port, s->error.message);
        for (const char *const *command = s->refused; command && *command; command++)
            if (strcmp(*command, "FUNCTION LIST") != 0 || s->functions)
                making_finding(m, "command-refused", "the server %s:%d does not know %s", s->addr,
                    s->port, *command);
    }
}

static void add_cluster(struct making *m, bool racks)
{
    struct hash *before = document_get(&m->before, "cluster", NULL);
    struct hash *cluster = document_add(&m->now, "cluster", NULL);
    const char *name = m->params->cluster_name;
    char at[CLOCK_TEXT_MAX], digest[DIGEST_HEX_MAX];
    struct buf from = BUF_INIT;

    hash_set(&m->now, cluster, "name",
        name                       ? name
        : hash_get(before, "name") ? hash_get(before, "name")
                                   : "redis");
    hash_set(&m->now, cluster, "rack_aware", racks ? "enabled" : "disabled");
    hash_set(&m->now, cluster, "captured_at", clock_format(m->live->asked_ms, at));
    live_digest(m->live, digest);
    hash_set(&m->now, cluster, "capture_digest", digest);
    hash_set(&m->now, cluster, "captured_by", "recluster " RECLUSTER_VERSION);
    for (const char *const *word = m->params->from; word && *word; word++)
        buf_addf(&from, "%s%s", from.len ? "," : "", *word);
    hash_set(&m->now, cluster, "captured_from", from.data);
    buf_release(&from);
    AUTO_FREE char *findings = json_dumps(m->findings, JSON_COMPACT);
    hash_set(&m->now, cluster, "capture_findings", findings);
}

static bool has_racks(const struct making *m)
{
    for (size_t i = 0; i < m->now.count; i++)
        if (strcmp(m->now.hashes[i]->type, "node") == 0 && hash_get(m->now.hashes[i], "rack_id"))
            return true;
    return false;
}

/* A location that holds another cluster's file was given by mistake. */
static int check_same_cluster(const struct making *m, struct err *err)
{
    bool any = false;

    for (size_t i = 0; i < m->before.count; i++) {
        const struct hash *h = m->before.hashes[i];
        if (strcmp(h->type, "redis") != 0 && strcmp(h->type, "node") != 0)
            continue;
        any = true;
        if (document_get(&m->now, h->type, h->uid))
            return 0;
    }
    if (!any)
        return 0;
    const char *name = hash_get(document_get(&m->before, "cluster", NULL), "name");
    err_set(err, ERR_CHECK, "the location holds the " CAPTURE_FILE_NAME " of another cluster%s%s%s",
        name ? ", '" : "", name ? name : "", name ? "'" : "");
    return err_hint(err, "No server of it is among those that were asked. Give each cluster a "
                         "location of its own.");
}

/* Sentinels that answer are servers too, but a file without a database would replace a good one. */
static int check_any(const struct live *live, struct err *err)
{
    if (live->database_count)
        return 0;
    for (size_t i = 0; i < live->count; i++)
        if (live->servers[i]->error.code != ERR_NONE) {
            *err = live->servers[i]->error;
            return err_wrap(err, "no database can be asked");
        }
    err_set(err, ERR_CHECK, "the servers that were asked have no database");
    return err_hint(err, "If they are Sentinels: they watch no primary.");
}

int capture_make(
    struct live *live, const struct capture_params *params, struct buf *ret, struct err *err)
{
    struct making m = {.live = live, .params = params, .findings = json_array()};
    int rc = 0;

    document_init(&m.now);
    document_init(&m.before);
    if (params->before.data)
        rc = document_read(&m.before, params->before, err);
    if (rc == 0)
        rc = check_any(live, err);
    if (rc == 0) {
        if (params->unsettled)
            making_finding(&m, "unsettled", "the cluster was being changed: %s", params->unsettled);
        for (size_t i = 0; i < live->database_count; i++)
            making_database(&m, &live->databases[i]);
        for (size_t i = 0; i < live->note_count; i++)
            making_finding(&m, live->notes[i].code, "%s", live->notes[i].message);
        making_silent_databases(&m);
        find_unasked(&m);
        add_cluster(&m, has_racks(&m));
        rc = check_same_cluster(&m, err);
    }
    if (rc == 0)
        document_write(&m.now, live->asked_ms, ret);
    document_release(&m.now);
    document_release(&m.before);
    json_decref(m.findings);
    return rc;
}
