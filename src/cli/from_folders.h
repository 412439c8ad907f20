#ifndef CLI_FROM_FOLDERS_H
#define CLI_FROM_FOLDERS_H

/*
 * --from-folders: the data folders of dead servers, which are the CCS file and the backups at once.
 * They are on this machine, or on others that it reaches (machine_path.h); it sends the files to the
 * hosts.
 */

#include <jansson.h>

#include "command.h"
#include "recluster/live.h"

/*
 * The settings of a server's configuration for a nodes.json: of the file that --settings names, as
 * machine_path.h reads it, else of the redis.conf or valkey.conf beside it. Empty: there is none.
 */
int settings_for_nodes_json(const struct arguments *args, const char *ccs_path, struct buf *ret,
    struct err *err) MUST_CHECK;

/* The folders are the values of the option and the words of the command line. */
int from_folders_read(const struct arguments *args, struct buf *ret_ccs, json_t **ret_folders,
    struct err *err) MUST_CHECK;

/* capture --from-folder. */
int from_folders_look(const struct arguments *args, const char *const *words, struct live **ret,
    struct err *err) MUST_CHECK;

#endif
