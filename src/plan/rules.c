/* Whether a shard may be on a host, given what is where; and the account of what is where. */

#include <stdlib.h>
#include <string.h>

#include "steps.h"

int64_t rules_memory_left(const struct draft *d, int host)
{
    const struct draft_host *dh = &d->hosts[host];
    int64_t left = d->plan->hosts[host].memory_bytes - d->plan->hosts[host].planned_bytes;

    if (dh->shares_memory && d->machine_memory_left[dh->machine] < left)
        left = d->machine_memory_left[dh->machine];
    return left;
}

int64_t rules_disk_left(const struct draft *d, int host)
{
    const struct plan_host *ph = &d->plan->hosts[host];
    int disk = d->hosts[host].disk;
    int64_t left =
        ph->disk_free_bytes < 0 ? INT64_MAX : ph->disk_free_bytes - ph->planned_disk_bytes;

    return disk >= 0 && d->disk_left[disk] < left ? d->disk_left[disk] : left;
}

bool rules_is_old_host(const struct draft *d, int shard, int host)
{
    const struct draft_shard *ds = &d->shards[shard];

    return (ds->node >= 0 && ds->node == d->hosts[host].node) || ds->file_host == host;
}

/* How replicas get their data also depends on the server of their primary. */
static void forget_work(struct draft *d, int shard, int host)
{
    d->hosts[host].work_known = false;
    if (d->plan->shards[shard].primary >= 0)
        return;
    for (int r = d->shards[shard].first_replica; r >= 0; r = d->shards[r].next_replica)
        if (d->plan->shards[r].host >= 0)
            d->hosts[d->plan->shards[r].host].work_known = false;
}

static void account_for(struct draft *d, int shard, int host, int sign)
{
    const struct plan_shard *ps = &d->plan->shards[shard];
    struct plan_host *ph = &d->plan->hosts[host];
    struct draft_host *dh = &d->hosts[host];
    struct draft_database *db = &d->databases[ps->database];

    forget_work(d, shard, host);
    ph->planned_bytes += sign * ps->memory_bytes;
    ph->planned_disk_bytes += sign * ps->disk_bytes;
    ph->shard_count += (size_t)sign;
    if (dh->shares_memory)
        d->machine_memory_left[dh->machine] -= sign * ps->memory_bytes;
    if (dh->disk >= 0)
        d->disk_left[dh->disk] -= sign * ps->disk_bytes;
    if ((int)ps->database == d->database)
        dh->spread += (unsigned)sign;
    if (db->rack_limit && ps->primary < 0 && dh->rack >= 0)
        db->in_rack[dh->rack] += (unsigned)sign;
    if (d->shards[shard].fixed_port)
        ports_set(dh, d->shards[shard].fixed_port, sign > 0);
    if (ph->memory_bytes > 0)
        dh->free_part = (double)(ph->memory_bytes - ph->planned_bytes) / (double)ph->memory_bytes;
}

void rules_put(struct draft *d, int shard, int host)
{
    rules_put_back(d, shard, host, -1, d->hosts[host].first_shard);
}

void rules_remove(struct draft *d, int shard)
{
    struct draft_shard *ds = &d->shards[shard];
    int host = d->plan->shards[shard].host;

    if (ds->previous >= 0)
        d->shards[ds->previous].next = ds->next;
    else
        d->hosts[host].first_shard = ds->next;
    if (ds->next >= 0)
        d->shards[ds->next].previous = ds->previous;
    d->plan->shards[shard].host = -1;
    account_for(d, shard, host, -1);
}

void rules_put_back(struct draft *d, int shard, int host, int previous, int next)
{
    struct draft_shard *ds = &d->shards[shard];

    ds->previous = previous;
    ds->next = next;
    if (ds->previous >= 0)
        d->shards[ds->previous].next = shard;
    else
        d->hosts[host].first_shard = shard;
    if (ds->next >= 0)
        d->shards[ds->next].previous = shard;
    d->plan->shards[shard].host = host;
    account_for(d, shard, host, 1);
}

