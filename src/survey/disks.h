#ifndef SURVEY_DISKS_H
#define SURVEY_DISKS_H

/*
 * Files on the disks of hosts and of old nodes, left there by the shards' servers
 * (recluster/disk_files.h): which folders are searched, and the answers in survey->disks, a list of
 *
 *     {"owner": "a1" or "node:1", "host": "a1" (not of an old node), "path",
 *      "given" (true: by --from-folders), "location" (of an old node), "files": […] or "error": {"name", "message", "hint"}}
 *
 * "recovery_path" of a host or an old node names the folders; true means the folders that the CCS
 * file names for the node. Hosts are asked over their links, old nodes as link_location.h says.
 */

#include "recluster/loop.h"
#include "recluster/survey.h"

/* The folders of an entry of the hosts file; node: its node of the old cluster, or NULL. */
json_t *disks_paths(const json_t *spec, const struct ccs_node *node);

/* The folders of a host, as parameters of `list_files`. */
json_t *disks_paths_of_host(const struct survey *survey, const struct host *host);
/* Takes the host's answer or its error. */
void disks_take(
    struct survey *survey, const struct host *host, const json_t *result, const struct err *error);

/* old_nodes.c: adds a job to the loop for each old node; the jobs fill survey->disks. */
void disks_ask_old_nodes(struct survey *survey, struct loop *loop);

#endif
