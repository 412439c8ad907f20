#ifndef BACKUP_MANIFEST_H
#define BACKUP_MANIFEST_H

/* The manifest of a set (recluster(5)), and the names of its files. */

#include "cut.h"
#include "recluster/backup.h"

/* One file of the set, as its recording ended. */
struct manifest_file {
    const struct backup_shard *shard;
    const char *name;
    const struct cut_shard *cut;
    const json_t *based, *written; /* the notifications of record (protocol.h) */
};

/* A word of a name, not "..": other characters than letters, digits, '.' and '_' become '_'. */
enum { MANIFEST_WORD_MAX = 64 };
void manifest_word(const char *text, char ret[MANIFEST_WORD_MAX]);

/* The name of the i-th file, from 0. The caller frees it. */
char *manifest_file_name(
    const struct backup_params *params, const struct backup_shards *shards, size_t i);
/* "bk<stamp>-<uid>-recluster-manifest.json". The caller frees it. */
char *manifest_name(const struct backup_params *params, const struct ccs_database *db);

/* The caller's. cut->shards NULL: a single shard, without a cut. */
json_t *manifest_make(const struct backup_params *params, const struct backup_shards *shards,
    const struct cut *cut, const struct manifest_file *files);

/* Writes it and reads it back. */
int manifest_put(const struct backup_params *params, const struct ccs_database *db,
    const json_t *manifest, struct err *err) MUST_CHECK;

#endif
