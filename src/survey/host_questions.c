/* The calls that probe a host: what it has, and whether it fits the backups. */

#include "questions.h"
#include "recluster/announced.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/store.h"

const struct backup_set *chosen_set(const struct plan_database_input *in)
{
    const struct catalogue *catalogue = in->catalogue;

    return catalogue && catalogue->chosen >= 0 ? &catalogue->sets[catalogue->chosen] : NULL;
}

static void add_types(const struct backup_set *set, json_t *types)
{
    const json_t *type;
    size_t k;

    for (size_t i = 0; i < set->file_count; i++) {
        const struct backup_file *file = &set->files[i];
        const json_t *facts = file->scanned && file->facts ? file->facts : file->head;
        json_array_foreach (json_object_get(facts, "modules"), k, type) {
            json_object_set_new(types, json_string_value(type), json_true());
        }
    }
}

/* The module types that the files of the chosen sets use, without duplicates. */
static json_t *module_types(const struct survey *survey)
{
    json_t *types = json_object(), *names = json_array(), *ignored;
    const char *name;

    for (size_t i = 0; i < survey->database_count; i++) {
        const struct backup_set *set = chosen_set(&survey->databases[i]);
        if (set)
            add_types(set, types);
    }
    json_object_foreach (types, name, ignored) {
        json_array_append_new(names, json_string(name));
    }
    json_decref(types);
    return names;
}

/* A few files tell whether the host has another folder mounted there. */
static json_t *folder_to_see(const struct plan_database_input *in, const struct backup_set *set)
{
    enum { FILES_MAX = 100 };
    json_t *names = json_array();

    for (size_t i = 0; i < set->file_count && i < FILES_MAX; i++)
        json_array_append_new(names, json_string(set->files[i].name));
    return json_pack("{s:O, s:o}", "location", in->location, "names", names);
}

/* A folder of the operator's machine is on a host only if it is mounted there too. */
static json_t *folders_to_see(const struct survey *survey, const struct host *host)
{
    json_t *folders = json_object();

    for (size_t i = 0; i < survey->database_count; i++) {
        const struct plan_database_input *in = &survey->databases[i];
        const struct backup_set *set = chosen_set(in);
        if (set && !set->disks && in->location && store_location_is_folder(in->location) &&
            !json_flag(host->spec, "relay") && !json_flag(in->location, "relay"))
            json_object_set_new(folders, in->database->uid, folder_to_see(in, set));
    }
    return folders;
}

/* Ports that servers will have: few, since each host tries each of them at each other one. */
struct ports {
    int list[64];
    size_t count;
};

static void add_port(struct ports *ports, int port)
{
    if (port <= 0 || port > 65535 || ports->count == ARRAY_SIZE(ports->list))
        return;
    for (size_t i = 0; i < ports->count; i++)
        if (ports->list[i] == port)
            return;
    ports->list[ports->count++] = port;
}

static void add_ports_of(struct ports *ports, const struct ccs *ccs, const struct ccs_database *db)
{
    enum { BUS = 10000 };
    int port = db->endpoint_count ? ccs->endpoints[db->first_endpoint].port : db->port;

    if (db->shard_count < 2)
        return;
    add_port(ports, port);
    if (db->sharded && port)
        add_port(ports, port + BUS);
    /* Of a captured database, shards get the ports that they had. */
    for (size_t i = db->first_shard; db->settings && i < db->first_shard + db->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[i];
        add_port(ports, shard->port);
        add_port(ports, shard->other_port);
        if (db->sharded)
            add_port(ports, shard->bus_port ? shard->bus_port : shard->port + BUS);
    }
}

/* As far as they are known before the plan. */
static struct ports likely_ports(const struct survey *survey)
{
    enum { FIRST_OF_POOL = 21000, FIRST_BUS = 31000, SOME = 4 };
    struct ports ports = {.count = 0};

    for (int i = 0; i < SOME; i++) {
        add_port(&ports, FIRST_OF_POOL + i);
        add_port(&ports, FIRST_BUS + i);
    }
    for (size_t i = 0; i < survey->database_count; i++)
        add_ports_of(&ports, survey->ccs, survey->databases[i].database);
    return ports;
}

/* If there are very many, each host tries only the next ones after it. */
static json_t *ports_to_reach(const struct survey *survey, const struct host *host)
{
    enum { HOSTS_MAX = 64, TARGETS_MAX = 1024 };
    size_t own = (size_t)(host - survey->hosts->hosts), count = survey->hosts->count;
    const struct ports ports = likely_ports(survey);
    json_t *targets = json_array();

    /* Of itself too, if its own servers reach each other elsewhere than where they listen. */
    for (size_t i = announced_differs(host->spec) ? 0 : 1;
         i < count && i <= HOSTS_MAX && i * ports.count <= TARGETS_MAX; i++) {
        const struct host *to = &survey->hosts->hosts[(own + i) % count];
        for (size_t k = 0; k < ports.count; k++)
            json_array_append_new(targets, json_pack("{s:s, s:i}", "addr", to->announced, "port",
                                               announced_port(to->spec, ports.list[k])));
    }
    return targets;
}

/* Settings of single servers of a database. */
static void add_wanted_of_shards(
    const struct ccs *ccs, const struct ccs_database *db, json_t *wanted)
{
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[i];
        AUTO_FREE char *label = xasprintf("shard:%s", shard->uid);
        if (json_object_size(shard->settings))
            json_object_set_new(
                wanted, label, json_pack("{s:O, s:[]}", "settings", shard->settings, "users"));
    }
}

/* What a server of this host should take: the settings and users of each database. */
static json_t *wanted_of_server(const struct survey *survey)
{
    json_t *wanted = json_object();

    for (size_t i = 0; i < survey->database_count; i++) {
        const struct ccs_database *db = survey->databases[i].database;
        json_t *users = json_array();
        for (const char *const *line = db->users; line && *line; line++)
            json_array_append_new(users, json_string(*line));
        if (db->settings || db->users)
            json_object_set_new(wanted, db->label,
                json_pack("{s:O?, s:O}", "settings", db->settings, "users", users));
        json_decref(users);
        add_wanted_of_shards(survey->ccs, db, wanted);
    }
    return wanted;
}

json_t *host_questions(const struct survey *survey, const struct host *host)
{
    json_t *questions = json_pack("{s:s, s:s, s:s, s:I, s:O?, s:O?}", "base_dir", host->base_dir,
        "addr", host->addr, "server", host->server, "now_ms", (json_int_t)clock_wall_ms(),
        "modules", json_object_get(host->spec, "modules"), "run_as",
        json_object_get(host->spec, "run_as"));

    json_object_set_new(questions, "types", module_types(survey));
    json_object_set_new(questions, "wanted", wanted_of_server(survey));
    json_object_set_new(questions, "folders", folders_to_see(survey, host));
    json_object_set_new(questions, "reach", ports_to_reach(survey, host));
    return questions;
}
