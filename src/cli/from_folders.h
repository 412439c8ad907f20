#ifndef CLI_FROM_FOLDERS_H
#define CLI_FROM_FOLDERS_H

/*
 * --from-folders: the data folders of dead servers, which are the CCS file and the backups at once.
 * They are on this machine, which sends the files to the hosts.
 */

#include <jansson.h>

#include "command.h"

/* The settings of a redis.conf or valkey.conf beside a nodes.json; empty: there is none. */
int settings_beside(const char *ccs_path, struct buf *ret, struct err *err) MUST_CHECK;

/* The folders are the values of the option and the words of the command line. */
int from_folders_read(const struct arguments *args, struct buf *ret_ccs, json_t **ret_folders,
    struct err *err) MUST_CHECK;

#endif
