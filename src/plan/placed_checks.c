/* What the probes found wrong with the hosts that have shards now. */

#include <stdlib.h>
#include <string.h>

#include "recluster/announced.h"
#include "steps.h"

enum {
    CLOCK_SKEW_MAX_MS = 5000,
    BUSY_LOAD_PER_CORE = 4,
    OWN_FILES = 32,                 /* of a server */
    NOFILE_MIN = 10000 + OWN_FILES, /* 10,000 clients are the servers' default */
};

/* --- folders with backups that hosts cannot read --- */

static bool fetches_from(const struct plan_shard *shard, size_t database, size_t host)
{
    if (shard->database != database || shard->host != (int)host)
        return false;
    for (size_t f = 0; f < shard->file_count; f++)
        if (!shard->files[f]->where)
            return true;
    return false;
}

static bool is_needed(const struct draft *d, size_t database, size_t host)
{
    for (size_t s = 0; s < d->plan->shard_count; s++)
        if (fetches_from(&d->plan->shards[s], database, host))
            return true;
    return false;
}

/* One of the admin's commands that run first may mount it. */
static bool may_come(const struct host *host)
{
    return json_count(host->spec, "prepare") > 0 ||
           json_is_string(json_object_get(host->spec, "prepare"));
}

static void check_location(struct draft *d, size_t database)
{
    const struct plan_database *db = &d->plan->databases[database];
    struct draft_names names = DRAFT_NAMES_INIT;
    const char *why = NULL;
    bool blocks = false;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        const json_t *unseen = json_object_get(d->plan->hosts[h].facts, "unseen");
        const json_t *error = json_object_get(json_object_get(unseen, db->database->uid), "error");
        if (!error || !is_needed(d, database, h))
            continue;
        draft_names_add(&names, "'%s'", d->plan->hosts[h].host->name);
        blocks |= !may_come(d->plan->hosts[h].host);
        why = why ? why : json_text(error, "message", NULL);
    }
    if (!names.count)
        return;
    const struct plan_issue issue = {.code = "location-unseen",
        .database = db->database->label,
        .hint = "Mount it there, or send the files through this machine: \"relay\": true for these "
                "hosts (or in \"defaults\") in the hosts file."};
    (blocks ? draft_block : draft_warn)(d, &issue,
        "cannot read the folder with its backups, '%s', on %s: %s",
        db->location_label ? db->location_label : "?", draft_names(d, &names), why ? why : "?");
}

static void check_locations(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++)
        if (!d->plan->databases[i].skipped)
            check_location(d, i);
}

/* --- ports of other hosts that a host cannot reach --- */

static bool is_silent(const struct draft *d, int from, int to, int port)
{
    const json_t *list = json_object_get(d->plan->hosts[from].facts, "silent"), *target;
    const char *addr = d->plan->hosts[to].host->announced;
    const int announced = announced_port(d->plan->hosts[to].host->spec, port);
    size_t i;

    json_array_foreach (list, i, target) {
        const char *its = json_text(target, "addr", NULL);
        if (its && strcmp(its, addr) == 0 && json_int(target, "port", 0) == announced)
            return true;
    }
    return false;
}

static void warn_of_silent_port(struct draft *d, const struct plan_shard *to, int from, int port)
{
    const struct plan_database *db = &d->plan->databases[to->database];
    const struct host *host = d->plan->hosts[to->host].host;
    const char *its = host->announced;
    const int seen = announced_port(host->spec, port);
    const struct plan_issue issue = {.code = "port-silent",
        .database = db->database->label,
        .host = d->plan->hosts[from].host->name,
        .hint = draft_text(d,
            "Open TCP port %d of %s for '%s', and the ports of all nodes of this database for "
            "each other (a firewall, a security group).",
            seen, its, d->plan->hosts[from].host->name)};

    draft_warn(d, &issue, "host '%s' gets no answer from %s:%d, where others reach shard:%s%s",
        d->plan->hosts[from].host->name, its, seen, to->shard->uid,
        port == to->bus_port ? " to its cluster" : "");
}

