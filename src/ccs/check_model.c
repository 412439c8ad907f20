#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/human.h"

enum { OLD_MS = 3600 * 1000 };

static void check_age(struct import *im, const struct ccs *ccs)
{
    const int64_t age_ms = clock_wall_ms() - ccs->saved_ms;
    char when[CLOCK_TEXT_MAX], age[HUMAN_TEXT_MAX];

    if (ccs->saved_ms < 0)
        finding_add(&im->findings, FINDING_CCS_AGE_UNKNOWN, NULL,
            "the file does not say when it was saved");
    else if (age_ms < -OLD_MS)
        finding_add(&im->findings, FINDING_CCS_AGE_UNKNOWN, NULL,
            "the file says that it was saved at %s, which is in the future",
            clock_format(ccs->saved_ms, when));
    else if (age_ms > OLD_MS)
        finding_add(&im->findings, FINDING_CCS_OLD, NULL,
            "the file was saved at %s, %s ago: later changes of the cluster are not in it",
            clock_format(ccs->saved_ms, when), human_duration(age_ms, age));
}

static void check_overlap(struct import *im, const struct ccs_database *db,
    const struct ccs_shard *first, const struct ccs_shard *second)
{
    finding_add(&im->findings, FINDING_SLOTS_OVERLAP,
        finding_keys("bdb", db->uid, "redis", first->uid, "redis", second->uid),
        "primaries 'shard:%s' and 'shard:%s' of '%s' have slots in common", first->uid, second->uid,
        db->label);
}

static void check_slots(
    struct import *im, const struct ccs *ccs, const struct ccs_database *db, size_t primaries)
{
    const struct ccs_shard *shards = &ccs->shards[db->first_shard];
    const struct ccs_shard *owner[SLOT_COUNT]; /* of the slots seen */
    struct slots seen, missing;
    unsigned at, first, last;

    slots_clear(&seen);
    for (size_t i = 0; i < primaries; i++) {
        struct slots common = *shards[i].slots, fresh = common;
        slots_intersect(&common, &seen);
        slots_subtract(&fresh, &seen);
        at = 0;
        if (slots_next_range(&common, &at, &first, &last))
            check_overlap(im, db, owner[first], &shards[i]);
        for (at = 0; slots_next_range(&fresh, &at, &first, &last);)
            for (unsigned slot = first; slot <= last; slot++)
                owner[slot] = &shards[i];
        slots_union(&seen, &fresh);
    }
    ccs_missing_slots(ccs, db, &missing);
    if (!slots_is_empty(&missing)) {
        struct buf text = BUF_INIT;
        slots_format(&missing, &text);
        finding_add(&im->findings, FINDING_SLOTS_MISSING, finding_keys("bdb", db->uid),
            "no primary of '%s' has the slots '%s'", db->label, text.data);
        buf_release(&text);
    }
}

static void check_placement(struct import *im, const struct ccs *ccs, const struct ccs_database *db,
    const struct ccs_shard *primary, const struct ccs_shard *replica)
{
    const struct ccs_node *a = ccs_node(ccs, primary->node_uid);
    const struct ccs_node *b = ccs_node(ccs, replica->node_uid);

    if (a && a == b)
        finding_add(&im->findings, FINDING_SAME_NODE,
            finding_keys("redis", primary->uid, "redis", replica->uid, "node", a->uid),
            "primary 'shard:%s' and replica 'shard:%s' of '%s' were both on 'node:%s'",
            primary->uid, replica->uid, db->label, a->uid);
    else if (db->rack_aware && a && b && a->rack && b->rack && strcmp(a->rack, b->rack) == 0)
        finding_add(&im->findings, FINDING_SAME_RACK,
            finding_keys("redis", primary->uid, "redis", replica->uid),
            "primary 'shard:%s' and replica 'shard:%s' of '%s' were both in rack '%s'",
            primary->uid, replica->uid, db->label, a->rack);
}

static void check_replicas(
    struct import *im, const struct ccs *ccs, const struct ccs_database *db, size_t primaries)
{
    if (!db->shard_count)
        return;
    const struct ccs_shard *shards = &ccs->shards[db->first_shard];
    bool *has_replica = xcalloc(primaries + 1, sizeof(*has_replica));

