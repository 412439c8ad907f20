#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "old_addresses.h"
#include "recluster/json.h"
#include "sentinels.h"
#include "settings.h"
#include "value.h"

/* The state of one load. */
struct loader {
    struct state *state;
    struct ccs *ccs;
    struct err *err;
};

static const char *text(struct loader *l, const struct rows *rows, int column)
{
    return arena_strdup(&l->ccs->arena, rows_text(rows, column));
}

static const char *text_or(
    struct loader *l, const struct rows *rows, int column, const char *missing)
{
    return rows_is_null(rows, column) ? missing : text(l, rows, column);
}

/* An array in the arena, grown by doubling. */
static void *grow(struct arena *arena, const void *items, size_t count, size_t size)
{
    if (count & (count - 1))
        return NULL;
    void *more = arena_alloc(arena, (count ? 2 * count : 1) * size);
    if (count)
        memcpy(more, items, count * size);
    return more;
}

/* Makes room for items[count]; doubles at powers of two. */
#define ARENA_GROW(l, items, count)                                                                \
    do {                                                                                           \
        void *more = grow(&(l)->ccs->arena, (items), (count), sizeof(*(items)));                   \
        if (more)                                                                                  \
            (items) = more;                                                                        \
    } while (0)

static int load_cluster(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT name, rack_aware, COALESCE(saved_ms, -1), format,"
            " EXISTS (SELECT 1 FROM proxy) FROM cluster",
            "") < 0)
        return -1;
    bool found = rows_next(&rows);
    if (found) {
        ccs->cluster_name = text(l, &rows, 0);
        ccs->rack_aware = rows_int(&rows, 1);
        ccs->saved_ms = rows_int(&rows, 2);
        ccs->format = text(l, &rows, 3);
        ccs->has_proxies = rows_int(&rows, 4);
    }
    if (rows_end(&rows, l->err) < 0)
        return -1;
    if (!found)
        return err_set(
            l->err, ERR_STATE_FILE, "state file '%s' holds no CCS", state_path(l->state));
    AUTO_FREE char *source = state_meta(l->state, "ccs_path");
    ccs->source = arena_strdup(&ccs->arena, source ? source : "");
    return 0;
}

static int load_nodes(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT uid, addr, external_addr, rack, second_rack, status, persistent_path,"
            " recovery_path, COALESCE(memory, -1), COALESCE(max_shards, -1), accepts_shards"
            " FROM node",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        ARENA_GROW(l, ccs->nodes, ccs->node_count);
        ccs->nodes[ccs->node_count++] = (struct ccs_node){
            .uid = text(l, &rows, 0),
            .addr = text(l, &rows, 1),
            .external_addr = text(l, &rows, 2),
            .rack = text(l, &rows, 3),
            .second_rack = text(l, &rows, 4),
            .status = text_or(l, &rows, 5, "active"),
            .persistent_path = text(l, &rows, 6),
            .recovery_path = text(l, &rows, 7),
            .memory_bytes = rows_int(&rows, 8),
            .max_shards = rows_int(&rows, 9),
            .accepts_shards = rows_int(&rows, 10),
        };
    }
    return rows_end(&rows, l->err);
}

static enum ccs_persistence persistence_named(const char *name)
{
    enum ccs_persistence persistence = CCS_PERSIST_NONE;

    return name && value_persistence(name, &persistence) ? persistence : CCS_PERSIST_NONE;
}

static void load_save_points(
    struct loader *l, const struct rows *rows, int column, struct ccs_database *db)
{
    const char *list = rows_text(rows, column);
    struct ccs_save_point *points;

    if (list && value_save_points(&l->ccs->arena, list, &points, &db->save_point_count))
        db->save_points = points;
}

static void load_location(
    struct loader *l, const struct rows *rows, int column, struct ccs_database *db)
{
    json_t *location = rows_json(rows, column);

    if (location && json_array_append_new(l->ccs->json, location) == 0)
        db->backup_location = location;
}

/* `name` is missing in state files of the first version, which only had `lost`. */
static enum ccs_login login_of(const struct ccs_database *db, const char *name, bool lost)
{
    for (int login = CCS_LOGIN_OPEN; name && login <= CCS_LOGIN_UNKNOWN; login++)
        if (strcmp(ccs_login_name((enum ccs_login)login), name) == 0)
            return (enum ccs_login)login;
    if (lost)
        return CCS_LOGIN_UNREADABLE;
    return db->password ? CCS_LOGIN_PASSWORD : CCS_LOGIN_OPEN;
}

