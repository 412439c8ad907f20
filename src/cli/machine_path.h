#ifndef CLI_MACHINE_PATH_H
#define CLI_MACHINE_PATH_H

/*
 * Words of the command line that name a file or folder of this machine or of another one:
 *
 *     /data                              here
 *     a1:/data                           of a host of the hosts files, over its link
 *     node:1:/data                       of one of their "old_nodes"
 *     ssh://USER@10.0.0.1:22/data        over SFTP; also sftp://
 *     docker://NAME/data                 in a container; also podman:// and kubectl://POD
 *
 * For folders also: node:1, its "data_path"; old_nodes, those of all.
 */

#include <jansson.h>

#include "command.h"
#include "recluster/hosts.h"

struct machine_path {
    char *prefix, *path; /* "a1:", "/data"; "" here */
    char *addr;          /* of that machine; NULL: not known, or here */
    json_t *location;    /* of the folder `path`, or of the folder of the file */
};

struct machine_paths {
    struct machine_path *list;
    size_t count, alloc;
};

/* Whether it names another machine, over a link. */
bool machine_path_is_away(const char *word);

/* `hosts` may be NULL. */
int machine_path_of_file(const struct hosts *hosts, const char *word, struct machine_path *ret,
    struct err *err) MUST_CHECK;
int machine_paths_add_folders(struct machine_paths *all, const struct hosts *hosts,
    const char *word, struct err *err) MUST_CHECK;

void machine_path_release(struct machine_path *p);
void machine_paths_release(struct machine_paths *all);

#endif
