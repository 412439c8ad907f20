#include "samples.h"

#include <stdlib.h>
#include <string.h>

#include "method.h"
#include "recluster/key_text.h"
#include "recluster/rdb_scan.h"

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes a hex text; NULL if it is not one. The caller frees it. */
static char *bytes_of_hex(const char *hex, size_t *ret_len)
{
    size_t len = strlen(hex);
    char *bytes = xmalloc(len / 2 + 1);

    for (size_t i = 0; i + 1 < len; i += 2) {
        int high = digit(hex[i]), low = digit(hex[i + 1]);
        if (high < 0 || low < 0)
            len = 1;
        else
            bytes[i / 2] = (char)(high * 16 + low);
    }
    if (len % 2) {
        free(bytes);
        return NULL;
    }
    *ret_len = len / 2;
    return bytes;
}

static int select_db(struct redis *r, json_int_t db, struct err *err)
{
    AUTO_FREE char *text = xasprintf("%" JSON_INTEGER_FORMAT, db);
    return redis_command(r, NULL, err, "SELECT", text);
}

static int look(struct redis *r, const json_t *sample, json_int_t *db, struct samples_seen *seen,
    struct err *err)
{
    const char *hex, *kind;
    json_int_t wanted_db;
    redisReply *reply;
    size_t len;

    if (param_int(sample, "db", &wanted_db, err) < 0 ||
        param_string(sample, "key", &hex, err) < 0 || param_string(sample, "kind", &kind, err) < 0)
        return -1;
    AUTO_FREE char *key = bytes_of_hex(hex, &len);
    if (!key)
        return err_set(err, ERR_PROTOCOL, "'%s' is not hex", hex);
    if (wanted_db != *db && select_db(r, wanted_db, err) < 0)
        return -1;
    *db = wanted_db;
    const char *const argv[] = {"TYPE", key, NULL};
    if (redis_command_argv(r, &reply, argv, (const size_t[]){4, len}, err) < 0)
        return -1;
    /* For a value of a module, TYPE answers with the module's own name of it. */
    bool same = strcmp(kind, "module") == 0 ? strcmp(reply->str, "none") != 0
                                            : strcmp(reply->str, kind) == 0;
    seen->same += same;
    if (!same && seen->first.code == ERR_NONE) {
        AUTO_FREE char *shown = key_text_of_hex(hex);
        err_set(&seen->first, ERR_CHECK,
            "the key %s in database %" JSON_INTEGER_FORMAT " is of type '%s', not '%s'", shown,
            wanted_db, reply->str, kind);
    }
    freeReplyObject(reply);
    return 0;
}

int samples_look(
    struct redis *r, bool cluster, const json_t *samples, struct samples_seen *ret, struct err *err)
{
    const json_t *sample;
    json_int_t db = 0;
    size_t i;

    *ret = (struct samples_seen){.first = ERR_INIT};
    /* Replicas of a cluster redirect readers unless READONLY is set. A primary ignores it. */
    if (cluster && json_array_size(samples) && redis_command(r, NULL, err, "READONLY") < 0)
        return -1;
    json_array_foreach (samples, i, sample)
        if (look(r, sample, &db, ret, err) < 0)
            return -1;
    return 0;
}