/* One warning is enough: the first silent port. */
static bool check_ports_from(struct draft *d, const struct plan_database *db, int from)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *to = &d->plan->shards[s];
        const int ports[] = {to->port, to->bus_port, to->other_port};
        for (size_t p = 0; p < ARRAY_SIZE(ports) && to->host >= 0; p++)
            if (ports[p] && is_silent(d, from, to->host, ports[p])) {
                warn_of_silent_port(d, to, from, ports[p]);
                return true;
            }
    }
    return false;
}

static void check_ports(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        const struct plan_database *db = &d->plan->databases[i];
        for (size_t s = db->first_shard; !db->skipped && s < db->first_shard + db->shard_count;
             s++) {
            const struct plan_shard *from = &d->plan->shards[s];
            if (from->host >= 0 && json_count(d->plan->hosts[from->host].facts, "silent") &&
                check_ports_from(d, db, from->host))
                break;
        }
    }
}

void placed_check(struct draft *d)
{
    check_locations(d);
    check_ports(d);
}

/* --- warnings --- */

enum finding {
    FOUND_OVERCOMMIT,
    FOUND_THP,
    FOUND_NOFILE,
    FOUND_CLOCK,
    FOUND_BUSY,
    FOUND_SERVERS,
    FOUND_ROOT,
    FOUND_NO_LINGER,
    FINDINGS
};

static const struct {
    const char *code, *message /* behind "hosts a, b: " */, *hint;
} finding_texts[FINDINGS] = {
    [FOUND_OVERCOMMIT] = {"overcommit",
        "memory overcommit is off or limited: a large server can fail to save or to sync its "
        "replica",
        "On each: sysctl vm.overcommit_memory=1 (and the same line in /etc/sysctl.conf)."},
    [FOUND_THP] = {"thp",
        "transparent huge pages are always on: saving will take more memory and time",
        "On each: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"},
    [FOUND_NOFILE] = {"nofile", "a process may open too few files for 10,000 clients",
        "On each, for the user of the servers: ulimit -n 65536 (or LimitNOFILE=65536)."},
    [FOUND_CLOCK] = {"clock",
        "the clock differs by more than 5 s from this machine's: keys would expire too early or "
        "too late",
        "On each: chronyc makestep (or: systemctl restart systemd-timesyncd)."},
    [FOUND_BUSY] = {"busy", "the machine is busy with something else: loading will take longer",
        "On each, see what it is: top"},
    [FOUND_SERVERS] = {"other-servers", "Redis or Valkey servers run there already and take memory",
        "On each, see what they are (pgrep -a 'redis|valkey'), and stop those not needed."},
    [FOUND_ROOT] = {"as-root",
        "the servers run as root: an attacker who takes over one controls the whole machine",
        "Give these hosts \"run_as\": \"redis\" (a user that they have) in the hosts file, or log "
        "in as such a user."},
    [FOUND_NO_LINGER] = {"no-linger",
        "systemd runs there, but not for this user without a login: servers will be plain "
        "daemons, which nothing starts again after a reboot",
        "On each, as root: loginctl enable-linger USER (or log in as root)."},
};

static bool fact_is(const json_t *facts, const char *name, const char *text)
{
    const char *found = json_text(facts, name, NULL);

    return found && strcmp(found, text) == 0;
}

static void find_in_facts(const struct plan_host *host, int64_t now_ms, bool found[FINDINGS])
{
    const json_t *facts = host->facts;
    /* The skew at the moment of the probe; without it, that of the clock. */
    json_int_t skew_ms = json_int(facts, "clock_skew_ms", 0);
    int64_t clock_ms = fact_number(facts, "clock_ms", now_ms);
    bool skew_known = json_object_get(facts, "clock_skew_ms") != NULL;
    double load = json_number(facts, "load1", 0);

    found[FOUND_OVERCOMMIT] = fact_number(facts, "overcommit", 1) != 1; /* 2 is strict */
    found[FOUND_THP] = fact_is(facts, "thp", "always");
    found[FOUND_NOFILE] = fact_number(facts, "nofile", NOFILE_MIN) < NOFILE_MIN;
    found[FOUND_CLOCK] = llabs(skew_known ? skew_ms : clock_ms - now_ms) > CLOCK_SKEW_MAX_MS;
    found[FOUND_BUSY] = load > (double)(BUSY_LOAD_PER_CORE * fact_number(facts, "cores", 1));
    found[FOUND_SERVERS] = json_count(facts, "servers") > 0;
    found[FOUND_ROOT] =
        fact_number(facts, "uid", 1) == 0 && !json_object_get(host->host->spec, "run_as");
    found[FOUND_NO_LINGER] = fact_is(facts, "supervisor", "none, no linger");
}

