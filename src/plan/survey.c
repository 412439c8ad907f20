/* What the probes found: which hosts can be used, what they hold, what is amiss with them. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "draft.h"
#include "recluster/human.h"

enum {
    MIB = 1 << 20,
    MEMORY_RESERVE_MIN_MIB = 256,
    /* Clients are kept out of an unproven database by ACLs: Redis 6, whose RDB version is 5's. */
    SERVER_MAJOR_MIN = 6,
    CLOCK_SKEW_MAX_MS = 5000,
    BUSY_LOAD_PER_CORE = 4,
    NOFILE_MIN = 10032, /* 10,000 clients, the servers' default, and 32 files of its own */
};

static int64_t fact(const json_t *facts, const char *name, int64_t unknown)
{
    const json_t *value = json_object_get(facts, name);

    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
                                                                    : unknown;
}

static const char *fact_text(const json_t *facts, const char *name)
{
    return json_string_value(json_object_get(facts, name));
}

/* After the warning that says why. */
static void exclude(struct draft *d, size_t host)
{
    d->hosts[host].usable = false;
    d->hosts[host].exclusion = d->plan->warning_count - 1;
}

/* The hosts that an option keeps out, in one warning. */
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
    const char *hint = in->error && in->error->hint[0]
                           ? arena_strdup(&d->plan->arena, in->error->hint)
                           : "Mend it, or take it out of the hosts file.";

    if (in->facts || !d->hosts[i].usable)
        return;
    draft_warn(d,
        &(struct plan_issue){.code = "host-unreachable", .host = in->host->name, .hint = hint},
        "host '%s' is not used: %s", in->host->name,
        in->error ? in->error->message : "it was not reached");
    exclude(d, i);
}

static void check_server(struct draft *d, size_t i)
{
    const struct host *host = d->input->hosts[i].host;
    const json_t *server = json_object_get(d->input->hosts[i].facts, "server");
    const json_t *error = json_object_get(server, "error");
    const char *kind = fact_text(server, "kind"), *version = fact_text(server, "version");
    struct plan_issue issue = {.code = "server-missing", .host = host->name};

    if (!d->hosts[i].usable)
        return;
    issue.hint = fact_text(error, "hint")
                     ? fact_text(error, "hint")
                     : "Install redis-server or valkey-server there, or name the program with "
                       "\"server\" in the hosts file.";
    d->hosts[i].rdb_version_max = plan_rdb_version_max(kind, version);
    d->hosts[i].valkey = kind && strcmp(kind, "valkey") == 0;
    if (error || !kind || !version) {
        const char *message = fact_text(error, "message");
        draft_warn(d, &issue, "host '%s' is not used: it has no server '%s'%s%s", host->name,
            host->server, message ? ": " : "", message ? message : "");
    } else if (d->hosts[i].rdb_version_max == 0) {
        draft_warn(d, &issue, "host '%s' is not used: its server, %s %s, is not known", host->name,
            kind, version);
    } else if (atoi(version) < SERVER_MAJOR_MIN) {
        issue.code = "server-too-old";
        draft_warn(d, &issue,
            "host '%s' is not used: its server, %s %s, is older than 6.0 and can't keep clients "
            "out of an unproven database",
            host->name, kind, version);
    } else {
        return;
    }
    exclude(d, i);
}

/* Of an earlier recovery, whatever became of it. */
static void warn_of_leftovers(struct draft *d, size_t i, const json_t *base_dir)
{
    const struct host *host = d->input->hosts[i].host;
    const char *recovery = fact_text(base_dir, "recovery");
    const char *who = fact_text(base_dir, "operator"), *since = fact_text(base_dir, "since");

    draft_warn(d,
        &(struct plan_issue){.code = "base-dir-foreign",
            .host = host->name,
            .hint =
                "Go on with that recovery (recluster recover --state FILE), remove what it left "
                "(recluster abort --state FILE), or name an empty folder with \"base_dir\" in "
                "the hosts file."},
        "host '%s' is not used: its folder '%s' belongs to another recovery (%s%s%s%s%s)",
        host->name, host->base_dir, recovery ? recovery : "unknown", who ? " of " : "",
        who ? who : "", since ? " since " : "", since ? since : "");
}

