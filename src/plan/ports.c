/* Which port each server listens on. */

#include <string.h>

#include "steps.h"

enum {
    PORT_FIRST = 21000,
    PORT_LAST = 22767,
    BUS_PORT_OFFSET = 10000,
    BUS_PORT_FIRST = PORT_FIRST + BUS_PORT_OFFSET,
    BUS_PORT_LAST = PORT_LAST + BUS_PORT_OFFSET,
};

bool ports_taken(const struct draft_host *host, int port)
{
    return host->ports[port / 64] >> (port % 64) & 1;
}

void ports_set(struct draft_host *host, int port, bool taken)
{
    uint64_t bit = (uint64_t)1 << (port % 64);

    if (taken)
        host->ports[port / 64] |= bit;
    else
        host->ports[port / 64] &= ~bit;
}

static bool is_port(int port)
{
    return port > 0 && port <= PORT_MAX;
}

int ports_endpoint(const struct draft *d, const struct ccs_database *database)
{
    const struct ccs_endpoint *endpoints = d->input->ccs->endpoints + database->first_endpoint;

    for (size_t i = 0; i < database->endpoint_count; i++)
        if (is_port(endpoints[i].port))
            return endpoints[i].port;
    return is_port(database->port) ? database->port : 0;
}

/* The wanted port if it is free, else the first free one of the pool; 0: none is free. */
static int take_port(struct draft_host *host, int wanted, int first, int last)
{
    int port = wanted;

    if (!is_port(wanted) || ports_taken(host, wanted))
        for (port = first; port <= last && ports_taken(host, port);)
            port++;
    if (port != wanted && port > last)
        return 0;
    ports_set(host, port, true);
    return port;
}

/* Where TLS is lost, its servers keep the port without it. */
static int old_port(const struct plan_database *db, const struct ccs_shard *shard)
{
    bool plain_was_other = db->database->tls_inside && shard->other_port;

    return db->database->tls_mixed && !db->tls && plain_was_other ? shard->other_port : shard->port;
}

/*
 * That the primary of a database which is not sharded must have. If its endpoint was one of its two
 * ports, the one that it has first now; where TLS is lost, the one without it.
 */
int ports_of_primary(const struct draft *d, const struct plan_shard *primary)
{
    const struct plan_database *db = &d->plan->databases[primary->database];
    const struct ccs_shard *shard = primary->shard;
    int port = ports_endpoint(d, db->database);

    return shard->other_port && (port == shard->port || port == shard->other_port)
               ? old_port(db, shard)
               : port;
}

/* Clients knew the shards themselves, not a proxy before them. */
static bool had_clients(const struct draft *d, const struct ccs_database *database)
{
    const char *format = d->input->ccs->format;
    return database->settings || (format && strcmp(format, "nodes.json") == 0);
}

static int wanted_port(struct draft *d, const struct plan_shard *shard)
{
    struct draft_host *host = &d->hosts[shard->host];
    const struct plan_database *db = &d->plan->databases[shard->database];
    const int own = had_clients(d, db->database) ? old_port(db, shard->shard) : 0;

    if (is_port(own) && !ports_taken(host, own)) {
        host->ported_database = (int)shard->database;
        return own;
    }
    if (!db->database->sharded)
        return shard->primary >= 0 ? d->plan->shards[shard->primary].port : 0;
    if (host->ported_database == (int)shard->database)
        return 0;
    host->ported_database = (int)shard->database;
    return ports_endpoint(d, db->database);
}

/* The port of an earlier plan; 0: it is in use now. */
static int pinned_port(struct draft *d, size_t s, const char *which)
{
    struct draft_host *host = &d->hosts[d->plan->shards[s].host];
    json_int_t port = json_int(d->shards[s].pin, which, 0);

    if (port < 1 || port > PORT_MAX || ports_taken(host, (int)port))
        return 0;
    ports_set(host, (int)port, true);
    return (int)port;
}

