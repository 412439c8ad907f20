/* Ports of other hosts from which a host got no answer: what shards on both need of each other. */

#include <string.h>

#include "draft.h"

static bool is_silent(const struct draft *d, int from, int to, int port)
{
    const json_t *list = json_object_get(d->plan->hosts[from].facts, "silent"), *target;
    const char *addr = d->plan->hosts[to].host->addr;
    size_t i;

    json_array_foreach (list, i, target) {
        const char *its = json_string_value(json_object_get(target, "addr"));
        if (its && strcmp(its, addr) == 0 &&
            json_integer_value(json_object_get(target, "port")) == port)
            return true;
    }
    return false;
}

static void warn(struct draft *d, const struct plan_shard *to, int from, int port)
{
    const struct plan_database *db = &d->plan->databases[to->database];
    const char *its = d->plan->hosts[to->host].host->addr;
    const struct plan_issue issue = {.code = "port-silent",
        .database = db->database->label,
        .host = d->plan->hosts[from].host->name,
        .hint = arena_printf(&d->plan->arena,
            "Open TCP port %d of %s for '%s', and the ports of all nodes of this database for each other "
            "(a firewall, a security group).",
            port, its, d->plan->hosts[from].host->name)};

    draft_warn(d, &issue, "%s: host '%s' gets no answer from %s:%d, where shard:%s will listen%s",
        db->database->label, d->plan->hosts[from].host->name, its, port, to->shard->uid,
        port == to->bus_port ? " to its cluster" : "");
}

/* One pair of hosts and one port is enough to be told. */
static bool check(struct draft *d, const struct plan_database *db, int from)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *to = &d->plan->shards[s];
        const int ports[] = {to->port, to->bus_port};
        for (size_t p = 0; p < 2 && to->host >= 0 && to->host != from; p++)
            if (ports[p] && is_silent(d, from, to->host, ports[p])) {
                warn(d, to, from, ports[p]);
                return true;
            }
    }
    return false;
}

void silent_check(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        const struct plan_database *db = &d->plan->databases[i];
        for (size_t s = db->first_shard; !db->skipped && s < db->first_shard + db->shard_count;
             s++) {
            const struct plan_shard *from = &d->plan->shards[s];
            if (from->host >= 0 &&
                json_array_size(json_object_get(d->plan->hosts[from->host].facts, "silent")) &&
                check(d, db, from->host))
                break;
        }
    }
}