static enum refusal pair_refusal(
    const struct draft *d, const struct draft_shard *shard, int primary_host, int replica_host)
{
    const struct draft_host *p, *r;

    if (primary_host < 0 || replica_host < 0)
        return REFUSED_NOT;
    p = &d->hosts[primary_host];
    r = &d->hosts[replica_host];
    if (primary_host == replica_host)
        return REFUSED_SAME_HOST;
    /* The replica reads what the primary's server writes: files of its newest version. */
    if (!d->input->offline && !server_loads(r->valkey, r->rdb_version_max,
                                  server_writes_valkey(p->rdb_version_max), p->rdb_version_max))
        return REFUSED_PAIR_SERVER;
    if ((shard->apart && p->rack == r->rack) ||
        (shard->far_apart && p->second_rack == r->second_rack))
        return REFUSED_RACK;
    return REFUSED_NOT;
}

static void keep_worst(enum refusal refusal, int other, enum refusal *worst, int *ret_other)
{
    if (refusal != REFUSED_NOT && *ret_other < 0)
        *ret_other = other;
    if (refusal < *worst)
        *worst = refusal;
}

enum refusal rules_pair_refusal(const struct draft *d, int shard, int host, int *ret_other)
{
    const struct plan_shard *shards = d->plan->shards;
    const struct draft_shard *ds = &d->shards[shard];
    int primary = shards[shard].primary;
    enum refusal worst = REFUSED_NOT;

    *ret_other = -1;
    if (primary >= 0)
        keep_worst(pair_refusal(d, ds, shards[primary].host, host), primary, &worst, ret_other);
    int r = primary >= 0 ? d->shards[primary].first_replica : ds->first_replica;
    /* No refusal is harder than the same host. A hostile CCS file may have thousands. */
    for (; r >= 0 && worst != REFUSED_SAME_HOST; r = d->shards[r].next_replica) {
        enum refusal refusal = REFUSED_NOT;
        if (primary < 0)
            refusal = pair_refusal(d, ds, host, shards[r].host);
        else if (r != shard && shards[r].host == host)
            refusal = REFUSED_SAME_HOST;
        keep_worst(refusal, r, &worst, ret_other);
    }
    return worst;
}

static bool is_in(const int *numbers, int number)
{
    while (*numbers >= 0 && *numbers != number)
        numbers++;
    return *numbers >= 0;
}

static bool node_refused(const struct draft *d, size_t database, int host)
{
    const struct draft_database *db = &d->databases[database];
    int node = d->hosts[host].node;

    if (db->avoid && node >= 0 && is_in(db->avoid, node))
        return true;
    return db->use && (node < 0 || !is_in(db->use, node));
}

static const json_t *server_of(const struct draft *d, int host)
{
    return json_object_get(d->plan->hosts[host].facts, "server");
}

enum refusal rules_refusal(const struct draft *d, int shard, int host)
{
    const struct draft_shard *ds = &d->shards[shard];
    const struct plan_shard *ps = &d->plan->shards[shard];
    const struct draft_host *dh = &d->hosts[host];
    const struct draft_database *db = &d->databases[ps->database];
    int other;

    if (!dh->usable)
        return REFUSED_HOST;
    if (!server_loads(dh->valkey, dh->rdb_version_max, ds->valkey, ds->rdb_version))
        return REFUSED_SERVER;
    if (ds->modules && modules_lacked(d, shard, host))
        return REFUSED_MODULE;
    if (ds->databases && !json_flag(server_of(d, host), "cluster_databases"))
        return REFUSED_DATABASES;
    if ((db->avoid || db->use) && node_refused(d, ps->database, host))
        return REFUSED_NODE;
    enum refusal refusal = rules_pair_refusal(d, shard, host, &other);
    if (refusal != REFUSED_NOT)
        return refusal;
    /* A host whose rack is not known does not count as in another rack. */
    if ((ds->apart && dh->rack < 0) || (ds->far_apart && dh->second_rack < 0))
        return REFUSED_RACK;
    if (db->rack_limit && ps->primary < 0 && dh->rack >= 0 &&
        db->in_rack[dh->rack] >= db->rack_limit)
        return REFUSED_MAJORITY;
    if ((int64_t)d->plan->hosts[host].shard_count >= dh->max_shards)
        return REFUSED_COUNT;
    if (ds->fixed_port && ports_taken(dh, ds->fixed_port))
        return REFUSED_PORT;
    if (rules_disk_left(d, host) < ps->disk_bytes)
        return REFUSED_DISK;
    if (rules_memory_left(d, host) < ps->memory_bytes)
        return REFUSED_MEMORY;
    return REFUSED_NOT;
}

