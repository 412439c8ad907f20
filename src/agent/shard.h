#ifndef AGENT_SHARD_H
#define AGENT_SHARD_H

/*
 * A shard's folder, or that of a Sentinel (start_sentinel.c), and its record shard.json, which keeps what the agent must remember between
 * calls. prepare_shard writes it last, so its presence says that the folder is complete. It holds
 * the parameters of prepare_shard and these marks. Each mark is set before its step acts:
 *
 *     configured   redis.conf and dump.rdb belong to the server: never written again
 *     opened       clients may write: key counts may differ from the backup
 *     sealed       the recovery is over and its passwords are gone: never stopped, never removed
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

struct shard {
    char *base_dir;
    char *dir;                  /* below base_dir */
    char *path;                 /* of the folder */
    json_t *record;             /* shard.json; NULL: not prepared */
    const char *admin_password; /* of the parameters; NULL: there is no such user */
};
#define SHARD_INIT                                                                                 \
    {                                                                                              \
        .base_dir = NULL                                                                           \
    }

/*
 * Finds the shard of "base_dir", "recovery" and "dir" and enters its folder, if it exists.
 * ERR_CHECK if the base_dir or the shard belongs to another recovery.
 */
int shard_find(const json_t *params, struct shard *ret, struct err *err) MUST_CHECK;

/* Like shard_find(); ERR_NOT_FOUND if the shard was not prepared. */
int shard_enter(const json_t *params, struct shard *ret, struct err *err) MUST_CHECK;
void shard_release(struct shard *shard);

int shard_save(const struct shard *shard, struct err *err) MUST_CHECK;

enum shard_mark { SHARD_CONFIGURED, SHARD_OPENED, SHARD_SEALED };
bool shard_has(const struct shard *shard, enum shard_mark mark);
int shard_set(struct shard *shard, enum shard_mark mark, struct err *err) MUST_CHECK;

/* Whether the shard's server was started on a file that is still arriving, and is not verified. */
bool shard_is_landing(const struct shard *shard);

/* From the record; NULL, 0 if it lacks the field. */
const char *shard_string(const struct shard *shard, const char *name);
int shard_int(const struct shard *shard, const char *name);
bool shard_is_replica(const struct shard *shard);
bool shard_is_sentinel(const struct shard *shard);

/* Writes "databases" of params, the number of databases of its server, into the record. */
void shard_take_databases(struct shard *shard, const json_t *params);

/* "as": the name of a file in incoming/. ERR_PROTOCOL if it is anything else. */
int shard_file_name(const json_t *params, const char **ret, struct err *err) MUST_CHECK;

/* A free name to move `name` to: "dump.rdb.aside-2026-01-31T13:05:09Z". The caller frees it. */
char *aside_name(const char *name, const char *word);

#endif