static void block_port(struct draft *d, size_t s)
{
    const struct plan_shard *shard = &d->plan->shards[s];
    const char *name = d->plan->hosts[shard->host].host->name;
    struct plan_issue issue = {.code = "port",
        .database = d->plan->databases[shard->database].database->label,
        .host = name,
        .hint = "Offer more hosts."};

    if (d->shards[s].stays) {
        issue.code = "plan-changed";
        issue.hint = "Make a new plan.";
        draft_block(d, &issue, "the port that was planned for shard:%s on host '%s' is taken",
            shard->shard->uid, name);
        return;
    }
    draft_block(d, &issue, "host '%s' has no free port for shard:%s (%d to %d, and 10,000 above)",
        name, shard->shard->uid, PORT_FIRST, PORT_LAST);
}

/* Clients know the port that it should have. */
static void warn_of_port(struct draft *d, const struct plan_shard *shard, int wanted, int given)
{
    const char *name = d->plan->hosts[shard->host].host->name;
    const char *label = d->plan->databases[shard->database].database->label;
    const struct plan_issue issue = {.code = "port-taken",
        .database = label,
        .host = name,
        .hint = draft_text(d,
            "Stop what listens there (ss -ltnp 'sport = :%d' shows it), or tell the clients the "
            "new port.",
            wanted)};

    draft_warn(d, &issue, "its port %d is taken on host '%s': shard:%s gets %d there", wanted, name,
        shard->shard->uid, given);
}

static int choose_port(struct draft *d, size_t s)
{
    struct plan_shard *shard = &d->plan->shards[s];

    if (d->shards[s].stays)
        return pinned_port(d, s, "port");
    int wanted = wanted_port(d, shard);
    shard->port = take_port(&d->hosts[shard->host], wanted, PORT_FIRST, PORT_LAST);
    if (is_port(wanted) && shard->port && shard->port != wanted)
        warn_of_port(d, shard, wanted, shard->port);
    return shard->port;
}

/* An earlier plan that has none was carried out without it. */
static int choose_other_port(struct draft *d, size_t s)
{
    struct plan_shard *shard = &d->plan->shards[s];
    int wanted = shard->shard->other_port;

    if (d->shards[s].stays)
        return pinned_port(d, s, "other_port");
    if (!is_port(wanted) && shard->primary >= 0)
        wanted = d->plan->shards[shard->primary].other_port;
    shard->other_port = take_port(&d->hosts[shard->host], wanted, PORT_FIRST, PORT_LAST);
    if (is_port(wanted) && shard->other_port && shard->other_port != wanted)
        warn_of_port(d, shard, wanted, shard->other_port);
    return shard->other_port;
}

static int choose_bus_port(struct draft *d, size_t s)
{
    const struct plan_shard *shard = &d->plan->shards[s];
    int wanted = shard->shard->bus_port;

    if (d->shards[s].stays)
        return pinned_port(d, s, "bus_port");
    return take_port(&d->hosts[shard->host], wanted ? wanted : shard->port + BUS_PORT_OFFSET,
        BUS_PORT_FIRST, BUS_PORT_LAST);
}

static bool needs_other_port(const struct draft *d, size_t s)
{
    bool planned_without = d->shards[s].stays && !json_int(d->shards[s].pin, "other_port", 0);

    return d->plan->databases[d->plan->shards[s].database].tls_mixed && !planned_without;
}

static void assign_ports(struct draft *d, size_t s)
{
    struct plan_shard *shard = &d->plan->shards[s];
    const struct ccs_database *database = d->plan->databases[shard->database].database;

    shard->port = d->shards[s].fixed_port; /* reserved when it was placed */
    if (shard->port == 0)
        shard->port = choose_port(d, s);
    if (needs_other_port(d, s))
        shard->other_port = choose_other_port(d, s);
    if (database->sharded)
        shard->bus_port = choose_bus_port(d, s);
    if (shard->port == 0 || (database->sharded && shard->bus_port == 0) ||
        (needs_other_port(d, s) && shard->other_port == 0))
        block_port(d, s);
}

void ports_assign(struct draft *d)
{
    /* First the ports that an earlier plan fixed. */
    for (int pinned = 1; pinned >= 0; pinned--)
        for (size_t s = 0; s < d->plan->shard_count; s++)
            if (d->plan->shards[s].host >= 0 && d->shards[s].stays == (pinned == 1))
                assign_ports(d, s);
}
