#ifndef SURVEY_DISKS_H
#define SURVEY_DISKS_H

/*
 * Files that shards' servers kept on the disks of hosts and of old nodes (recluster/disk_files.h):
 * who is asked, and what came of it, in survey->disks, a list of
 *
 *     {"owner": "a1" or "node:1", "host": "a1" (not of an old node), "path",
 *      "location" (of an old node), "files": […] or "error": {"name", "message", "hint"}}
 *
 * "recovery_path" of a host or an old node says which folders: its own words, or, true, those that
 * the CCS file says of the node. Hosts are asked over their links, old nodes over SFTP.
 */

#include "recluster/loop.h"
#include "recluster/survey.h"

/* The folders of an entry of the hosts file; node: what it is of the old cluster, or NULL. The
 * caller's; NULL: none. */
json_t *disks_paths(const json_t *spec, const struct ccs_node *node);

/* The same of a host, as `list_files` takes them. */
json_t *disks_paths_of_host(const struct survey *survey, const struct host *host);
/* Its answer, or why there is none. */
void disks_take(
    struct survey *survey, const struct host *host, const json_t *result, const struct err *error);

/* old_nodes.c: adds a job for each old node to the loop, which fill survey->disks. */
void disks_ask_old_nodes(struct survey *survey, struct loop *loop);

#endif
