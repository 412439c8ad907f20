#ifndef CAPTURE_DATABASE_H
#define CAPTURE_DATABASE_H

/* A CCS file in the making, and what is added to it for each database. */

#include <jansson.h>

#include "document.h"
#include "recluster/capture.h"

struct making {
    struct live *live;
    const struct capture_params *params;
    struct document now, before;
    json_t *findings;
};

/* The node at the address, new if needed. server: one that answered there, or NULL. */
struct hash *making_node(struct making *m, const char *addr, const struct live_server *server);

void making_finding(struct making *m, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* bdb, redis, endpoint and sentinel. */
void making_database(struct making *m, const struct live_database *db);

/* The settings: of the database, and of each shard those in which it differs. */
void settings_add(struct making *m, const struct live_database *db, struct hash *bdb);
void settings_add_own(struct making *m, const struct live_database *db,
    const struct live_server *server, struct hash *shard);

/* Who may log in, modules, functions, TLS. */
void access_add(struct making *m, const struct live_database *db, struct hash *bdb);

#endif