/* One warning for each finding, with all hosts that have it. */
static void warn_of_facts(struct draft *d)
{
    struct draft_names names[FINDINGS];
    const char *host_names[FINDINGS] = {0};
    bool found[FINDINGS];

    for (int f = 0; f < FINDINGS; f++)
        names[f] = (struct draft_names)DRAFT_NAMES_INIT;
    for (size_t i = 0; i < d->plan->host_count; i++) {
        const struct plan_host *host = &d->plan->hosts[i];
        if (host->shard_count == 0)
            continue;
        find_in_facts(host, d->input->now_ms, found);
        for (int f = 0; f < FINDINGS; f++)
            if (found[f]) {
                draft_names_add(&names[f], "'%s'", host->host->name);
                host_names[f] = host->host->name;
            }
    }
    for (int f = 0; f < FINDINGS; f++) {
        bool one = names[f].count == 1;
        const struct plan_issue issue = {.code = finding_texts[f].code,
            .host = one ? host_names[f] : NULL,
            .hint = finding_texts[f].hint};
        if (names[f].count > 0)
            draft_warn(d, &issue, "host%s %s: %s", one ? "" : "s", draft_names(d, &names[f]),
                finding_texts[f].message);
    }
}

/* Only more than the default: of less, the finding "nofile" tells. */
static void warn_of_clients(struct draft *d, const struct plan_database *db)
{
    const int64_t files = db->database->max_clients + OWN_FILES;
    struct draft_names names = DRAFT_NAMES_INIT;
    int64_t least = files;

    if (files <= NOFILE_MIN)
        return;
    AUTO_FREE bool *told = xcalloc(d->plan->host_count + 1, sizeof(*told));
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        int h = d->plan->shards[s].host;
        int64_t here = h < 0 ? files : fact_number(d->plan->hosts[h].facts, "nofile", files);
        if (here >= files || told[h])
            continue;
        told[h] = true;
        draft_names_add(&names, "'%s'", d->plan->hosts[h].host->name);
        least = here < least ? here : least;
    }
    const struct plan_issue issue = {.code = "max-clients",
        .database = db->database->label,
        .hint = draft_text(d,
            "On each, for the user of the servers: allow %lld open files (nofile of limits.conf).",
            (long long)files)};
    if (names.count)
        draft_warn(d, &issue,
            "host%s %s: a server can serve %lld clients at a time, not %lld as before, because a "
            "process may open too few files",
            names.count == 1 ? "" : "s", draft_names(d, &names),
            (long long)(least > OWN_FILES ? least - OWN_FILES : 0),
            (long long)db->database->max_clients);
    buf_release(&names.text);
}

/* Why a host has no rate of its own; NULL: it has one, or was not asked. */
static const char *unmeasured(const json_t *facts, const char *what)
{
    const json_t *all = json_object_get(facts, "measured");
    const json_t *error = json_object_get(all, "error");

    if (!error)
        error = json_object_get(json_object_get(all, what), "error");
    return error ? json_text(error, "message", NULL) : NULL;
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
                .hint = "Fine for a rehearsal. Otherwise offer hosts on separate machines."},
            "%s %s on the same machine as %s: one failure hits both", draft_names(d, &names),
            one ? "is" : "are", one ? "its primary" : "their primaries");
}

void placed_warn(struct draft *d)
{
    warn_of_facts(d);
    for (size_t i = 0; i < d->plan->database_count; i++)
        if (!d->plan->databases[i].skipped)
            warn_of_clients(d, &d->plan->databases[i]);
    warn_of_one_machine(d);
    warn_of_unmeasured(d, "disk", "disk");
    warn_of_unmeasured(d, "network", "way to the backups");
}
