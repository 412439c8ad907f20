/* Which servers have each shard, and whether a backup can be true. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/backup.h"
#include "recluster/buf.h"

const char backup_acl_rules[] = "+psync +replconf +client|pause +client|unpause";

struct search {
    struct live *live;
    const struct ccs *ccs;
    struct backup_shards *found;
    size_t shard_alloc, warning_count, warning_alloc;
    const char **warnings;
};

static const struct live_server *server_of(struct search *s, const struct ccs_shard *shard)
{
    const struct ccs_node *node = shard->node_uid ? ccs_node(s->ccs, shard->node_uid) : NULL;

    return node && node->addr ? live_server_at(s->live, node->addr, shard->port) : NULL;
}

static void warn(struct search *s, const char *text)
{
    if (s->warning_count + 1 >= s->warning_alloc) {
        s->warning_alloc = 2 * s->warning_alloc + 8;
        s->warnings = xreallocarray(s->warnings, s->warning_alloc, sizeof(*s->warnings));
    }
    s->warnings[s->warning_count++] = text;
    s->warnings[s->warning_count] = NULL;
}

/* --- one server --- */

static bool is_at_least(struct search *s, const struct live_server *server, int major, int minor)
{
    const char *version = live_info(s->live, server, "redis_version");
    char *rest = NULL;
    long first = version ? strtol(version, &rest, 10) : 0;
    long second = rest && *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;

    return first > major || (first == major && second >= minor);
}

static int check_primary(struct search *s, const struct backup_shard *shard, struct err *err)
{
    const struct live_server *p = shard->primary;
    const struct ccs_database *db = s->found->db;

    if (!live_is_whole(p)) {
        *err = p->error;
        if (err->code == ERR_NETWORK || err->code == ERR_TIMEOUT)
            err->code = ERR_BUSY; /* a replica may be about to take over */
        return err_wrap(err, "the primary of %s did not answer everything", shard->label);
    }
    if (!live_is_primary(s->live, p)) {
        err_set(err, ERR_CHECK, "the primary of %s, %s:%d, is a replica by now", shard->label,
            p->addr, p->port);
        return err_hint(err, "Wait until the failover has ended, and run the same command again.");
    }
    if (p->mode == LIVE_CLUSTER && !p->state_ok) {
        err_set(err, ERR_CHECK, "the cluster of '%s' is not ok: %s:%d says cluster_state:fail",
            db->name, p->addr, p->port);
        return err_hint(err,
            "A set of it would lack the keys of slots that nobody serves. See: "
            "redis-cli --cluster check %s:%d",
            p->addr, p->port);
    }
    if (db->sharded && !is_at_least(s, p, 6, 2)) {
        err_set(err, ERR_UNSUPPORTED, "%s:%d is older than 6.2: its writes cannot be paused",
            p->addr, p->port);
        return err_hint(err, "So no moment can be proven that is the same for all shards.");
    }
    return 0;
}

/* A replica that has lost its primary refuses replicas of its own. */
static bool is_in_step(struct search *s, const struct live_server *server)
{
    const char *link =
        server && server->answered ? live_info(s->live, server, "master_link_status") : NULL;
    const char *syncs = link ? live_info(s->live, server, "master_sync_in_progress") : NULL;

    return link && strcmp(link, "up") == 0 && (!syncs || strcmp(syncs, "0") == 0);
}

/* --- shards --- */

static void add_sources(struct search *s, struct backup_shard *shard, size_t primary_index)
{
    const struct ccs_database *db = s->found->db;

    shard->sources = arena_alloc(&s->found->arena, (db->shard_count + 1) * sizeof(*shard->sources));
    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *other = &s->ccs->shards[db->first_shard + i];
        const struct live_server *server = server_of(s, other);
        if (!other->primary && other->primary_index == (int)primary_index && is_in_step(s, server))
            shard->sources[shard->source_count++] = (struct backup_source){server, false};
    }
    if (!shard->source_count)
        warn(
            s, arena_printf(&s->found->arena,
                   "%s has no replica that is in step: its primary %s:%d forks for the backup, and "
                   "counts as having one more replica meanwhile (min-replicas-to-write, Sentinels)",
                   shard->label, shard->primary->addr, shard->primary->port));
    shard->sources[shard->source_count++] = (struct backup_source){shard->primary, true};
}

static int add_shard(struct search *s, size_t index, struct err *err)
{
    const struct ccs_shard *shard = &s->ccs->shards[index];
    struct backup_shards *found = s->found;
    const struct live_server *server = server_of(s, shard);
    char *label = arena_printf(&found->arena, "shard:%s", shard->uid);

    if (!server)
        return err_set(err, ERR_CHECK, "the primary of %s of '%s' is not known to the cluster",
            label, found->db->name);
    GROW(found->shards, found->count, s->shard_alloc);
    struct backup_shard *added = &found->shards[found->count++];
    *added = (struct backup_shard){
        .uid = shard->uid, .label = label, .slots = shard->slots, .primary = server};
    if (check_primary(s, added, err) < 0)
        return -1;
    add_sources(s, added, index);
    return 0;
}

static int find(struct search *s, struct err *err)
{
    const struct ccs_database *db = s->found->db;
    struct slots missing;

    ccs_missing_slots(s->ccs, db, &missing);
    if (db->sharded && slots_count(&missing)) {
        err_set(err, ERR_CHECK, "nobody serves %u slots of '%s'", slots_count(&missing), db->name);
        return err_hint(err, "A set would lack their keys: repair the cluster first.");
    }
    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *shard = &s->ccs->shards[db->first_shard + i];
        if (shard->primary && (!db->sharded || slots_count(shard->slots)) &&
            add_shard(s, db->first_shard + i, err) < 0)
            return -1;
    }
    return s->found->count ? 0 : err_set(err, ERR_CHECK, "'%s' has no primary that runs", db->name);
}

int backup_find(struct live *live, const struct ccs *ccs, const struct ccs_database *db,
    struct backup_shards **ret, struct err *err)
{
    struct backup_shards *found = xcalloc(1, sizeof(*found));
    struct search s = {.live = live, .ccs = ccs, .found = found};

    arena_init(&found->arena);
    found->db = db;
    warn(&s, NULL);
    s.warning_count = 0;
    int rc = find(&s, err);
    found->warnings = s.warnings;
    if (rc < 0) {
        backup_shards_free(found);
        return -1;
    }
    *ret = found;
    return 0;
}

void backup_shards_free(struct backup_shards *shards)
{
    if (!shards)
        return;
    free(shards->shards);
    free((void *)(uintptr_t)shards->warnings);
    arena_release(&shards->arena);
    free(shards);
}
