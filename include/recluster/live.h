#ifndef RECLUSTER_LIVE_H
#define RECLUSTER_LIVE_H

/*
 * A running cluster as it is: its servers, and what each of them says.
 *
 *     live_ask(&params, &live, err)          // asks the seeds, and every server that they name
 *     for (size_t i = 0; i < live->count; i++)
 *         … live->servers[i] …
 *     live_databases(live)                   // who belongs to whom
 *     live_free(live)
 *
 * Servers may be of a Redis Cluster, a primary with its replicas, Sentinels or single; Redis and
 * Valkey. All are asked at the same time. Only commands that read are sent: those that
 * live_acl_rules() allows.
 *
 * A server that cannot be asked is in the list with its error. live_ask() fails only if no seed
 * answers, or if a seed refuses the login or a command.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"
#include "recluster/secret.h"
#include "recluster/slots.h"
#include "recluster/tcp.h"

struct live_address {
    const char *addr; /* IP address or name */
    int port;
};

struct live_login {
    const char *user;              /* NULL: default */
    const struct secret *password; /* borrowed; NULL: no login */
};

struct live_params {
    const struct live_address *seeds;
    size_t seed_count;
    struct live_login login, sentinel_login; /* Sentinels often have another one, or none */
    struct tls *tls;                         /* borrowed; NULL: no TLS */
    int timeout_ms;                          /* of one server, for everything; 0: 5 s */
    /* Called before a server is asked that only others name; may be NULL. */
    void (*found)(void *arg, const struct live_address *server, const struct live_address *by);
    void *arg;
};

enum live_mode { LIVE_ALONE, LIVE_CLUSTER, LIVE_SENTINEL };

struct live_setting {
    const char *name, *value;
};

struct live_module {
    const char *name, *path; /* path NULL: unknown (before 7.0) */
    int64_t version;
    const char *const *args; /* NULL-ended */
};

/* One line of CLUSTER NODES. */
struct live_node {
    const char *id, *addr; /* addr "": that node does not know it yet */
    int port, bus_port;
    const char *hostname;   /* "": none */
    const char *primary_id; /* NULL: it is a primary */
    bool replica; /* also where its primary is not known, as of one that failed long ago */
    bool myself, fails, suspected, handshaking, no_addr;
    int64_t epoch;
    struct slots slots;
    bool moves_slots; /* open slots, shown by the node concerned alone */
};

/* A primary, as a Sentinel sees it. */
struct live_watch {
    const char *name, *addr;
    int port;
    int64_t quorum, down_after_ms, failover_timeout_ms, parallel_syncs;
    bool is_down;
};

/* "rename-command" of a configuration file; no running server tells of it. */
struct live_rename {
    const char *name; /* in lower case */
    const char *to;   /* "": switched off */
};

struct live_server {
    const char *addr; /* IP address where it was asked */
    const char *name; /* the name that the operator or another server used, if any */
    int port;
    bool seed;
    struct err error; /* ERR_NONE: it answered all */
    bool answered;    /* at least INFO */
    enum live_mode mode;
    const char *info;              /* the text of INFO */
    struct live_setting *settings; /* CONFIG GET *, sorted by name */
    size_t setting_count;
    bool settings_unknown;       /* of a folder without a configuration file */
    bool login_unknown;          /* of a folder: a file that may say who may log in is missing */
    struct live_rename *renamed; /* of a folder */
    size_t renamed_count;
    const char *folder;       /* prefix and path of the folder; NULL: it was asked */
    const char *const *users; /* ACL LIST, NULL-ended */
    struct live_module *modules;
    size_t module_count;
    const char *const *functions; /* names of libraries, sorted, NULL-ended */
    struct live_node *nodes;      /* CLUSTER NODES, sorted by id */
    size_t node_count;
    int64_t epoch; /* cluster_current_epoch; -1: none */
    bool state_ok; /* cluster_state:ok */
    struct live_watch *watches;
    size_t watch_count;
    bool demands_login; /* it accepted a login, and answers nobody without one */
    /* Of user default, where that login was by it: the setting requirepass. Secret; NULL: other. */
    const char *own_password;
    const char *const *refused; /* commands that it refuses or does not know, NULL-ended */
};

