#ifndef RECLUSTER_HOSTS_H
#define RECLUSTER_HOSTS_H

/*
 * hosts.json: the machines that are offered for a recovery (format: recluster(1), FILES). Unknown
 * keys are an error that names the nearest known one; so are two hosts of one name or address, and
 * a host without an address, which must be an IP address. Secrets in it are resolved (secret.h)
 * when they are used, not here. At most 10,000 hosts, and as many old nodes.
 *
 * "old_nodes" says how nodes of the old cluster are reached that are not among the hosts: what is
 * left of them may be looked at, and stopped for good (--fence). Of the defaults they take those
 * that are about the link.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

struct host {
    const char *name; /* default: the address */
    const char *addr; /* in its usual form */
    const char *rack; /* NULL: not said */
    const char *second_rack;
    const char *link;     /* "local", "ssh", "command"; default "ssh" */
    const char *base_dir; /* absolute; default /var/lib/recluster */
    const char *server;   /* program; default "redis-server" */
    const char *replaces; /* uid of the old node, "1"; NULL: none */
    int64_t memory_bytes; /* cap on what is planned there; -1: none */
    int64_t disk_bytes;   /* the same of disk; -1: none */
    int64_t cores;        /* instead of those that it has; -1: not said */
    int64_t max_shards;   /* "max_redis_servers"; -1: not said */
    json_t *spec;         /* its entry, defaults put in, "~" expanded in paths */
};

/* A node of the old cluster. */
struct old_node {
    const char *node; /* its uid, "1" */
    const char *addr; /* where it is reached; NULL: at the address that the CCS file says */
    const char *link, *base_dir;
    json_t *spec; /* its entry as of a host, defaults put in */
};

struct hosts {
    struct arena arena;
    json_t *root;       /* the file, owns the specs */
    struct host *hosts; /* in the file's order */
    size_t count;
    struct old_node *old_nodes;
    size_t old_node_count;
    json_t *sources; /* {"db:1": location, …}; may be NULL; borrowed from root */
    /* Endpoints of the CCS file's locations that may get the logins of the environment: see
     * store_location_of_ccs(). May be NULL; borrowed from root. */
    json_t *trusted_endpoints;
    /* {"db:1": {"password": secret} or {"open_access": true}}; may be NULL; borrowed from root */
    json_t *databases;
    struct hosts *more; /* files that were added; owned */
};

struct hosts *hosts_load(const char *path, struct err *err) MUST_CHECK;
struct hosts *hosts_parse(const json_t *root, struct err *err) MUST_CHECK; /* keeps a copy */
/* Appends the hosts and old nodes of another file, with its own defaults. On an error *hosts is as it was. */
int hosts_add(struct hosts *hosts, const char *path, struct err *err) MUST_CHECK;
void hosts_free(struct hosts *hosts);

/* How an old node is reached; NULL: "old_nodes" doesn't say. */
const struct old_node *hosts_old_node(const struct hosts *hosts, const char *uid);

#endif
