#ifndef RECLUSTER_HOSTS_H
#define RECLUSTER_HOSTS_H

/*
 * hosts.json: the machines for a recovery (format: recluster(1), FILES).
 *
 * Errors: an unknown key (the message names the nearest known one), two hosts with the same name or
 * address, a host without an address, an address that is not an IP address. Secrets are resolved
 * (secret.h) when they are used, not here. At most 10,000 hosts and 10,000 old nodes.
 *
 * "old_nodes" says how to reach nodes of the old cluster that are not hosts. Their remains are
 * read, and their servers stopped for good if --fence is given. Defaults that concern the link
 * apply to them too.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

struct host {
    const char *name; /* default: the address */
    const char *addr; /* in its usual form */
    const char *rack; /* NULL: not given */
    const char *second_rack;
    const char *link;      /* "local", "ssh", "command"; default "ssh" */
    const char *base_dir;  /* absolute; default /var/lib/recluster */
    const char *server;    /* program; default "redis-server" */
    const char *replaces;  /* uid of the old node, "1"; NULL: none */
    int64_t memory_bytes;  /* limit of the memory that is planned there; -1: none */
    int64_t disk_bytes;    /* the same for the disk; -1: none */
    int64_t cores;         /* overrides the number that the host has; -1: not given */
    int64_t max_shards;    /* "max_redis_servers"; -1: not given */
    const char *hostname;  /* "announce_hostname", that clients of a cluster are told; NULL: none */
    const char *announced; /* "announce_addr", where others reach its servers; `addr` if missing */
    bool has_tls;          /* "tls": its servers can speak TLS */
    json_t *spec;          /* its entry with defaults added and "~" in paths expanded */
};

/* A node of the old cluster. */
struct old_node {
    const char *node; /* its uid, "1" */
    const char *addr; /* where it is reached; NULL: at its address in the CCS file */
    const char *link, *base_dir;
    json_t *spec; /* its entry, like that of a host, with defaults added */
};

struct hosts {
    struct arena arena;
    json_t *root;       /* the file, owns the specs */
    struct host *hosts; /* in the file's order */
    size_t count;
    struct old_node *old_nodes;
    size_t old_node_count;
    json_t *sources; /* {"db:1": location, …}; may be NULL; borrowed from root */
    /* Endpoints of locations in the CCS file that may get logins of the environment; see
     * store_location_of_ccs(). May be NULL; borrowed from root. */
    json_t *trusted_endpoints;
    /* {"db:1": {"password": secret} or {"open_access": true}}; may be NULL; borrowed from root */
    json_t *databases;
    /* How to ask the running cluster: {"addresses": […], "user", "password", "tls", …}; may be NULL;
     * borrowed from root */
    json_t *live;
    struct hosts *more; /* files added by hosts_add(); owned */
};

struct hosts *hosts_load(const char *path, struct err *err) MUST_CHECK;
struct hosts *hosts_parse(const json_t *root, struct err *err) MUST_CHECK; /* keeps a copy */
/* Appends the hosts and old nodes of another file, with the defaults of that file. An error leaves
 * *hosts unchanged. */
int hosts_add(struct hosts *hosts, const char *path, struct err *err) MUST_CHECK;
void hosts_free(struct hosts *hosts);

/* How to reach an old node; NULL: it is not in "old_nodes". */
const struct old_node *hosts_old_node(const struct hosts *hosts, const char *uid);

#endif