/* One database: a cluster, or a primary with its replicas. */
struct live_database {
    const char *name; /* a Sentinel's name for it; NULL: none */
    bool cluster;
    const struct live_server **servers; /* that answered all; primaries first, then by address */
    size_t count;
    const struct live_server *first; /* the one that speaks for it: a primary */
    const struct live_watch *watch;  /* NULL: no Sentinel watches it */
    const struct live_server **sentinels;
    size_t sentinel_count;
};

/* What is odd about data folders. It becomes a finding of the CCS file. */
struct live_note {
    const char *code, *message;
};

struct live {
    struct arena arena; /* owns all */
    int64_t asked_ms;   /* wall time at the beginning */
    struct live_server **servers;
    size_t count, alloc;
    struct live_database *databases; /* sorted by the address of `first` */
    size_t database_count;
    struct live_note *notes; /* of live_from_folders() alone */
    size_t note_count, note_alloc;
};

int live_ask(const struct live_params *params, struct live **ret, struct err *err) MUST_CHECK;

/* A data folder, on this machine or another. */
struct live_folder {
    const char *prefix;     /* of its path in messages: "" here, "a1:" there */
    const char *path;       /* absolute, without links if it is here */
    const json_t *location; /* an object with "path"; borrowed */
    const char *addr;       /* of its machine, if the files do not say; NULL: 127.0.0.1 */
    const char *conf;       /* name of its configuration file; NULL: the usual ones */
};

/*
 * The same from the data folders of servers that no longer run, one for each: redis.conf or
 * valkey.conf, users.acl, nodes.conf. Versions and what the files do not say are not known.
 *
 * ERR_CHECK if the folders do not belong together: two of the same node, of different clusters, two
 * that claim a slot in the same epoch; also if a server of this machine runs in one. What epochs
 * decide, and what is missing, is in `notes`.
 */
int live_from_folders(
    const struct live_folder *folders, size_t count, struct live **ret, struct err *err) MUST_CHECK;
/*
 * A server as the configuration in a folder describes it, which has no data and no nodes.conf. If
 * `conf` names the file: ERR_NOT_FOUND if it is missing, ERR_CHECK if it is another kind of file.
 */
int live_from_settings(
    const struct live_folder *folder, struct live **ret, struct err *err) MUST_CHECK;
void live_free(struct live *live); /* may be NULL */

/* A line of INFO; NULL if it has none. The arena's. */
const char *live_info(struct live *live, const struct live_server *server, const char *field);
int64_t live_info_int(
    struct live *live, const struct live_server *server, const char *field, int64_t missing);

/* A setting, or NULL. */
const char *live_setting(const struct live_server *server, const char *name);

/*
 * A line of ACL LIST with its rules in one order: equal texts are equal users. For comparing only,
 * since the order of rules matters to a server that reads them. The arena's.
 */
const char *live_user_rules(struct arena *arena, const char *line);

/* The node that the server itself is, or NULL. */
const struct live_node *live_myself(const struct live_server *server);

/* The server at this address, or at this name if it was asked by one; NULL: none was asked there. */
const struct live_server *live_server_at(const struct live *live, const char *addr, int port);

/* It answered all questions. Of one that did not, nothing but its INFO is used. */
bool live_is_whole(const struct live_server *server);

bool live_is_primary(struct live *live, const struct live_server *server);

/*
 * What is being changed at this moment: a failover, moving slots, nodes that see the cluster
 * differently. The arena's; NULL if the cluster is settled. What lasts (a dead node) does not count.
 */
const char *live_unsettled(struct live *live);

/*
 * A digest of everything that a CCS file is made of, without what moves by itself (times, memory,
 * offsets): equal digests mean equal CCS files. `ret` has room for DIGEST_HEX_MAX.
 */
void live_digest(struct live *live, char *ret);

/*
 * The ACL rules that a user of live_ask() needs: for servers since 7.0, and for older ones. On
 * Sentinels it needs live_acl_sentinel_rules.
 */
extern const char live_acl_rules[], live_acl_rules_6[], live_acl_sentinel_rules[];

#endif
