/* Why shards found no place: one blocker for each database and reason. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "steps.h"

/* The shards without a place for one reason: of a database, or for space of all databases. */
struct refused {
    const struct plan_database *db; /* the first one, of space in several */
    size_t databases;
    enum refusal reason;
    struct draft_names names;
    int64_t memory, disk;                 /* that they need in all */
    int64_t largest_memory, largest_disk; /* of one of them */
    int first;                            /* of the shards */
};

/* The reason of the host that fails at the last rule: it is nearest to taking the shard. */
static enum refusal farthest(const struct draft *d, int shard)
{
    enum refusal reason = REFUSED_HOST;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        enum refusal refusal = rules_refusal(d, shard, (int)h);
        if (refusal > reason)
            reason = refusal;
    }
    return reason;
}

/* The hosts that are refused for that reason: "'a1', 'a2' and 3 more". */
static const char *hosts_of(struct draft *d, const struct refused *r)
{
    struct draft_names names = DRAFT_NAMES_INIT;

    for (size_t h = 0; h < d->plan->host_count; h++)
        if (rules_refusal(d, r->first, (int)h) == r->reason)
            draft_names_add(&names, "'%s'", d->plan->hosts[h].host->name);
    return draft_names(d, &names);
}

/* The file with the newest RDB version, which requires the newest server. */
static const struct backup_file *newest_file(const struct plan_shard *shard)
{
    const struct backup_file *newest = NULL;
    json_int_t newest_version = -1;

    for (size_t f = 0; f < shard->file_count; f++) {
        const json_t *facts = file_facts(shard->files[f]);
        json_int_t version = json_int(facts, "rdb_version", 0);
        if (version <= newest_version)
            continue;
        newest = shard->files[f];
        newest_version = version;
    }
    return newest;
}

static void block_server(struct draft *d, const struct refused *r, const char *names)
{
    const struct backup_file *file = newest_file(&d->plan->shards[r->first]);
    const struct draft_shard *ds = &d->shards[r->first];
    struct draft_names servers = DRAFT_NAMES_INIT;
    struct plan_issue issue = {.database = r->db->database->label};

    for (size_t h = 0; h < d->plan->host_count; h++) {
        const json_t *server = json_object_get(d->plan->hosts[h].facts, "server");
        if (d->hosts[h].usable)
            draft_names_add(&servers, "%s %s on '%s'", json_text(server, "kind", NULL),
                json_text(server, "version", NULL), d->plan->hosts[h].host->name);
    }
    const char *have = draft_names(d, &servers);
    if (ds->valkey) {
        issue.code = "valkey-file";
        issue.hint =
            "Install valkey-server 9.0 or newer on a host, and name it with \"server\" in the "
            "hosts file.";
        draft_block(d, &issue,
            "'%s' (%s) was written by Valkey 9 or newer, and no host has such a server: %s",
            file->name, names, have);
    } else {
        issue.code = "server-too-old";
        issue.hint =
            "On a host, install a server that is as new as the one that wrote the file, and name "
            "it with \"server\" in the hosts file.";
        draft_block(d, &issue, "'%s' (%s) has RDB version %d, which no host's server loads: %s",
            file->name, names, ds->rdb_version, have);
    }
}

static void block_databases(struct draft *d, const struct refused *r)
{
    const struct plan_shard *ps = &d->plan->shards[r->first];
    const struct plan_issue issue = {.database = r->db->database->label,
        .code = "keys-outside-db0",
        .hint =
            "Name a server of Valkey 9.0 or later with \"server\" in the hosts file, whose "
            "clusters can have several databases. Or take these keys out of the file, or restore "
            "it into a single server."};

    for (size_t f = 0; f < ps->file_count; f++) {
        const struct backup_file *file = ps->files[f];
        json_int_t keys;
        const char *number = file_other_database(file, &keys);
        if (!number)
            continue;
        draft_block(d, &issue,
            "'%s' holds %" JSON_INTEGER_FORMAT
            " keys in database %s, and clusters of these hosts' servers have only database 0: %s",
            file->where ? file->where : file->name, keys, number, hosts_of(d, r));
        return;
    }
}