static void check_place(struct draft *d, size_t i)
{
    const struct host *host = d->input->hosts[i].host;
    const json_t *facts = d->input->hosts[i].facts;
    const json_t *base_dir = json_object_get(facts, "base_dir");
    const char *state = fact_text(base_dir, "state"), *detail = fact_text(base_dir, "detail");
    const json_t *holder = json_object_get(base_dir, "locked_by");
    const char *who = fact_text(holder, "operator"), *since = fact_text(holder, "since");

    if (!d->hosts[i].usable)
        return;
    if (holder) {
        draft_warn(d,
            &(struct plan_issue){.code = "host-locked",
                .host = host->name,
                .hint = "Wait for that run to end, or stop it."},
            "host '%s' is not used: its folder '%s' is locked by %s%s%s", host->name,
            host->base_dir, who ? who : "another run", since ? " since " : "", since ? since : "");
        exclude(d, i);
    } else if (state && strcmp(state, "foreign") == 0) {
        draft_warn(d,
            &(struct plan_issue){.code = "base-dir-foreign",
                .host = host->name,
                .hint =
                    "Name an empty folder with \"base_dir\" in the hosts file, or move away what "
                    "is in it."},
            "host '%s' is not used: its folder '%s' is not empty%s%s%s", host->name, host->base_dir,
            detail ? " (" : "", detail ? detail : "", detail ? ")" : "");
        exclude(d, i);
    } else if (state && strcmp(state, "unsafe") == 0) {
        draft_warn(d,
            &(struct plan_issue){
                .code = "base-dir-unsafe", .host = host->name, .hint = fact_text(base_dir, "hint")},
            "host '%s' is not used: %s", host->name, detail ? detail : "its folder is not safe");
        exclude(d, i);
    } else if (state && strcmp(state, "recovery") == 0) {
        warn_of_leftovers(d, i, base_dir);
        exclude(d, i);
    } else if (json_is_false(json_object_get(facts, "addr_local"))) {
        draft_warn(d,
            &(struct plan_issue){.code = "addr-not-local",
                .host = host->name,
                .hint =
                    "Servers listen on \"addr\" of the hosts file: give one that the host has."},
            "host '%s' is not used: it does not have the address %s", host->name, host->addr);
        exclude(d, i);
    }
}

/* Two entries for one machine are fine, with a folder each. */
static void check_shared_folder(struct draft *d, size_t i, json_t *folders)
{
    const struct host *host = d->input->hosts[i].host;

    if (!d->hosts[i].usable || d->hosts[i].machine < 0)
        return;
    char *key = xasprintf("%d %s", d->hosts[i].machine, host->base_dir);
    int known = (int)json_object_size(folders);
    if (draft_number(folders, key) < known) {
        draft_warn(d,
            &(struct plan_issue){.code = "base-dir-shared",
                .host = host->name,
                .hint = "Give each host its own \"base_dir\" in the hosts file."},
            "host '%s' is not used: its folder '%s' is also that of another host on the same "
            "machine",
            host->name, host->base_dir);
        exclude(d, i);
    }
    free(key);
}

/* The old node that the host stands for; NULL: none. */
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

static void check_memory_known(struct draft *d, size_t i)
{
    const struct host *host = d->input->hosts[i].host;

    if (d->plan->hosts[i].memory_bytes > 0)
        return;
    draft_warn(d,
        &(struct plan_issue){.code = "memory-unknown",
            .host = host->name,
            .hint = "Offline, the hosts file must say it: \"memory\": \"64G\"."},
        "host '%s' is not used: its memory is not known", host->name);
    exclude(d, i);
}

static void read_memory(struct draft *d, size_t i)
{
    const struct plan_host_input *in = &d->input->hosts[i];
    struct plan_host *host = &d->plan->hosts[i];
    struct draft_host *dh = &d->hosts[i];
    int64_t available = fact(in->facts, "memory_available", INT64_MAX);

    host->memory_bytes = in->host->memory_bytes;
    if (in->host->memory_bytes < 0 && d->input->offline) {
        const struct ccs_node *node = old_node(d, i);
        host->memory_bytes = node ? without_reserve(node->memory_bytes) : 0;
        check_memory_known(d, i);
    } else if (in->host->memory_bytes < 0) {
        host->memory_bytes = without_reserve(fact(in->facts, "memory_available", 0));
        dh->shares_memory = dh->machine >= 0;
    } else if (in->host->memory_bytes > available) {
        draft_warn(d,
            &(struct plan_issue){.code = "memory-over-available", .host = host->host->name},
            "host '%s': the hosts file allows %s of memory, but %s are available there",
            host->host->name, draft_bytes(d, in->host->memory_bytes), draft_bytes(d, available));
    }
    if (dh->shares_memory) {
        /* The hosts of one machine were probed a moment apart: the least counts. */
        int64_t *left = &d->machine_memory_left[dh->machine];
        if (*left < 0 || host->memory_bytes < *left)
            *left = host->memory_bytes;
    }
}