    for (size_t i = primaries; i < db->shard_count; i++) {
        const struct ccs_shard *replica = &shards[i];
        if (replica->primary_index < 0) {
            finding_add(&im->findings, FINDING_REPLICA_UNPAIRED,
                finding_keys("redis", replica->uid, "bdb", db->uid),
                "replica 'shard:%s' of '%s' has the slots of no primary", replica->uid, db->label);
            continue;
        }
        has_replica[(size_t)replica->primary_index - db->first_shard] = true;
        check_placement(im, ccs, db, &ccs->shards[replica->primary_index], replica);
    }
    for (size_t i = 0; db->replicated && i < primaries; i++)
        if (!has_replica[i])
            finding_add(&im->findings, FINDING_REPLICA_MISSING,
                finding_keys("redis", shards[i].uid, "bdb", db->uid),
                "'%s' is replicated, but its primary 'shard:%s' has no replica", db->label,
                shards[i].uid);
    free(has_replica);
}

static void check_topology(struct import *im, const struct ccs *ccs, const struct ccs_database *db)
{
    size_t primaries = 0;

    while (primaries < db->shard_count && ccs->shards[db->first_shard + primaries].primary)
        primaries++;
    if (primaries == 0) {
        finding_add(&im->findings, FINDING_NO_PRIMARY, finding_keys("bdb", db->uid),
            "'%s' ('%s') has no primary shard", db->label, db->name);
    } else {
        if (db->primaries >= 0 && (size_t)db->primaries != primaries)
            finding_add(&im->findings, FINDING_PRIMARY_COUNT, finding_keys("bdb", db->uid),
                "'%s' has %zu primary shards, but its settings say %lld", db->label, primaries,
                (long long)db->primaries);
        check_slots(im, ccs, db, primaries);
    }
    check_replicas(im, ccs, db, primaries);
}

/* What is restored differently, or not at all. */
static void check_kind(struct import *im, const struct ccs_database *db)
{
    struct findings *f = &im->findings;
    const bool redis = strcmp(db->type, "redis") == 0;

    if (!redis)
        finding_add(f, FINDING_MEMCACHED, finding_keys("bdb", db->uid),
            "'%s' ('%s') is of type '%s', which can't be recovered", db->label, db->name, db->type);
    if (db->active_active)
        finding_add(f, FINDING_ACTIVE_ACTIVE, finding_keys("bdb", db->uid),
            "'%s' ('%s') is Active-Active: its files need the vendor's module", db->label,
            db->name);
    if (strcmp(db->status, "active") != 0)
        finding_add(f, FINDING_DATABASE_STATUS, finding_keys("bdb", db->uid),
            "'%s' ('%s') was not active, but '%s'", db->label, db->name, db->status);
    for (size_t i = 0; db->modules[i]; i++)
        finding_add(f, FINDING_MODULES, finding_keys("bdb", db->uid),
            "'%s' uses module '%s', which the servers must have", db->label, db->modules[i]);
    if (db->tls)
        finding_add(f, FINDING_TLS, finding_keys("bdb", db->uid),
            "clients of '%s' used TLS: the hosts need certificates for it", db->label);
    if (!db->backup_location && redis && !db->active_active)
        finding_add(f, FINDING_NO_BACKUP_LOCATION, finding_keys("bdb", db->uid),
            "'%s' ('%s') names no backup location: give one with --source", db->label, db->name);
    if (db->endpoint_count == 0)
        finding_add(f, FINDING_NO_ENDPOINT, finding_keys("bdb", db->uid),
            "'%s' ('%s') has no endpoint", db->label, db->name);
}