/* Rules whose message names the shards and, for some, the hosts, and nothing else. */
static void block_rule(struct draft *d, const struct refused *r, const char *names)
{
    static const struct {
        const char *code, *before, *behind; /* the names of the shards */
        bool hosts;                         /* named then */
        const char *end, *hint;
    } texts[REFUSED_NOT + 1] = {
        [REFUSED_NODE] = {"nodes", "by avoid_nodes and use_nodes, none of the hosts may have ", "",
            false, "",
            "Offer a host that \"replaces\" a node it may be on, or hosts that replace none."},
        [REFUSED_SAME_HOST] = {"not-enough-hosts", "",
            " cannot be on the host of its own primary or replica, and no other host can be used",
            false, "", "Add a host to the hosts file."},
        [REFUSED_PAIR_SERVER] = {"server-too-old",
            "no other host's server reads what the server of the primary of ", " writes", false, "",
            "Install the same server version on all hosts."},
        [REFUSED_RACK] = {"rack", "no host is in another rack than the primary or replica of ", "",
            false, "",
            "Offer hosts in another rack, or hosts whose \"rack\" the hosts file names."},
        [REFUSED_MAJORITY] = {"rack-majority", "the only hosts with a place for ",
            " are in a rack that would then have more than half of its primaries: ", true, "",
            "Offer more memory in the other racks."},
        [REFUSED_COUNT] = {"max-redis-servers", "no place for ", ": ", true,
            " have as many servers as they may have",
            "Add a host, or raise \"max_redis_servers\" in the hosts file."},
        /* A host became free after the shard was tried, which should not happen. */
        [REFUSED_NOT] = {"not-enough-hosts", "no place was found for ", "", false, "",
            "Add a host to the hosts file."},
    };
    /* The host with the module has no place. */
    bool other = r->reason == REFUSED_HOST || r->reason == REFUSED_MODULE;
    enum refusal why = other ? REFUSED_NOT : r->reason;

    draft_block(d,
        &(struct plan_issue){
            .code = texts[why].code, .database = r->db->database->label, .hint = texts[why].hint},
        "%s%s%s%s%s", texts[why].before, names, texts[why].behind,
        texts[why].hosts ? hosts_of(d, r) : "", texts[why].end);
}

static void block_port(struct draft *d, const struct refused *r)
{
    int port = d->shards[r->first].fixed_port;
    struct plan_issue issue = {.code = "port", .database = r->db->database->label};

    for (size_t h = 0; h < d->plan->host_count && !issue.host; h++)
        if (rules_refusal(d, r->first, (int)h) == REFUSED_PORT)
            issue.host = d->plan->hosts[h].host->name;
    issue.hint = draft_text(
        d, "Stop what listens there (ss -ltnp 'sport = :%d' shows it), or add a host.", port);
    draft_block(d, &issue, "its port %d is taken on %s", port, hosts_of(d, r));
}

static int64_t space_left(const struct draft *d, int host, bool memory)
{
    return memory ? rules_memory_left(d, host) : rules_disk_left(d, host);
}

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

/* What all the hosts have left; what a machine or file system has for several hosts counts once. */
static int64_t left_in_all(const struct draft *d, bool memory)
{
    int64_t sum = 0;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        bool shares = memory ? d->hosts[h].shares_memory : d->hosts[h].disk >= 0;
        int64_t here = space_left(d, (int)h, memory);
        if (d->hosts[h].usable && !shares && here < INT64_MAX) /* else it is not known */
            sum += at_least_0(here);
        sum += at_least_0(memory ? d->machine_memory_left[h] : d->disk_left[h]);
    }
    return sum;
}

static void block_space(struct draft *d, const struct refused *r, const char *names)
{
    bool memory = r->reason == REFUSED_MEMORY;
    int64_t need = memory ? r->memory : r->disk;
    int64_t left = left_in_all(d, memory);
    int64_t largest = memory ? r->largest_memory : r->largest_disk;
    int64_t most = 0;
    const char *most_host = NULL;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        if (rules_refusal(d, r->first, (int)h) != r->reason)
            continue;
        int64_t here = space_left(d, (int)h, memory);
        if (!most_host || here > most) {
            most = at_least_0(here);
            most_host = d->plan->hosts[h].host->name;
        }
    }
    int64_t missing = need > left ? need - left : largest - most;
    struct plan_issue issue = {.code = memory ? "memory" : "disk"};
    issue.database = r->databases == 1 ? r->db->database->label : NULL;
    issue.hint = draft_text(d,
        memory ? "Offer a host with %s more memory, or raise \"memory\" in the hosts file."
               : "Offer hosts with %s more disk, or a \"base_dir\" on a larger file system.",
        draft_bytes(d, at_least_0(missing)));
    /* There may be room, but in pieces that are too small. */
    const char *lacks = need > left ? "are missing" : "more are needed on one of them";
    draft_block(d, &issue,
        "no %s for %s: %s needed; the hosts have %s left, and none more than %s ('%s'): %s %s",
        memory ? "memory" : "disk space", names, draft_bytes(d, need), draft_bytes(d, left),
        draft_bytes(d, most), most_host ? most_host : "", draft_bytes(d, at_least_0(missing)),
        lacks);
}

