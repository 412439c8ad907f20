#ifndef RECLUSTER_BACKUP_NAME_H
#define RECLUSTER_BACKUP_NAME_H

/*
 * Names of the vendor's backup files:
 *
 *     bk<YYYYMMDD>-<HHMMSS>-<bdb uid>-<database name>-<i>_of_<n>-<shard uid>-<first>-<last>.rdb.gz
 *
 * The stamp is UTC. The database's name is cut at 30 characters and may hold '-', so a name is read
 * from both ends. Text before "bk", a missing ".gz" and ".zst" in its place are accepted.
 */

#include <stdbool.h>
#include <stdint.h>

enum { BACKUP_NAME_WORD_MAX = 64 };

struct backup_name {
    int64_t time_ms;
    char stamp[16]; /* "20201130-223654" */
    char database_uid[BACKUP_NAME_WORD_MAX];
    char database_name[BACKUP_NAME_WORD_MAX];
    char shard_uid[BACKUP_NAME_WORD_MAX];
    unsigned index, total;          /* i of n, from 1 */
    unsigned first_slot, last_slot; /* as written: 0-16383, or 1-4096 of the legacy policy */
};

/* Whether it is the name of an RDB file: *.rdb, *.rdb.gz, *.rdb.zst. */
bool backup_name_is_rdb(const char *name);
/* The same of an append-only file: *.aof, *.aof.gz, *.aof.zst. */
bool backup_name_is_aof(const char *name);
/* "temp-1234.rdb": what a server leaves behind if it is killed during a save. */
bool backup_name_is_unfinished(const char *name);

bool backup_name_parse(const char *name, struct backup_name *ret);

/* `ending`: ".rdb.gz". The caller frees it. */
char *backup_name_format(const struct backup_name *name, const char *ending);

#endif