static void load_database(struct loader *l, const struct rows *rows, struct ccs_database *db)
{
    struct arena *arena = &l->ccs->arena;

    db->uid = text(l, rows, 0);
    db->label = arena_printf(arena, "db:%s", db->uid);
    db->name = text_or(l, rows, 1, db->label);
    db->type = text_or(l, rows, 2, "redis");
    db->status = text_or(l, rows, 3, "active");
    db->redis_version = text(l, rows, 4);
    db->sharded = rows_int(rows, 5);
    db->replicated = rows_int(rows, 6);
    db->rack_aware = rows_int(rows, 7);
    db->active_active = rows_int(rows, 8);
    db->slots_policy =
        strcmp(text_or(l, rows, 9, ""), "legacy") == 0 ? CCS_SLOTS_LEGACY : CCS_SLOTS_16K;
    db->primaries = rows_int(rows, 10);
    db->memory_bytes = rows_int(rows, 11);
    db->port = (int)rows_int(rows, 12);
    db->max_clients = rows_int(rows, 13);
    db->eviction_policy = text_or(l, rows, 14, "noeviction");
    db->persistence = persistence_named(rows_text(rows, 15));
    db->fsync_always = rows_int(rows, 16);
    load_save_points(l, rows, 17, db);
    db->shards_placement = text_or(l, rows, 18, "dense");
    db->password = text(l, rows, 19);
    db->login = login_of(db, rows_text(rows, 25), rows_int(rows, 24));
    db->client_certificates = rows_int(rows, 26);
    db->tls_mixed = rows_int(rows, 27);
    db->tls = rows_int(rows, 20);
    db->modules = value_list(arena, text_or(l, rows, 21, "[]"), VALUE_IDS, NULL);
    db->module_args = NULL;
    db->avoid_nodes = db->use_nodes = value_list(arena, "", VALUE_IDS, NULL);
    load_location(l, rows, 22, db);
    db->backup_interval_s = rows_int(rows, 23);
}

static int load_databases(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT uid, name, type, status, redis_version, sharded, replicated, rack_aware,"
            " active_active, slots_policy, COALESCE(primaries, -1), COALESCE(memory_size, 0),"
            " COALESCE(port, 0), COALESCE(max_clients, 0), eviction_policy, persistence,"
            " fsync_always, save_points, shards_placement, " STATE_SECRET("database.password",
                "uid") ", tls, modules,"
                       " " STATE_SECRETS_OF("database.backup_location", "uid",
                           "backup_location") ", COALESCE(backup_interval_s, 0), login_lost, login, client_certificates, tls_mixed FROM database",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        ARENA_GROW(l, ccs->databases, ccs->database_count);
        struct ccs_database *db = &ccs->databases[ccs->database_count++];
        *db = (struct ccs_database){.uid = NULL};
        load_database(l, &rows, db);
    }
    return rows_end(&rows, l->err);
}

/* The nodes that a database may use. The typed table lacks them. */
static int load_node_rules(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT substr(key, 5), field = 'use_nodes', value FROM ccs_entry"
            " WHERE kind = 'hash' AND field IN ('avoid_nodes', 'use_nodes')"
            " AND typeof(key) = 'text' AND substr(key, 1, 4) = 'bdb:' AND typeof(value) = 'text'",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct ccs_database *found = ccs_database(ccs, rows_text(&rows, 0));
        const char *const *uids = value_list(&ccs->arena, text(l, &rows, 2), VALUE_IDS, NULL);
        struct ccs_database *db = found ? &ccs->databases[found - ccs->databases] : NULL;
        if (db && uids && rows_int(&rows, 1))
            db->use_nodes = uids;
        else if (db && uids)
            db->avoid_nodes = uids;
    }
    return rows_end(&rows, l->err);
}

/* Parses the text of a field; the model owns the result. NULL: it is not JSON. */
static const json_t *json_field(struct loader *l, const char *text)
{
    json_t *value = text ? json_read_quietly(text, strlen(text), 0) : NULL;

    if (value)
        json_array_append_new(l->ccs->json, value);
    return value;
}

static const char *const *lines_of(struct loader *l, const json_t *list)
{
    const char **lines = arena_alloc(&l->ccs->arena, (json_array_size(list) + 1) * sizeof(*lines));
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *line = json_string_value(json_array_get(list, i));
        if (line && strncmp(line, "user ", 5) == 0)
            lines[count++] = arena_strdup(&l->ccs->arena, line);
    }
    return count ? lines : NULL;
}

/* Items that belong to the modules of the same place. */
static void take_module_args(struct loader *l, struct ccs_database *db, const char *text)
{
    size_t modules = 0, count;
    const char *const *args = value_list(&l->ccs->arena, text, VALUE_PARALLEL, &count);

    while (db->modules[modules])
        modules++;
    if (modules && count == modules)
        db->module_args = args;
}

/* The model owns the parts. */
static void divide_settings(struct loader *l, const json_t *value, struct settings_parts *ret)
{
    settings_divide(value, ret);
    json_array_append_new(l->ccs->json, ret->restored);
    json_array_append_new(l->ccs->json, ret->usual);
    json_array_append_new(l->ccs->json, ret->left);
    json_array_append_new(l->ccs->json, ret->own);
    json_array_append_new(l->ccs->json, ret->elsewhere);
}