static void block_reason(struct draft *d, struct refused *r)
{
    const char *names = draft_names(d, &r->names);

    switch (r->reason) {
    case REFUSED_SERVER:
        block_server(d, r, names);
        break;
    case REFUSED_DATABASES:
        block_databases(d, r);
        break;
    case REFUSED_PORT:
        block_port(d, r);
        break;
    case REFUSED_DISK:
    case REFUSED_MEMORY:
        block_space(d, r, names);
        break;
    case REFUSED_HOST:
    case REFUSED_MODULE:
    case REFUSED_NODE:
    case REFUSED_SAME_HOST:
    case REFUSED_PAIR_SERVER:
    case REFUSED_RACK:
    case REFUSED_MAJORITY:
    case REFUSED_COUNT:
    case REFUSED_NOT:
        block_rule(d, r, names);
        break;
    }
}

/* Adds the shards of a database that have no place to the reasons why; one reason each. */
static void collect_unplaced(
    struct draft *d, const struct plan_database *db, struct refused *reasons)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        if (shard->host >= 0)
            continue;
        /* A replica without its primary has the reason of the primary. */
        bool orphan = shard->primary >= 0 && d->plan->shards[shard->primary].host < 0;
        struct refused *r = &reasons[farthest(d, orphan ? shard->primary : (int)s)];
        draft_names_add(&r->names, "shard:%s", shard->shard->uid);
        r->memory += shard->memory_bytes;
        r->disk += shard->disk_bytes;
        if (r->first < 0)
            r->first = (int)s;
        if (r->db != db)
            r->databases++;
        if (!r->db)
            r->db = db;
        if (shard->memory_bytes > r->largest_memory)
            r->largest_memory = shard->memory_bytes;
        if (shard->disk_bytes > r->largest_disk)
            r->largest_disk = shard->disk_bytes;
    }
}

static void start_reasons(struct refused reasons[REFUSED_NOT + 1], bool also_space)
{
    for (int i = 0; i <= REFUSED_NOT; i++)
        if (also_space || (i != REFUSED_MEMORY && i != REFUSED_DISK))
            reasons[i] =
                (struct refused){.reason = (enum refusal)i, .names = DRAFT_NAMES_INIT, .first = -1};
}

static void block_all(struct draft *d, struct refused reasons[REFUSED_NOT + 1], bool also_space)
{
    for (int i = 0; i <= REFUSED_NOT; i++)
        if (reasons[i].names.count > 0 &&
            (also_space || (i != REFUSED_MEMORY && i != REFUSED_DISK)))
            block_reason(d, &reasons[i]);
}

void refusal_report_database(struct draft *d, const struct plan_database *db)
{
    struct refused reasons[REFUSED_NOT + 1];

    start_reasons(reasons, true);
    collect_unplaced(d, db, reasons);
    block_all(d, reasons, true);
}

/* Missing space is reported for all databases together. */
static void report_all(struct draft *d)
{
    struct refused reasons[REFUSED_NOT + 1];

    start_reasons(reasons, true);
    for (size_t i = 0; i < d->plan->database_count; i++) {
        if (d->plan->databases[i].skipped)
            continue;
        collect_unplaced(d, &d->plan->databases[i], reasons);
        block_all(d, reasons, false);
        start_reasons(reasons, false);
    }
    if (reasons[REFUSED_DISK].names.count > 0)
        block_reason(d, &reasons[REFUSED_DISK]);
    if (reasons[REFUSED_MEMORY].names.count > 0)
        block_reason(d, &reasons[REFUSED_MEMORY]);
}

void refusal_report(struct draft *d)
{
    const struct plan *plan = d->plan;
    size_t usable = 0;

    /* Of pinned shards, pins.c has said why. */
    if (d->input->mode == PLAN_PINNED || plan_is_placed(plan))
        return;
    for (size_t h = 0; h < plan->host_count; h++)
        usable += d->hosts[h].usable;
    if (usable == 0)
        draft_block(d,
            &(struct plan_issue){.code = "not-enough-hosts",
                .hint = "Fix or replace the hosts; the reason is given for each."},
            "none of the %zu hosts can be used", plan->host_count);
    else
        report_all(d);
    /* The unusable hosts, if they are fixed, might be enough. */
    for (size_t h = 0; h < plan->host_count; h++)
        if (!d->hosts[h].usable && !d->input->hosts[h].without) {
            const struct plan_issue *why = &plan->warnings[d->hosts[h].exclusion];
            draft_block(d, why, "%s", why->message);
        }
}
