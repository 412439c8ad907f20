/* Where the Sentinels of a database run, beside its servers. */

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "steps.h"

enum { SENTINELS_MIN = 3, SENTINEL_PORT = 26379 };

static bool has_replicas(const struct draft *d, const struct plan_database *db)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (d->plan->shards[s].primary >= 0)
            return true;
    return false;
}

static bool has_shards_of(const struct draft *d, const struct plan_database *db, int host)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (d->plan->shards[s].host == host)
            return true;
    return false;
}

static bool is_taken(const struct plan_database *db, int host)
{
    for (size_t i = 0; i < db->sentinel_count; i++)
        if (db->sentinels[i].host == host)
            return true;
    return false;
}

/* Its servers speak TLS: all their hosts have certificates. */
static bool uses_tls(const struct draft *d, const struct plan_database *db)
{
    bool all = db->database->tls;

    for (size_t s = db->first_shard; all && s < db->first_shard + db->shard_count; s++)
        all = d->plan->shards[s].host >= 0 && d->plan->hosts[d->plan->shards[s].host].host->has_tls;
    return all;
}

static bool can_run(const struct draft *d, const struct plan_database *db, int host)
{
    return d->hosts[host].usable && !is_taken(db, host) &&
           (!uses_tls(d, db) || d->plan->hosts[host].host->has_tls);
}

static bool is_apart(const struct draft *d, const struct plan_database *db, int host, bool by_rack)
{
    int own = by_rack ? d->hosts[host].rack : d->hosts[host].machine;

    for (size_t i = 0; i < db->sentinel_count; i++) {
        const struct draft_host *other = &d->hosts[db->sentinels[i].host];
        if (own >= 0 && own == (by_rack ? other->rack : other->machine))
            return false;
    }
    return true;
}

static int wanted_port(const struct plan_database *db)
{
    int before = db->database->sentinels->port;
    return before ? before : SENTINEL_PORT;
}

/* The first of the best hosts; -1: none is left. */
static int best_host(const struct draft *d, const struct plan_database *db)
{
    int best = -1, best_points = -1;

    for (int h = 0; h < (int)d->plan->host_count; h++) {
        if (!can_run(d, db, h))
            continue;
        int points = 8 * is_apart(d, db, h, true) + 4 * is_apart(d, db, h, false) +
                     2 * !ports_taken(&d->hosts[h], wanted_port(db)) + has_shards_of(d, db, h);
        if (points > best_points) {
            best = h;
            best_points = points;
        }
    }
    return best;
}

static void add(struct draft *d, struct plan_database *db, int host, int port)
{
    AUTO_FREE char *uid = path_component(db->database->uid);

    ports_set(&d->hosts[host], port, true);
    db->sentinels[db->sentinel_count++] = (struct plan_sentinel){
        .host = host, .port = port, .dir = draft_text(d, "db-%s/sentinel", uid)};
}

static void add_with_port(struct draft *d, struct plan_database *db, int host)
{
    const char *name = d->plan->hosts[host].host->name;
    int wanted = wanted_port(db), port = wanted;

    while (port <= PORT_MAX && ports_taken(&d->hosts[host], port))
        port++;
    if (port > PORT_MAX)
        return;
    if (port != wanted)
        draft_warn(d,
            &(struct plan_issue){.code = "sentinel-port",
                .database = db->database->label,
                .host = name,
                .hint = "Tell the clients that ask Sentinels the new port."},
            "the port %d of its Sentinels is taken on host '%s': the Sentinel there gets %d",
            wanted, name, port);
    add(d, db, host, port);
}

/* Those of an earlier plan. In a recovery that is under way they may run already. */
static void keep_places(struct draft *d, struct plan_database *db)
{
    const json_t *before = plan_json_database(d->input->pinned, db->database->uid), *place;
    bool pinned = d->input->mode == PLAN_PINNED;
    size_t i;

    json_array_foreach (json_object_get(before, "sentinels"), i, place) {
        const char *name = json_text(place, "host", "");
        int host = draft_host_named(d, name), port = (int)json_int(place, "port", 0);
        bool known = host >= 0 && port > 0 && port <= PORT_MAX && can_run(d, db, host);
        if (known && (!pinned || !ports_taken(&d->hosts[host], port)))
            add(d, db, host, port);
        else if (pinned)
            draft_block(d,
                &(struct plan_issue){.code = "plan-changed",
                    .database = db->database->label,
                    .hint = "Make a new plan."},
                "the Sentinel that was planned on host '%s' cannot listen there on port %d", name,
                port);
    }
}