static void take_captured(
    struct loader *l, struct ccs_database *db, const char *field, const char *text)
{
    const json_t *value = strcmp(field, "module_arg_list") != 0 ? json_field(l, text) : NULL;
    struct settings_parts parts;

    if (strcmp(field, "module_arg_list") == 0) {
        take_module_args(l, db, text);
    } else if (strcmp(field, "acl_users") == 0) {
        db->users = lines_of(l, value);
    } else if (strcmp(field, "renamed_commands") == 0) {
        db->renamed = json_object_size(value) ? value : NULL;
    } else if (json_is_object(value)) {
        divide_settings(l, value, &parts);
        db->config = value;
        db->settings = parts.restored;
        db->settings_usual = parts.usual;
        db->settings_left = parts.left;
        db->settings_own = parts.own;
    }
}

/* What only `capture` writes, and the arguments of modules. */
static int load_captured(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT substr(key, 5), field, value FROM ccs_entry"
            " WHERE kind = 'hash' AND field IN ('acl_users', 'redis_config', 'module_arg_list', 'renamed_commands')"
            " AND typeof(key) = 'text' AND substr(key, 1, 4) = 'bdb:' AND typeof(value) = 'text'",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct ccs_database *found = ccs_database(ccs, rows_text(&rows, 0));
        if (found)
            take_captured(l, &ccs->databases[found - ccs->databases], rows_text(&rows, 1),
                rows_text(&rows, 2));
    }
    return rows_end(&rows, l->err);
}

/* Those of the vendor's users that roles.c made. */
static int load_mapped_users(struct loader *l)
{
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT id, value FROM secret WHERE place = 'database.users'", "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct ccs_database *found = ccs_database(l->ccs, rows_text(&rows, 0));
        struct ccs_database *db = found ? &l->ccs->databases[found - l->ccs->databases] : NULL;
        if (!db || db->users)
            continue;
        db->users = lines_of(l, json_field(l, rows_text(&rows, 1)));
        db->users_mapped = db->users != NULL;
        for (const char *const *line = db->users; line && *line; line++)
            if (db->login == CCS_LOGIN_OFF && strstr(*line, " on #"))
                db->default_stays_off = true;
    }
    return rows_end(&rows, l->err);
}

/* Such as addresses, which no two servers of a database have in common. */
static void add_own(struct loader *l, const struct ccs_shard *shard, const json_t *own)
{
    const struct ccs_database *found = ccs_database(l->ccs, shard->database_uid);
    struct ccs_database *db = found ? &l->ccs->databases[found - l->ccs->databases] : NULL;
    json_t *name, *other;
    size_t i, k;

    if (!db || !db->settings_own)
        return;
    json_array_foreach ((json_t *)(uintptr_t)own, i, name) {
        bool known = false;
        json_array_foreach (db->settings_own, k, other) {
            known |= json_equal(name, other);
        }
        if (!known)
            json_array_append(db->settings_own, name);
    }
}

/*
 * Some settings of single servers are left to the database, which has one value for all of them:
 * they count as not restored.
 */
static void take_captured_shard(
    struct loader *l, struct ccs_shard *shard, const char *field, const struct rows *rows)
{
    struct settings_parts parts;

    if (strcmp(field, "hostname") == 0) {
        shard->hostname = text(l, rows, 1);
    } else if (strcmp(field, "cluster_node_id") == 0) {
        shard->node_id = text(l, rows, 1);
    } else {
        const json_t *value = json_field(l, rows_text(rows, 1));
        if (!json_is_object(value))
            return;
        divide_settings(l, value, &parts);
        json_array_extend(parts.left, parts.elsewhere);
        add_own(l, shard, parts.own);
        shard->config = value;
        shard->settings = parts.restored;
        shard->settings_usual = parts.usual;
        shard->settings_left = parts.left;
    }
}

static int by_uid(const void *uid, const void *shard)
{
    return strcmp(uid, (*(struct ccs_shard *const *)shard)->uid);
}

static int order_by_uid(const void *a, const void *b)
{
    return strcmp((*(struct ccs_shard *const *)a)->uid, (*(struct ccs_shard *const *)b)->uid);
}

