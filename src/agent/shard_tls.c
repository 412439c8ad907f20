#include "shard_tls.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/json.h"

static const struct {
    const char *name, *file;
} parts[] = {{"cert", "tls.crt"}, {"key", "tls.key"}, {"ca", "tls-ca.crt"}};

/* Writes a text to a file in the folder; uses {"path": …} as it is. The path is the caller's. */
static int take_part(const struct shard *shard, const json_t *value, const char *name,
    const char *file, char **ret, struct err *err)
{
    const char *path = json_text(value, "path", NULL);

    if (path && *path != '/')
        return err_set(err, ERR_USAGE, "the path '%s' of \"tls\" is not absolute", path);
    if (path && !file_exists(path)) {
        err_set(err, ERR_NOT_FOUND, "'%s' does not exist", path);
        return err_hint(err, "It is \"%s\" of \"tls\" of this host in the hosts file.", name);
    }
    if (!path && !json_is_string(value))
        return err_set(err, ERR_PROTOCOL, "the parameter 'tls' has no '%s'", name);
    *ret = path ? xstrdup(path) : path_join(shard->path, file);
    return path ? 0
                : file_write_atomic(
                      file, json_string_value(value), json_string_length(value), 0600, err);
}

int shard_tls_write(const struct shard *shard, const json_t *params, struct err *err)
{
    json_t *kept = json_pack("{s:s}", "clients", json_text(params, "clients", "yes"));

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const json_t *value = json_object_get(params, parts[i].name);
        char *path = NULL;
        if (take_part(shard, value, parts[i].name, parts[i].file, &path, err) < 0) {
            free(path);
            json_decref(kept);
            return -1;
        }
        json_object_set_new(kept, parts[i].name, json_string(path));
        free(path);
    }
    if (json_object_get(params, "inside"))
        json_object_set(kept, "inside", json_object_get(params, "inside"));
    json_object_set_new(shard->record, "tls", kept);
    return 0;
}

/* A connection owns its context's reference, so the context can go at once. */
static int connect_by_tls(const json_t *tls, const char *addr, int port, int timeout_ms,
    struct redis **ret, struct err *err)
{
    /* Clients may know the server by any of its names. */
    const struct tls_params files = {.ca = json_text(tls, "ca", NULL),
        .cert = json_text(tls, "cert", NULL),
        .key = json_text(tls, "key", NULL),
        .any_name = true};
    struct tls *context;

    if (tls_new(&files, &context, err) < 0)
        return -1;
    const struct tcp_params params = {.addr = addr, .port = port, .tls = context};
    int rc = redis_connect_tls(&params, timeout_ms, ret, err);
    tls_free(context);
    return rc;
}

static bool uses_tls_inside(const json_t *tls)
{
    return tls && !json_is_false(json_object_get(tls, "inside"));
}

int shard_connect_tcp(const struct shard *shard, const char *addr, int port, int timeout_ms,
    struct redis **ret, struct err *err)
{
    const json_t *tls = json_object_get(shard->record, "tls");

    return uses_tls_inside(tls) ? connect_by_tls(tls, addr, port, timeout_ms, ret, err)
                                : redis_connect_tcp(addr, port, timeout_ms, ret, err);
}

int shard_connect_other(const struct shard *shard, const char *addr, int port, int timeout_ms,
    struct redis **ret, struct err *err)
{
    const json_t *tls = json_object_get(shard->record, "tls");

    return tls && !uses_tls_inside(tls) ? connect_by_tls(tls, addr, port, timeout_ms, ret, err)
                                        : redis_connect_tcp(addr, port, timeout_ms, ret, err);
}