/* --- preparation --- */

/* How many different racks, of one of the two levels, the usable hosts name: 0 to `enough`. */
static int rack_count(struct draft *d, bool second, int enough)
{
    const json_t *names = second ? d->second_racks : d->racks;
    bool *seen = arena_alloc(&d->arena, json_object_size(names) + 1);
    int found = 0;

    for (size_t h = 0; h < d->plan->host_count && found < enough; h++) {
        int rack = second ? d->hosts[h].second_rack : d->hosts[h].rack;
        if (!d->hosts[h].usable || rack < 0 || seen[rack])
            continue;
        seen[rack] = true;
        found++;
    }
    return found;
}

static int *node_numbers(struct draft *d, const char *const *uids)
{
    size_t count = 0;

    while (uids && uids[count])
        count++;
    if (count == 0)
        return NULL;
    int *numbers = arena_alloc(&d->arena, (count + 1) * sizeof(*numbers));
    for (size_t i = 0; i < count; i++)
        numbers[i] = draft_number(d->nodes, uids[i]);
    numbers[count] = -1;
    return numbers;
}

static void warn_of_nodes(struct draft *d, const struct ccs_database *db)
{
    draft_warn(d,
        &(struct plan_issue){.code = "nodes",
            .database = db->label,
            .hint = "Say which host \"replaces\" which old node in the hosts file."},
        "use_nodes limits it to certain nodes, but no usable host replaces one of them: it may be "
        "placed on any host");
}

static void prepare_nodes(struct draft *d, size_t database)
{
    const struct ccs_database *db = d->plan->databases[database].database;
    struct draft_database *dd = &d->databases[database];
    bool possible = false;

    dd->avoid = node_numbers(d, db->avoid_nodes);
    dd->use = node_numbers(d, db->use_nodes);
    if (!dd->use)
        return;
    for (size_t h = 0; h < d->plan->host_count && !possible; h++)
        possible = d->hosts[h].usable && d->hosts[h].node >= 0 && is_in(dd->use, d->hosts[h].node);
    if (possible)
        return;
    dd->use = NULL;
    warn_of_nodes(d, db);
}

static void prepare_databases(struct draft *d, bool majorities, bool racks)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        const struct plan_database *db = &d->plan->databases[i];
        const char *placement = db->database->shards_placement;
        if (db->skipped)
            continue;
        d->databases[i].sparse = placement && strcmp(placement, "sparse") == 0;
        prepare_nodes(d, i);
        unsigned primaries = (unsigned)plan_primaries(d->plan, db);
        if (majorities && db->database->sharded && primaries > 1) {
            d->databases[i].rack_limit = primaries / 2;
            d->databases[i].in_rack = arena_alloc(
                &d->arena, json_object_size(d->racks) * sizeof(*d->databases[i].in_rack));
        }
        if (db->database->rack_aware && !racks)
            draft_warn(d,
                &(struct plan_issue){.code = "rack",
                    .database = db->database->label,
                    .hint = "Give each host its \"rack\" in the hosts file."},
                "is rack aware, but the usable hosts do not name two racks");
    }
}

void rules_prepare(struct draft *d)
{
    bool racks = rack_count(d, false, 2) == 2, second_racks = rack_count(d, true, 2) == 2;

    for (size_t s = 0; s < d->plan->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        struct draft_shard *ds = &d->shards[s];
        const struct ccs_database *db = d->plan->databases[shard->database].database;
        ds->first_replica = ds->next_replica = ds->next = ds->previous = -1;
        ds->node = draft_number(d->nodes, shard->shard->node_uid);
        /* For a primary with one whole file; replicas are on other hosts. */
        bool whole = shard->primary < 0 && shard->file;
        ds->file_host = draft_host_named(d, whole ? shard->file->host : NULL);
        if (shard->primary < 0) {
            ds->fixed_port = db->sharded ? 0 : ports_of_primary(d, shard);
            continue;
        }
        struct draft_shard *primary = &d->shards[shard->primary];
        ds->next_replica = primary->first_replica;
        primary->first_replica = (int)s;
        ds->apart = primary->apart = db->rack_aware && racks;
        ds->far_apart = primary->far_apart = db->rack_aware && second_racks;
    }
    prepare_databases(d, rack_count(d, false, 3) == 3, racks || second_racks);
}
