#include "read_back.h"

#include <string.h>

#include "lock.h"
#include "recluster/digest.h"
#include "recluster/json.h"
#include "recluster/pull.h"

static const char *const names[] = {[BACKUP_VERIFY_SIZE] = "size",
    [BACKUP_VERIFY_DIGEST] = "digest",
    [BACKUP_VERIFY_FULL] = "full"};

const char *backup_verify_name(enum backup_verify verify)
{
    return names[verify];
}

bool backup_verify_of(const char *name, enum backup_verify *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (enum backup_verify)i;
            return true;
        }
    return false;
}

static int differs(
    const struct backup_params *params, const char *name, const char *how, struct err *err)
{
    err_set(err, ERR_CORRUPT, "'%s' does not give back '%s' as it was written: %s",
        store_label(params->store), name, how);
    return err_hint(err, "Something else writes there too, or the location loses data.");
}

static int check_sizes(const struct backup_params *params, const json_t *files, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;
    const json_t *file;
    size_t i;

    if (store_list(params->store, &list, err) < 0)
        return -1;
    int rc = 0;
    json_array_foreach (files, i, file) {
        const char *name = json_text(file, "name", "");
        const struct store_entry *there = store_list_find(&list, name);
        if (rc < 0)
            continue;
        if (!there)
            rc = differs(params, name, "it is not there", err);
        else if (there->bytes >= 0 && there->bytes != json_int(file, "bytes", -1))
            rc = differs(params, name, "it has another size", err);
    }
    store_list_release(&list);
    return rc;
}

/* Without its lock a set that takes long to read would be swept away: it has no manifest yet. */
static void keep_lock(const struct backup_params *params)
{
    if (params->lock)
        backup_lock_renew(params->lock);
}

struct summing {
    const struct backup_params *params;
    struct digest *digest;
};

static int add_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    const struct summing *s = arg;

    (void)err;
    digest_add(s->digest, data, len);
    keep_lock(s->params);
    return 0;
}

static int check_digest(const struct backup_params *params, const json_t *file, struct err *err)
{
    const char *name = json_text(file, "name", "");
    struct summing s = {params, digest_new()};
    char hex[DIGEST_HEX_MAX];

    int rc =
        store_read(params->store, &(struct store_range){name, 0, -1}, add_bytes, &s, NULL, err);
    digest_end(s.digest, hex);
    if (rc == 0 && strcmp(hex, json_text(file, "sha256", "")) != 0)
        rc = differs(params, name, "its SHA-256 differs", err);
    return rc;
}

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    (void)done_bytes;
    (void)total_bytes;
    keep_lock(*(const struct backup_params **)arg);
}

static int check_whole(const struct backup_params *params, const json_t *file, struct err *err)
{
    const struct pull_params read = {
        .store = params->store,
        .name = json_text(file, "name", ""),
        .expected_bytes = json_int(file, "bytes", -1),
        .sha256 = json_text(file, "sha256", NULL),
        .progress = on_progress,
        .arg = &params,
    };
    json_t *facts = NULL;

    bool rdb = strcmp(json_text(file, "kind", ""), "rdb") == 0;
    int rc = rdb ? pull(&read, &facts, err) : pull_aof(&read, &facts, err);
    json_decref(facts);
    return rc;
}

int read_back(const struct backup_params *params, const json_t *files, struct err *err)
{
    const json_t *file;
    size_t i;
    int rc = check_sizes(params, files, err);

    json_array_foreach (files, i, file) {
        if (rc == 0 && params->verify == BACKUP_VERIFY_DIGEST)
            rc = check_digest(params, file, err);
        if (rc == 0 && params->verify == BACKUP_VERIFY_FULL)
            rc = check_whole(params, file, err);
    }
    return rc;
}