static void place(struct draft *d, struct plan_database *db)
{
    const struct ccs_sentinels *before = db->database->sentinels;
    size_t wanted = before->count > SENTINELS_MIN ? before->count : SENTINELS_MIN;
    int host;

    if (wanted > d->plan->host_count)
        wanted = d->plan->host_count;
    db->sentinels =
        arena_alloc(&d->plan->arena, (d->plan->host_count + 1) * sizeof(*db->sentinels));
    if (d->input->pinned)
        keep_places(d, db);
    if (d->input->mode != PLAN_PINNED)
        while (db->sentinel_count < wanted && (host = best_host(d, db)) >= 0) {
            size_t count = db->sentinel_count;
            add_with_port(d, db, host);
            if (db->sentinel_count == count)
                break;
        }
    int64_t majority = (int64_t)db->sentinel_count / 2 + 1;
    db->sentinel_quorum = before->quorum ? before->quorum : majority;
    if (db->sentinel_quorum > (int64_t)db->sentinel_count)
        db->sentinel_quorum = (int64_t)db->sentinel_count;
    if (db->sentinel_count < SENTINELS_MIN)
        draft_warn(d,
            &(struct plan_issue){.code = "sentinels-few",
                .database = db->database->label,
                .hint = "Offer three hosts that can be used, in different racks."},
            "it gets %zu %s, so a replica may not take over when a host fails", db->sentinel_count,
            db->sentinel_count == 1 ? "Sentinel" : "Sentinels");
}

/* `capture` finds Sentinels only if it is given the address of one. */
static void warn_of_none(struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    const bool captured = database->settings != NULL;

    if (!captured || database->sharded || database->no_sentinels || !has_replicas(d, db))
        return;
    draft_warn(d,
        &(struct plan_issue){.code = "sentinels-unknown",
            .database = database->label,
            .hint = draft_text(d,
                "Write in the hosts file: \"databases\": {\"%s\": {\"sentinel\": true}}. To do "
                "without Sentinels, write false there.",
                database->label)},
        "the CCS file has no Sentinels of it: no replica takes over when the primary fails");
}

/* Sentinels never choose a replica of priority 0. A server's own setting comes before that of all. */
static bool may_take_over(const struct draft *d, const struct plan_database *db)
{
    const char *of_all = json_text(db->database->settings, "replica-priority", "100");

    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        if (shard->primary >= 0 &&
            strcmp(json_text(shard->shard->settings, "replica-priority", of_all), "0") != 0)
            return true;
    }
    return false;
}

/* Never wider than before: an unknown password is replaced by a new one. */
static void warn_of_login(struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;

    if (!db->sentinel_count || !database->sentinels->needed_login || database->sentinels->password)
        return;
    draft_warn(d,
        &(struct plan_issue){.code = "sentinel-login-lost",
            .database = database->label,
            .hint = draft_text(d,
                "To read it, once there is a state file: sqlite3 FILE \"SELECT value FROM secret "
                "WHERE place = 'target.sentinels_own_password' AND id = '%s'\". To choose it, write "
                "in the hosts file: \"databases\": {\"%s\": {\"sentinel\": {\"password\": "
                "{\"file\": PATH}}}}.",
                database->uid, database->label)},
        "its Sentinels needed a login that the CCS file does not have: the new ones get a new "
        "random password");
}

static void decide_proof(struct draft *d, struct plan_database *db)
{
    if (!json_flag(d->input->options, "prove_failover"))
        return;
    bool never = db->sentinel_count > 0 && !may_take_over(d, db);
    db->prove_failover = db->sentinel_count > 0 && !never;
    if (never)
        draft_warn(d,
            &(struct plan_issue){.code = "failover-not-proven",
                .database = db->database->label,
                .hint =
                    "To let them take over, afterwards: CONFIG SET replica-priority 100, CONFIG "
                    "REWRITE."},
            "no failover is forced before it is opened, because its replicas have the setting "
            "replica-priority 0: Sentinels never choose them");
    else if (!db->prove_failover)
        draft_warn(d,
            &(struct plan_issue){.code = "failover-not-proven",
                .database = db->database->label,
                .hint = db->database->sharded
                            ? "To try one afterwards: CLUSTER FAILOVER, at a replica."
                            : "Only Sentinels that the plan places can prove it."},
            db->database->sharded
                ? "no failover is forced before it is opened: the nodes of a cluster watch each other"
                : "no failover is forced before it is opened, because it gets no Sentinels");
}

void sentinels_place(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        struct plan_database *db = &d->plan->databases[i];
        if (db->skipped)
            continue;
        if (!db->database->sentinels)
            warn_of_none(d, db);
        else if (db->database->sharded)
            draft_warn(d,
                &(struct plan_issue){.code = "sentinels-none", .database = db->database->label},
                "it gets no Sentinels, because the nodes of a cluster watch each other");
        else if (has_replicas(d, db))
            place(d, db);
        else
            draft_warn(d,
                &(struct plan_issue){.code = "sentinels-none", .database = db->database->label},
                "it gets no Sentinels, because it has no replica that could take over");
        warn_of_login(d, db);
        decide_proof(d, db);
    }
}
