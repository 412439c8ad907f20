#include <string.h>

#include "ccs_file.h"
#include "check.h"
#include "recluster/ccs.h"
#include "recluster/memory_limit.h"

static bool holds_cluster(const struct objects *all)
{
    static const char *const types[] = {"bdb", "node", "redis"};
    const char *uid;

    if (strcmp(all->format, "nodes.json") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        size_t at = 0;
        if (objects_next(all, types[i], &at, &uid))
            return true;
    }
    const struct object *cluster = objects_find(all, "cluster", NULL);
    return cluster && cluster->kind == RDB_KIND_HASH;
}

static int check_empty_state(struct state *st, struct err *err)
{
    int64_t rows = 0;

    if (state_get_int(st, &rows, err, "SELECT count(*) FROM cluster", "") < 0)
        return -1;
    if (rows) {
        err_set(err, ERR_STATE_FILE, "state file '%s' already holds a CCS", state_path(st));
        return err_hint(err, "Give another one with --state, or leave the CCS file out to resume.");
    }
    return 0;
}

static int insert_entry(struct import *im, const struct object *o, const struct object_item *item)
{
    static const char with_score[] =
        "INSERT INTO ccs_entry (db, key, kind, field, value, expires_ms, score)"
        " VALUES (?, ?, ?, ?, ?, NULLIF(?, -1), ?)";
    static const char without[] = "INSERT INTO ccs_entry (db, key, kind, field, value, expires_ms)"
                                  " VALUES (?, ?, ?, ?, ?, NULLIF(?, -1))";
    const int64_t expires_ms = item->expires_ms >= 0 ? item->expires_ms : o->expires_ms;

    if (o->kind == RDB_KIND_ZSET)
        return state_run(im->state, im->err, with_score, "ibsbbid", o->db, o->key.data, o->key.len,
            rdb_kind_name(o->kind), item->field.data, item->field.len, item->value.data,
            item->value.len, expires_ms, item->score);
    return state_run(im->state, im->err, without, "ibsbbi", o->db, o->key.data, o->key.len,
        rdb_kind_name(o->kind), item->field.data, item->field.len, item->value.data,
        item->value.len, expires_ms);
}

/* The words of the file. A key without a readable value (a stream) has a row of its own. */
static int insert_entries(struct import *im)
{
    static const struct object_item nothing = {.expires_ms = -1};

    for (size_t i = 0; i < im->objects->count; i++) {
        const struct object *o = &im->objects->list[i];
        if (o->count == 0 && insert_entry(im, o, &nothing) < 0)
            return -1;
        for (size_t k = 0; k < o->count; k++)
            if (insert_entry(im, o, &o->items[k]) < 0)
                return -1;
    }
    return 0;
}

static int set_meta(struct import *im, const struct ccs_file *c)
{
    if (state_set_meta(im->state, "ccs_path", im->path, im->err) < 0 ||
        state_set_meta(im->state, "ccs_sha256", c->sha256, im->err) < 0)
        return -1;
    return state_set_meta(im->state, "ccs_format", c->objects.format, im->err);
}

/* The checks use the loaded typed tables, as all later code does. */
static int check(struct import *im)
{
    struct ccs *ccs = ccs_load(im->state, im->err);

    if (!ccs)
        return -1;
    check_objects(im, ccs);
    check_model(im, ccs);
    findings_end(&im->findings);
    ccs_free(ccs);
    return im->findings.failed ? -1 : 0;
}

static int import_all(struct import *im, const struct ccs_file *c)
{
    if (check_empty_state(im->state, im->err) < 0 || set_meta(im, c) < 0 || insert_entries(im) < 0)
        return -1;
    int rc = c->nodes ? typed_import_nodes_json(im, c->nodes) : typed_import(im);
    return rc < 0 ? -1 : check(im);
}

static int import_file(
    const char *path, const struct ccs_file *c, struct state *st, struct err *err)
{
    struct import im = {
        .state = st,
        .objects = &c->objects,
        .findings = {.state = st, .err = err},
        .path = path,
        .err = err,
    };

    if (!holds_cluster(im.objects)) {
        err_set(err, ERR_CHECK, "CCS file '%s' has no cluster in it", path);
        return err_hint(err, "It should hold keys like 'cluster', 'node:1', 'bdb:1'. A database's "
                             "backup file? Then check it with `recluster verify`.");
    }
    if (state_begin(st, err) < 0)
        return -1;
    arena_init(&im.arena);
    arena_init(&im.scratch);
    int rc = import_all(&im, c);
    if (rc == 0)
        rc = state_commit(st, err);
    if (rc < 0)
        state_rollback(st);
    arena_release(&im.arena);
    arena_release(&im.scratch);
    return rc;
}

int ccs_import_bytes(const char *name, struct rdb_bytes bytes, struct state *st, struct err *err)
{
    struct ccs_file file;

    memory_limit_set(MEMORY_LIMIT_CCS);
    memory_limit_name("CCS file '%s'", name);
    ccs_file_init(&file);
    int rc = ccs_file_read_bytes(name, bytes, &file, err);
    if (rc == 0)
        rc = import_file(name, &file, st, err);
    ccs_file_release(&file);
    memory_limit_lift();
    return rc;
}

int ccs_import(const char *path, const char *key, struct state *st, struct err *err)
{
    struct ccs_file file;

    memory_limit_set(MEMORY_LIMIT_CCS);
    memory_limit_name("CCS file '%s'", path);
    ccs_file_init(&file);
    int rc = ccs_file_read(path, key, &file, err);
    if (rc == 0)
        rc = import_file(path, &file, st, err);
    ccs_file_release(&file);
    memory_limit_lift();
    return rc;
}