static int load_captured_shards(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    AUTO_FREE struct ccs_shard **sorted = xcalloc(ccs->shard_count + 1, sizeof(*sorted));
    struct rows rows;

    for (size_t i = 0; i < ccs->shard_count; i++)
        sorted[i] = &ccs->shards[i];
    qsort(sorted, ccs->shard_count, sizeof(*sorted), order_by_uid);
    if (state_query(l->state, &rows, l->err,
            "SELECT substr(key, 7), value, field FROM ccs_entry WHERE kind = 'hash' AND field IN "
            "('cluster_node_id', 'hostname', 'redis_config') AND typeof(key) = 'text' AND "
            "substr(key, 1, 6) = 'redis:' AND typeof(value) = 'text'",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        struct ccs_shard **found =
            bsearch(rows_text(&rows, 0), sorted, ccs->shard_count, sizeof(*sorted), by_uid);
        if (found)
            take_captured_shard(l, *found, rows_text(&rows, 2), &rows);
    }
    return rows_end(&rows, l->err);
}

static const struct slots *parse_slots(struct loader *l, const char *ranges, const char *uid)
{
    struct model_slots *shared = arena_alloc(&l->ccs->arena, sizeof(*shared));
    unsigned from = 0, last;

    if (slots_parse(ranges, &shared->slots, l->err) < 0) {
        err_wrap(l->err, "shard '%s'", uid);
        return NULL;
    }
    if (!slots_next_range(&shared->slots, &from, &shared->first, &last))
        shared->first = SLOT_COUNT;
    return &shared->slots;
}

/* Rows are ordered by slots, so equal sets follow each other and share one. */
static int load_shards(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    const char *last_ranges = NULL;
    const struct slots *slots = NULL;
    struct rows rows;
    int rc = 0;

    if (state_query(l->state, &rows, l->err,
            "SELECT uid, database_uid, node_uid, role = 'primary', slots, COALESCE(port, 0)"
            " FROM shard ORDER BY slots",
            "") < 0)
        return -1;
    while (rc == 0 && rows_next(&rows)) {
        const char *uid = text(l, &rows, 0), *ranges = text_or(l, &rows, 4, "");
        if (!last_ranges || strcmp(last_ranges, ranges) != 0)
            slots = parse_slots(l, ranges, uid);
        last_ranges = ranges;
        rc = slots ? 0 : -1;
        ARENA_GROW(l, ccs->shards, ccs->shard_count);
        ccs->shards[ccs->shard_count++] = (struct ccs_shard){
            .uid = uid,
            .database_uid = text(l, &rows, 1),
            .node_uid = text(l, &rows, 2),
            .primary = rows_int(&rows, 3),
            .slots = slots,
            .port = (int)rows_int(&rows, 5),
            .primary_index = -1,
        };
    }
    struct err later;
    return rows_end(&rows, rc == 0 ? l->err : &later) < 0 ? -1 : rc;
}

static int load_endpoints(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT uid, database_uid, COALESCE(port, 0), addr, dns_name, proxy_policy"
            " FROM endpoint",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        ARENA_GROW(l, ccs->endpoints, ccs->endpoint_count);
        ccs->endpoints[ccs->endpoint_count++] = (struct ccs_endpoint){
            .uid = text(l, &rows, 0),
            .database_uid = text(l, &rows, 1),
            .port = (int)rows_int(&rows, 2),
            .addr = text(l, &rows, 3),
            .dns_name = text(l, &rows, 4),
            .proxy_policy = text_or(l, &rows, 5, "single"),
        };
    }
    return rows_end(&rows, l->err);
}

static int load_findings(struct loader *l)
{
    struct ccs *ccs = l->ccs;
    struct rows rows;

    if (state_query(l->state, &rows, l->err,
            "SELECT severity, code, message, keys FROM finding ORDER BY CASE severity"
            " WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, finding_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        ARENA_GROW(l, ccs->findings, ccs->finding_count);
        ccs->findings[ccs->finding_count++] = (struct ccs_finding){
            .severity = text(l, &rows, 0),
            .code = text(l, &rows, 1),
            .message = text(l, &rows, 2),
            .keys = value_list(&ccs->arena, text_or(l, &rows, 3, "[]"), VALUE_IDS, NULL),
        };
    }
    return rows_end(&rows, l->err);
}

struct ccs *ccs_load(struct state *st, struct err *err)
{
    struct ccs *ccs = xcalloc(1, sizeof(*ccs));
    struct loader l = {.state = st, .ccs = ccs, .err = err};

    arena_init(&ccs->arena);
    ccs->json = json_array();
    ccs->saved_ms = -1;
    if (load_cluster(&l) < 0 || load_nodes(&l) < 0 || load_databases(&l) < 0 ||
        load_shards(&l) < 0 || load_endpoints(&l) < 0 || load_findings(&l) < 0) {
        ccs_free(ccs);
        return NULL;
    }
    model_connect(ccs);
    if (load_node_rules(&l) < 0 || load_captured(&l) < 0 || load_mapped_users(&l) < 0 ||
        load_captured_shards(&l) < 0 || sentinels_load(ccs, st, err) < 0) {
        ccs_free(ccs);
        return NULL;
    }
    old_addresses_load(ccs);
    return ccs;
}