static int compare_by_name(const void *a, const void *b)
{
    const struct ccs_database *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void check_names(struct import *im, const struct ccs *ccs)
{
    const struct ccs_database **sorted =
        arena_alloc(&im->arena, (ccs->database_count + 1) * sizeof(*sorted));

    for (size_t i = 0; i < ccs->database_count; i++)
        sorted[i] = &ccs->databases[i];
    qsort(sorted, ccs->database_count, sizeof(*sorted), compare_by_name);
    for (size_t i = 1; i < ccs->database_count; i++)
        if (compare_by_name(&sorted[i - 1], &sorted[i]) == 0)
            finding_add(&im->findings, FINDING_DUPLICATE_NAME,
                finding_keys("bdb", sorted[i - 1]->uid, "bdb", sorted[i]->uid),
                "'%s' and '%s' have the same name '%s'", sorted[i - 1]->label, sorted[i]->label,
                sorted[i]->name);
}

static int compare_by_port(const void *a, const void *b)
{
    const struct ccs_endpoint *const *x = a, *const *y = b;

    return ((*x)->port > (*y)->port) - ((*x)->port < (*y)->port);
}

static void check_endpoints(struct import *im, const struct ccs *ccs)
{
    const struct ccs_endpoint **sorted =
        arena_alloc(&im->arena, (ccs->endpoint_count + 1) * sizeof(*sorted));

    for (size_t i = 0; i < ccs->endpoint_count; i++) {
        const struct ccs_endpoint *e = sorted[i] = &ccs->endpoints[i];
        if (!ccs_database(ccs, e->database_uid))
            finding_add(&im->findings, FINDING_UNKNOWN_DATABASE,
                finding_keys("endpoint", e->uid, "bdb", e->database_uid),
                "'endpoint:%s' belongs to database '%s', which is not there", e->uid,
                e->database_uid);
        if (!e->port)
            finding_add(&im->findings, FINDING_NO_ENDPOINT, finding_keys("endpoint", e->uid),
                "'endpoint:%s' has no port", e->uid);
    }
    qsort(sorted, ccs->endpoint_count, sizeof(*sorted), compare_by_port);
    for (size_t i = 1; i < ccs->endpoint_count; i++) {
        const struct ccs_endpoint *a = sorted[i - 1], *b = sorted[i];
        if (a->port && a->port == b->port && strcmp(a->database_uid, b->database_uid) != 0)
            finding_add(&im->findings, FINDING_DUPLICATE_PORT,
                finding_keys("endpoint", a->uid, "endpoint", b->uid),
                "'endpoint:%s' and 'endpoint:%s' have the same port %d", a->uid, b->uid, a->port);
    }
}

static int compare_by_place(const void *a, const void *b)
{
    const struct ccs_shard *const *x = a, *const *y = b;
    int order = strcmp((*x)->node_uid, (*y)->node_uid);

    return order ? order : ((*x)->port > (*y)->port) - ((*x)->port < (*y)->port);
}

static void check_shards(struct import *im, const struct ccs *ccs)
{
    const struct ccs_shard **sorted =
        arena_alloc(&im->arena, (ccs->shard_count + 1) * sizeof(*sorted));
    size_t placed = 0;

    for (size_t i = 0; i < ccs->shard_count; i++) {
        const struct ccs_shard *s = &ccs->shards[i];
        if (!ccs_database(ccs, s->database_uid))
            finding_add(&im->findings, FINDING_UNKNOWN_DATABASE,
                finding_keys("redis", s->uid, "bdb", s->database_uid),
                "'shard:%s' belongs to database '%s', which is not there", s->uid, s->database_uid);
        if (!s->node_uid)
            finding_add(&im->findings, FINDING_UNKNOWN_NODE, finding_keys("redis", s->uid),
                "'shard:%s' names no node", s->uid);
        else if (!ccs_node(ccs, s->node_uid))
            finding_add(&im->findings, FINDING_UNKNOWN_NODE,
                finding_keys("redis", s->uid, "node", s->node_uid),
                "'shard:%s' was on node '%s', which is not there", s->uid, s->node_uid);
        if (s->node_uid && s->port)
            sorted[placed++] = s;
    }
    qsort(sorted, placed, sizeof(*sorted), compare_by_place);
    for (size_t i = 1; i < placed; i++)
        if (compare_by_place(&sorted[i - 1], &sorted[i]) == 0)
            finding_add(&im->findings, FINDING_DUPLICATE_PORT,
                finding_keys("redis", sorted[i - 1]->uid, "redis", sorted[i]->uid),
                "'shard:%s' and 'shard:%s' on 'node:%s' have the same port %d", sorted[i - 1]->uid,
                sorted[i]->uid, sorted[i]->node_uid, sorted[i]->port);
}

void check_model(struct import *im, const struct ccs *ccs)
{
    check_age(im, ccs);
    if (ccs->database_count == 0)
        finding_add(&im->findings, FINDING_NO_DATABASE, NULL, "the cluster has no database");
    for (size_t i = 0; i < ccs->database_count; i++) {
        check_topology(im, ccs, &ccs->databases[i]);
        check_kind(im, &ccs->databases[i]);
    }
    for (size_t i = 0; i < ccs->node_count; i++) {
        const struct ccs_node *node = &ccs->nodes[i];
        if (strcmp(node->status, "active") != 0)
            finding_add(&im->findings, FINDING_NODE_STATUS, finding_keys("node", node->uid),
                "'node:%s' was not active, but '%s'", node->uid, node->status);
    }
    check_shards(im, ccs);
    check_endpoints(im, ccs);
    check_names(im, ccs);
}
