/* What the probes found: which hosts can be used, and what they have. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/human.h"
#include "steps.h"

enum {
    MIB = 1 << 20,
    MEMORY_RESERVE_MIN_MIB = 256,
    /* The first with ACLs, which keep clients out of an unproven database. */
    SERVER_MAJOR_MIN = 6,
};

/* Excludes the host with a warning; `issue` has its code and hint. */
static void exclude(struct draft *d, size_t i, struct plan_issue issue, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void exclude(struct draft *d, size_t i, struct plan_issue issue, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *why = xvasprintf(fmt, args);
    va_end(args);
    issue.host = d->input->hosts[i].host->name;
    d->hosts[i].usable = false;
    d->hosts[i].exclusion = d->plan->warning_count;
    draft_warn(d, &issue, "host '%s' is not used: %s", issue.host, why);
}

/* One warning for each value of --without that excludes hosts. */
static void warn_of_options(struct draft *d)
{
    const struct plan_host_input *hosts = d->input->hosts;

    for (size_t i = 0; i < d->input->host_count; i++) {
        struct draft_names names = DRAFT_NAMES_INIT;
        bool first = hosts[i].without != NULL;
        for (size_t k = 0; k < i && first; k++)
            first = !hosts[k].without || strcmp(hosts[k].without, hosts[i].without) != 0;
        for (size_t k = i; k < d->input->host_count && first; k++)
            if (hosts[k].without && strcmp(hosts[k].without, hosts[i].without) == 0)
                draft_names_add(&names, "'%s'", hosts[k].host->name);
        if (names.count > 0)
            draft_warn(d, &(struct plan_issue){.code = "left-out"}, "%s: not used (--without %s)",
                draft_names(d, &names), hosts[i].without);
    }
}

static void check_reached(struct draft *d, size_t i)
{
    const struct plan_host_input *in = &d->input->hosts[i];
    struct plan_issue issue = {.code = "host-unreachable"};

    if (in->facts)
        return;
    issue.hint = in->error && in->error->hint[0] ? arena_strdup(&d->plan->arena, in->error->hint)
                                                 : "Fix it, or remove it from the hosts file.";
    exclude(d, i, issue, "%s", in->error ? in->error->message : "it was not reached");
}

static void check_server(struct draft *d, size_t i)
{
    const json_t *server = json_object_get(d->input->hosts[i].facts, "server");
    const json_t *error = json_object_get(server, "error");
    const char *kind = json_text(server, "kind", NULL);
    const char *version = json_text(server, "version", NULL);
    const char *message = json_text(error, "message", NULL), *hint = json_text(error, "hint", NULL);
    struct plan_issue issue = {.code = "server-missing", .hint = hint};

    if (!hint)
        issue.hint =
            "Install redis-server or valkey-server there, or name the program with \"server\" in "
            "the hosts file.";
    d->hosts[i].rdb_version_max = plan_rdb_version_max(kind, version);
    d->hosts[i].valkey = kind && strcmp(kind, "valkey") == 0;
    if (error || !kind || !version) {
        exclude(d, i, issue, "it has no server '%s'%s%s", d->input->hosts[i].host->server,
            message ? ": " : "", message ? message : "");
    } else if (d->hosts[i].rdb_version_max == 0) {
        exclude(d, i, issue, "its server, %s %s, is not known", kind, version);
    } else if (atoi(version) < SERVER_MAJOR_MIN) {
        issue.code = "server-too-old";
        exclude(d, i, issue,
            "its server, %s %s, is older than 6.0 and cannot keep clients out of an unproven "
            "database",
            kind, version);
    }
}

/* The folder belongs to an earlier recovery. */
static void exclude_leftovers(struct draft *d, size_t i, const json_t *base_dir)
{
    const char *recovery = json_text(base_dir, "recovery", NULL);
    const char *who = json_text(base_dir, "operator", NULL);
    const char *since = json_text(base_dir, "since", NULL);

    exclude(d, i,
        (struct plan_issue){.code = "base-dir-foreign",
            .hint =
                "Resume that recovery (recluster recover --state FILE), remove what it left "
                "(recluster abort --state FILE), or name an empty folder with \"base_dir\" in the "
                "hosts file."},
        "its folder '%s' belongs to another recovery (%s%s%s%s%s)",
        d->input->hosts[i].host->base_dir, recovery ? recovery : "unknown", who ? " of " : "",
        who ? who : "", since ? " since " : "", since ? since : "");
}

static void check_place(struct draft *d, size_t i)
{
    const struct host *host = d->input->hosts[i].host;
    const json_t *facts = d->input->hosts[i].facts;
    const json_t *base_dir = json_object_get(facts, "base_dir");
    const char *state = json_text(base_dir, "state", NULL);
    const char *detail = json_text(base_dir, "detail", NULL);
    const json_t *holder = json_object_get(base_dir, "locked_by");
    const char *who = json_text(holder, "operator", NULL);
    const char *since = json_text(holder, "since", NULL);
    struct plan_issue issue = {.code = "base-dir-foreign"};

    if (holder) {
        issue.code = "host-locked";
        issue.hint = "Wait for that run to end, or stop it.";
        exclude(d, i, issue, "its folder '%s' is locked by %s%s%s", host->base_dir,
            who ? who : "another run", since ? " since " : "", since ? since : "");
    } else if (state && strcmp(state, "foreign") == 0) {
        issue.hint =
            "Name an empty folder with \"base_dir\" in the hosts file, or move away what is in it.";
        exclude(d, i, issue, "its folder '%s' is not empty%s%s%s", host->base_dir,
            detail ? " (" : "", detail ? detail : "", detail ? ")" : "");
    } else if (state && strcmp(state, "unsafe") == 0) {
        issue.code = "base-dir-unsafe";
        issue.hint = json_text(base_dir, "hint", NULL);
        exclude(d, i, issue, "%s", detail ? detail : "its folder is not safe");
    } else if (state && strcmp(state, "recovery") == 0) {
        exclude_leftovers(d, i, base_dir);
    } else if (json_is_false(json_object_get(facts, "addr_local"))) {
        issue.code = "addr-not-local";
        issue.hint = "Servers listen on \"addr\" of the hosts file: give one that the host has.";
        exclude(d, i, issue, "it does not have the address %s", host->addr);
    }
}

/* Two hosts on one machine need two folders. */
static void check_shared_folder(struct draft *d, size_t i, json_t *folders)
{
    const char *base_dir = d->input->hosts[i].host->base_dir;

    if (d->hosts[i].machine < 0)
        return;
    AUTO_FREE char *key = xasprintf("%d %s", d->hosts[i].machine, base_dir);
    int known = (int)json_object_size(folders);
    if (draft_number(folders, key) < known)
        exclude(d, i,
            (struct plan_issue){.code = "base-dir-shared",
                .hint = "Give each host its own \"base_dir\" in the hosts file."},
            "its folder '%s' is also that of another host on the same machine", base_dir);
}

/* The old node that the host replaces; NULL: none. */
static const struct ccs_node *old_node(const struct draft *d, size_t i)
{
    const struct ccs *ccs = d->input->ccs;
    const char *uid = d->input->hosts[i].host->replaces;

    for (size_t n = 0; uid && n < ccs->node_count; n++)
        if (strcmp(ccs->nodes[n].uid, uid) == 0)
            return &ccs->nodes[n];
    return NULL;
}

static int64_t without_reserve(int64_t available)
{
    int64_t reserve = available / 10;

    if (reserve < (int64_t)MEMORY_RESERVE_MIN_MIB * MIB)
        reserve = (int64_t)MEMORY_RESERVE_MIN_MIB * MIB;
    return available > reserve ? available - reserve : 0;
}

static void read_memory(struct draft *d, size_t i)
{
    const struct plan_host_input *in = &d->input->hosts[i];
    struct plan_host *host = &d->plan->hosts[i];
    struct draft_host *dh = &d->hosts[i];
    int64_t available = fact_number(in->facts, "memory_available", INT64_MAX);

    host->memory_bytes = in->host->memory_bytes;
    if (in->host->memory_bytes < 0 && d->input->offline) {
        const struct ccs_node *node = old_node(d, i);
        host->memory_bytes = node ? without_reserve(node->memory_bytes) : 0;
        if (host->memory_bytes <= 0)
            exclude(d, i,
                (struct plan_issue){.code = "memory-unknown",
                    .hint = "Offline, the hosts file must say it: \"memory\": \"64G\"."},
                "its memory is not known");
    } else if (in->host->memory_bytes < 0) {
        host->memory_bytes = without_reserve(fact_number(in->facts, "memory_available", 0));
        dh->shares_memory = dh->machine >= 0;
    } else if (in->host->memory_bytes > available) {
        draft_warn(d,
            &(struct plan_issue){.code = "memory-over-available", .host = host->host->name},
            "host '%s': the hosts file allows %s of memory, but %s are available there",
            host->host->name, draft_bytes(d, in->host->memory_bytes), draft_bytes(d, available));
    }
    if (dh->shares_memory) {
        /* Hosts on one machine were probed one after the other: the lowest figure counts. */
        int64_t *left = &d->machine_memory_left[dh->machine];
        if (*left < 0 || host->memory_bytes < *left)
            *left = host->memory_bytes;
    }
}

/* Hosts on one machine share a file system if theirs have the same size. */
static void read_disk(struct draft *d, size_t i)
{
    const json_t *facts = d->input->hosts[i].facts;
    int64_t *free_bytes = &d->plan->hosts[i].disk_free_bytes;

    *free_bytes = fact_number(facts, "disk_free", -1);
    int64_t here = *free_bytes, cap = d->input->hosts[i].host->disk_bytes;
    if (cap >= 0 && (here < 0 || cap < here))
        *free_bytes = cap;
    if (here < 0 || d->hosts[i].machine < 0)
        return;
    char *key = xasprintf("%d %" PRId64, d->hosts[i].machine, fact_number(facts, "disk_total", -1));
    d->hosts[i].disk = draft_number(d->disks, key);
    free(key);
    int64_t *left = &d->disk_left[d->hosts[i].disk];
    if (*left < 0 || here < *left)
        *left = here;
}

static void read_counts(struct draft *d, size_t i)
{
    const struct host *host = d->input->hosts[i].host;
    const struct ccs_node *node = old_node(d, i);
    struct plan_host *ph = &d->plan->hosts[i];

    ph->cores = host->cores > 0 ? host->cores : fact_number(d->input->hosts[i].facts, "cores", 1);
    if (ph->cores < 1)
        ph->cores = 1;
    d->hosts[i].max_shards = INT64_MAX;
    if (host->max_shards > 0)
        d->hosts[i].max_shards = host->max_shards;
    else if (node && node->max_shards > 0)
        d->hosts[i].max_shards = node->max_shards;
}

static double measured(const json_t *facts, const char *what, const char *how)
{
    const json_t *found = json_object_get(json_object_get(facts, "measured"), what);
    double rate = json_number(found, how, 0);

    return rate >= 1 ? rate : 0;
}

static void read_rates(struct draft *d, size_t i)
{
    const json_t *facts = d->input->hosts[i].facts;
    struct plan_host *host = &d->plan->hosts[i];

    host->network = measured(facts, "network", "read");
    host->disk_write = measured(facts, "disk", "write");
    host->disk_read = measured(facts, "disk", "read");
}

/* Servers that will be stopped first free their ports. */
static void free_fenced(struct draft *d, size_t i)
{
    const json_t *address;
    size_t n;

    json_array_foreach (d->input->alive, n, address) {
        const char *addr = json_text(address, "addr", NULL);
        int64_t port = fact_number(address, "port", 0);
        if (json_object_get(address, "server") && addr && port <= PORT_MAX &&
            strcmp(addr, d->input->hosts[i].host->addr) == 0)
            ports_set(&d->hosts[i], (int)port, false);
    }
}

static void read_ports(struct draft *d, size_t i)
{
    const json_t *listening = json_object_get(d->input->hosts[i].facts, "listening");
    const json_t *port;
    size_t n;

    d->hosts[i].ports = arena_alloc(&d->arena, (PORT_MAX + 1) / 8);
    json_array_foreach (listening, n, port) {
        if (json_integer_value(port) > 0 && json_integer_value(port) <= PORT_MAX)
            ports_set(&d->hosts[i], (int)json_integer_value(port), true);
    }
    free_fenced(d, i);
}

/* The first fault found excludes the host. */
static void check_probe(struct draft *d, size_t i, json_t *folders)
{
    check_reached(d, i);
    if (d->hosts[i].usable)
        check_server(d, i);
    if (d->hosts[i].usable)
        check_place(d, i);
    if (d->hosts[i].usable)
        check_shared_folder(d, i, folders);
}

void host_checks_run(struct draft *d)
{
    json_t *folders = json_object();

    warn_of_options(d);
    for (size_t i = 0; i < d->input->host_count; i++) {
        const struct plan_host_input *in = &d->input->hosts[i];
        struct draft_host *dh = &d->hosts[i];
        d->plan->hosts[i].host = in->host;
        d->plan->hosts[i].facts = in->facts;
        d->plan->hosts[i].disk_free_bytes = -1;
        d->machine_memory_left[i] = d->disk_left[i] = -1;
        draft_number(d->host_names, in->host->name);
        dh->usable = !in->without;
        dh->rack = draft_number(d->racks, in->host->rack);
        dh->second_rack = draft_number(d->second_racks, in->host->second_rack);
        dh->node = draft_number(d->nodes, in->host->replaces);
        dh->machine = draft_number(d->machines, json_text(in->facts, "machine", NULL));
        dh->disk = dh->first_shard = dh->ported_database = -1;
        read_counts(d, i);
        if (dh->usable && !d->input->offline)
            check_probe(d, i, folders);
        if (dh->usable)
            read_memory(d, i);
        read_ports(d, i);
        if (!dh->usable)
            continue;
        read_disk(d, i);
        read_rates(d, i);
        dh->free_part = d->plan->hosts[i].memory_bytes > 0 ? 1 : 0;
        d->plan->hosts[i].usable = true;
    }
    json_decref(folders);
}
