#ifndef AGENT_SHARD_H
#define AGENT_SHARD_H

/*
 * A shard's folder and its record shard.json, which is what the agent remembers of a shard between
 * two calls. prepare_shard writes it as its last act, so its presence says that the folder is
 * whole. It holds the parameters of prepare_shard, and these marks, each set before that step acts:
 *
 *     configured   redis.conf and dump.rdb are the server's own from now on: never written again
 *     opened       clients may write: key counts no longer equal those of the backup
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
 * Finds the shard of "base_dir", "recovery" and "dir" and makes its folder the process's working
 * folder, if it exists. ERR_CHECK if the base_dir or the shard is of another recovery.
 */
int shard_find(const json_t *params, struct shard *ret, struct err *err) MUST_CHECK;

/* As shard_find(); ERR_NOT_FOUND if the shard was not prepared. */
int shard_enter(const json_t *params, struct shard *ret, struct err *err) MUST_CHECK;
void shard_release(struct shard *shard);

/* Writes the record. */
int shard_save(const struct shard *shard, struct err *err) MUST_CHECK;

enum shard_mark { SHARD_CONFIGURED, SHARD_OPENED, SHARD_SEALED };
bool shard_has(const struct shard *shard, enum shard_mark mark);
int shard_set(struct shard *shard, enum shard_mark mark, struct err *err) MUST_CHECK;

/* The shard's server, if one runs, was started on a file that is still coming, and has proven nothing yet. */
bool shard_is_landing(const struct shard *shard);

/* Of the record; NULL, 0 where it has no such field. */
const char *shard_string(const struct shard *shard, const char *name);
int shard_int(const struct shard *shard, const char *name);
bool shard_is_replica(const struct shard *shard);

/* "databases" of params, how many its server is to have, into the record; nothing else is changed. */
void shard_take_databases(struct shard *shard, const json_t *params);

/* "as": the name of a file in incoming/. ERR_PROTOCOL if it is anything else. */
int shard_file_name(const json_t *params, const char **ret, struct err *err) MUST_CHECK;

/* A free name to move `name` to: "dump.rdb.aside-2026-01-31T13:05:09Z". The caller frees it. */
char *aside_name(const char *name, const char *word);

#endif