/* Hosts of one machine whose file systems are of one size are taken to share it. */
static void read_disk(struct draft *d, size_t i)
{
    const json_t *facts = d->input->hosts[i].facts;
    int64_t *free_bytes = &d->plan->hosts[i].disk_free_bytes;

    *free_bytes = fact(facts, "disk_free", -1);
    int64_t here = *free_bytes, cap = d->input->hosts[i].host->disk_bytes;
    if (cap >= 0 && (here < 0 || cap < here))
        *free_bytes = cap;
    if (here < 0 || d->hosts[i].machine < 0)
        return;
    char *key = xasprintf("%d %" PRId64, d->hosts[i].machine, fact(facts, "disk_total", -1));
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

    ph->cores = host->cores > 0 ? host->cores : fact(d->input->hosts[i].facts, "cores", 1);
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
    double rate = json_number_value(json_object_get(found, how));

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

/* What is stopped before anything else frees its port. */
static void free_fenced(struct draft *d, size_t i)
{
    const json_t *address;
    size_t n;

    json_array_foreach (d->input->alive, n, address) {
        const char *addr = fact_text(address, "addr");
        int64_t port = fact(address, "port", 0);
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

    d->hosts[i].ports = arena_alloc(&d->plan->arena, (PORT_MAX + 1) / 8);
    json_array_foreach (listening, n, port) {
        if (json_integer_value(port) > 0 && json_integer_value(port) <= PORT_MAX)
            ports_set(&d->hosts[i], (int)json_integer_value(port), true);
    }
    free_fenced(d, i);
}

void survey_hosts(struct draft *d)
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
        dh->usable = true;
        dh->rack = draft_number(d->racks, in->host->rack);
        dh->second_rack = draft_number(d->second_racks, in->host->second_rack);
        dh->node = draft_number(d->nodes, in->host->replaces);
        dh->machine = draft_number(d->machines, fact_text(in->facts, "machine"));
        dh->disk = dh->first_shard = dh->ported_database = -1;
        read_counts(d, i);
        if (in->without)
            dh->usable = false;
        if (!d->input->offline) {
            check_reached(d, i);
            check_server(d, i);
            check_place(d, i);
            check_shared_folder(d, i, folders);
        }
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

static bool overcommit_off(const struct draft *d, const json_t *facts)
{
    (void)d;
    return fact(facts, "overcommit", 1) != 1; /* 2 is strict */
}

static bool thp_always(const struct draft *d, const json_t *facts)
{
    const char *thp = fact_text(facts, "thp");

    (void)d;
    return thp && strcmp(thp, "always") == 0;
}

static bool nofile_low(const struct draft *d, const json_t *facts)
{
    (void)d;
    return fact(facts, "nofile", NOFILE_MIN) < NOFILE_MIN;
}

static bool clock_off(const struct draft *d, const json_t *facts)
{
    const json_t *skew = json_object_get(facts, "clock_skew_ms"); /* at the moment of the probe */
    int64_t clock_ms = fact(facts, "clock_ms", d->input->now_ms);

    if (skew)
        return llabs(json_integer_value(skew)) > CLOCK_SKEW_MAX_MS;
    return llabs(clock_ms - d->input->now_ms) > CLOCK_SKEW_MAX_MS;
}

static bool is_busy(const struct draft *d, const json_t *facts)
{
    (void)d;
    return json_number_value(json_object_get(facts, "load1")) >
           (double)(BUSY_LOAD_PER_CORE * fact(facts, "cores", 1));
}

static bool has_servers(const struct draft *d, const json_t *facts)
{
    (void)d;
    return json_array_size(json_object_get(facts, "servers")) > 0;
}

static bool lacks_linger(const struct draft *d, const json_t *facts)
{
    const char *supervisor = fact_text(facts, "supervisor");
    (void)d;
    return supervisor && strcmp(supervisor, "none, no linger") == 0;
}

static bool run_as_root(const struct draft *d, const json_t *facts)
{
    for (size_t i = 0; i < d->plan->host_count; i++)
        if (d->plan->hosts[i].facts == facts &&
            json_object_get(d->plan->hosts[i].host->spec, "run_as"))
            return false;
    return fact(facts, "uid", 1) == 0;
}

static const struct {
    const char *code;
    bool (*is_so)(const struct draft *d, const json_t *facts);
    const char *message; /* behind "hosts a, b: " */
    const char *hint;
} checks[] = {
    {"overcommit", overcommit_off,
        "memory overcommit is off or limited: a large server can fail to save or to sync its replica",
        "On each: sysctl vm.overcommit_memory=1 (and the same line in /etc/sysctl.conf)."},
    {"thp", thp_always,
        "transparent huge pages are always on: saving will take more memory and time",
        "On each: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"},
    {"nofile", nofile_low, "a process may open too few files for 10,000 clients",
        "On each, for the user of the servers: ulimit -n 65536 (or LimitNOFILE=65536)."},
    {"clock", clock_off,
        "the clock differs by more than 5 s from this machine's: keys would expire "
        "too early or too late",
        "On each: chronyc makestep (or: systemctl restart systemd-timesyncd)."},
    {"busy", is_busy, "the machine is busy with something else: loading will take longer",
        "See on each what it is: top"},
    {"other-servers", has_servers, "Redis or Valkey servers run there already and take memory",
        "See on each what they are (pgrep -a 'redis|valkey'), and stop those that need not be."},
    {"as-root", run_as_root,
        "the servers run as root: one that is taken over has the whole machine",
        "Give these hosts \"run_as\": \"redis\" (a user of theirs) in the hosts file, or log in as such a "
        "user."},
    {"no-linger", lacks_linger,
        "systemd runs there, but not for this user without a login: servers will be plain daemons, "
        "which nothing starts again after a reboot",
        "On each, as root: loginctl enable-linger USER (or log in as root)."},
};

/* One warning a finding, however many hosts it is true of. */
static void warn_of_facts(struct draft *d)
{
    for (size_t c = 0; c < ARRAY_SIZE(checks); c++) {
        struct draft_names names = DRAFT_NAMES_INIT;
        struct plan_issue issue = {.code = checks[c].code, .hint = checks[c].hint};
        for (size_t i = 0; i < d->plan->host_count; i++) {
            const struct plan_host *host = &d->plan->hosts[i];
            if (host->shard_count == 0 || !checks[c].is_so(d, host->facts))
                continue;
            draft_names_add(&names, "'%s'", host->host->name);
            issue.host = names.count == 1 ? host->host->name : NULL;
        }
        const char *what = names.count == 1 ? "host" : "hosts";
        if (names.count > 0)
            draft_warn(d, &issue, "%s %s: %s", what, draft_names(d, &names), checks[c].message);
    }
}

/* Why a host has no rate of its own; NULL: it has, or wasn't asked. */
static const char *unmeasured(const json_t *facts, const char *what)
{
    const json_t *all = json_object_get(facts, "measured");
    const json_t *error = json_object_get(all, "error");

    if (!error)
        error = json_object_get(json_object_get(all, what), "error");
    return error ? fact_text(error, "message") : NULL;
}

static void warn_of_unmeasured(struct draft *d, const char *what, const char *name)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    const char *why = NULL;

    for (size_t i = 0; i < d->plan->host_count; i++) {
        const char *here = unmeasured(d->plan->hosts[i].facts, what);
        if (!d->plan->hosts[i].usable || !here)
            continue;
        draft_names_add(&names, "'%s'", d->plan->hosts[i].host->name);
        why = why ? why : here;
    }
    bool one = names.count == 1;
    if (names.count > 0)
        draft_warn(d,
            &(struct plan_issue){.code = "not-measured",
                .hint = "The plan's times use rates that were not measured there."},
            "host%s %s: the %s could not be measured: %s", one ? "" : "s", draft_names(d, &names),
            name, why);
}

static void warn_of_one_machine(struct draft *d)
{
    struct draft_names names = DRAFT_NAMES_INIT;

    for (size_t s = 0; s < d->plan->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        int at = shard->primary >= 0 ? d->plan->shards[shard->primary].host : -1;
        if (at >= 0 && shard->host >= 0 && d->hosts[at].machine >= 0 &&
            d->hosts[at].machine == d->hosts[shard->host].machine)
            draft_names_add(&names, "shard:%s", shard->shard->uid);
    }
    bool one = names.count == 1;
    if (names.count > 0)
        draft_warn(d,
            &(struct plan_issue){.code = "same-machine",
                .hint = "Fine for a rehearsal; else offer hosts that are machines of their own."},
            "%s %s on the same machine as %s: it fails with both", draft_names(d, &names),
            one ? "is" : "are", one ? "its primary" : "their primaries");
}

/* What clients will notice. */
void survey_warnings(struct draft *d)
{
    warn_of_facts(d);
    warn_of_one_machine(d);
    warn_of_unmeasured(d, "disk", "disk");
    warn_of_unmeasured(d, "network", "way to the backups");
}
