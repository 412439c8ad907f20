#ifndef CAPTURE_DATABASE_H
#define CAPTURE_DATABASE_H

/* What is added to a CCS file for each database. */

#include "making.h"

/* bdb, redis, endpoint and sentinel. */
void making_database(struct making *m, const struct live_database *db);

/*
 * The databases of the file before of which no server could be asked now: as they were, with status
 * "down". After making_database() of all others.
 */
void making_silent_databases(struct making *m);

/* The settings: of the database, and of each shard those in which it differs. */
void settings_add(struct making *m, const struct live_database *db, struct hash *bdb);
void settings_add_own(struct making *m, const struct live_database *db,
    const struct live_server *server, struct hash *shard);

/* Who may log in, modules, functions, TLS. */
void access_add(struct making *m, const struct live_database *db, struct hash *bdb);

#endif
