#include "shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_dir.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { RECORD_MAX = 1024 * 1024 };

static const char *const mark_names[] = {
    [SHARD_CONFIGURED] = "configured",
    [SHARD_OPENED] = "opened",
    [SHARD_SEALED] = "sealed",
};

/* NULL without an error: the file does not exist. */
static int read_record(const char *path, json_t **ret, struct err *err)
{
    struct buf text = BUF_INIT;
    struct err missing = ERR_INIT;
    AUTO_FREE char *what = xasprintf("'%s'", path);

    *ret = NULL;
    if (file_read(path, RECORD_MAX, &text, &missing) < 0) {
        buf_release(&text);
        if (missing.code == ERR_NOT_FOUND)
            return 0;
        *err = missing;
        return -1;
    }
    *ret = json_read(text.data, text.len, JSON_REJECT_DUPLICATES, what, err);
    buf_release(&text);
    if (!*ret || json_is_object(*ret))
        return *ret ? 0 : -1;
    json_decref(*ret);
    *ret = NULL;
    return err_set(err, ERR_CORRUPT, "%s is not a JSON object", what);
}

/* Refuses to act outside of the folder of its own recovery. */
static int check_base_dir(const char *path, const char *recovery, struct err *err)
{
    struct base_dir base_dir = BASE_DIR_INIT;

    if (base_dir_check_owners(path, err) < 0 || base_dir_look(path, &base_dir, err) < 0)
        return -1;
    int rc = base_dir_check(&base_dir, path, recovery, err);
    if (rc == 0 && base_dir.state != BASE_DIR_RECOVERY)
        rc = err_set(err, ERR_CHECK, "'%s' belongs to no recovery", path);
    base_dir_release(&base_dir);
    return rc;
}

static int check_record(const struct shard *shard, const char *recovery, struct err *err)
{
    const char *owner = shard_string(shard, "recovery");

    if (!shard->record || (owner && strcmp(owner, recovery) == 0))
        return 0;
    return err_set(err, ERR_CHECK, "'%s' belongs to another recovery (%s)", shard->path,
        owner ? owner : "unknown");
}

/* A relative path that stays below its base and avoids the names that are not for shards. */
static int check_dir(const char *dir, struct err *err)
{
    const char *part = dir;

    for (;;) {
        size_t len = strcspn(part, "/");
        if (len == 0 || part[0] == '.')
            break;
        if (part == dir && len == 5 && memcmp(part, "agent", 5) == 0)
            break;
        if (!part[len])
            return 0;
        part += len + 1;
    }
    return err_set(err, ERR_PROTOCOL, "'%s' can't be the folder of a shard", dir);
}

int shard_find(const json_t *params, struct shard *ret, struct err *err)
{
    const char *base_dir, *recovery, *dir;

    if (param_string(params, "base_dir", &base_dir, err) < 0 ||
        param_string(params, "recovery", &recovery, err) < 0 ||
        param_string(params, "dir", &dir, err) < 0 || check_dir(dir, err) < 0 ||
        check_base_dir(base_dir, recovery, err) < 0)
        return -1;
    struct shard shard = {
        .base_dir = xstrdup(base_dir),
        .dir = xstrdup(dir),
        .path = path_join(base_dir, dir),
    };
    AUTO_FREE char *record_path = path_join(shard.path, "shard.json");
    if (read_record(record_path, &shard.record, err) < 0 || check_record(&shard, recovery, err) < 0)
        goto fail;
    if (chdir(shard.path) < 0 && errno != ENOENT) {
        err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard.path);
        goto fail;
    }
    shard.admin_password = json_text(params, "admin_password", NULL);
    *ret = shard;
    return 0;
fail:
    shard_release(&shard);
    return -1;
}

int shard_enter(const json_t *params, struct shard *ret, struct err *err)
{
    if (shard_find(params, ret, err) < 0)
        return -1;
    if (ret->record)
        return 0;
    err_set(err, ERR_NOT_FOUND, "the shard in '%s' was not prepared", ret->path);
    shard_release(ret);
    return -1;
}

void shard_release(struct shard *shard)
{
    free(shard->base_dir);
    free(shard->dir);
    free(shard->path);
    json_decref(shard->record);
    *shard = (struct shard)SHARD_INIT;
}

int shard_save(const struct shard *shard, struct err *err)
{
    AUTO_FREE char *text = json_dumps(shard->record, JSON_INDENT(1) | JSON_SORT_KEYS);

    if (!text)
        return err_set(err, ERR_BUG, "the record of '%s' can't be written as JSON", shard->path);
    AUTO_FREE char *path = path_join(shard->path, "shard.json");
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

bool shard_has(const struct shard *shard, enum shard_mark mark)
{
    return json_flag(shard->record, mark_names[mark]);
}

int shard_set(struct shard *shard, enum shard_mark mark, struct err *err)
{
    if (shard_has(shard, mark))
        return 0;
    json_object_set_new(shard->record, mark_names[mark], json_true());
    return shard_save(shard, err);
}

bool shard_is_landing(const struct shard *shard)
{
    return shard_string(shard, "landing") != NULL;
}

const char *shard_string(const struct shard *shard, const char *name)
{
    return json_text(shard->record, name, NULL);
}

int shard_int(const struct shard *shard, const char *name)
{
    return (int)json_int(shard->record, name, 0);
}

bool shard_is_replica(const struct shard *shard)
{
    const char *role = shard_string(shard, "role");
    return role && strcmp(role, "replica") == 0;
}

bool shard_is_sentinel(const struct shard *shard)
{
    return json_flag(shard->record, "sentinel");
}

void shard_take_databases(struct shard *shard, const json_t *params)
{
    json_t *databases = json_object_get(params, "databases");

    if (json_is_integer(databases))
        json_object_set(shard->record, "databases", databases);
}

int shard_file_name(const json_t *params, const char **ret, struct err *err)
{
    const char *name;

    if (param_string(params, "as", &name, err) < 0)
        return -1;
    if (!*name || name[0] == '.' || strchr(name, '/'))
        return err_set(err, ERR_PROTOCOL, "'%s' can't be the name of a file in incoming/", name);
    *ret = name;
    return 0;
}

char *aside_name(const char *name, const char *word)
{
    char when[CLOCK_TEXT_MAX];
    clock_format(clock_wall_ms(), when);

    for (unsigned n = 0;; n++) {
        char *aside = n ? xasprintf("%s.%s-%s-%u", name, word, when, n)
                        : xasprintf("%s.%s-%s", name, word, when);
        if (!file_exists(aside))
            return aside;
        free(aside);
    }
}
