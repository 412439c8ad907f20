#ifndef CCS_FINDING_H
#define CCS_FINDING_H

/*
 * Findings: what an admin should know about a CCS file before using it for a recovery.
 *
 *     finding_add(f, FINDING_NO_PRIMARY, finding_keys("bdb", uid), "database '%s' …", …);
 *
 * A finding is a row of the table `finding`. Messages put names in single quotes and never contain
 * a secret. Control characters in names are written as \xNN, and long messages are cut. At most
 * FINDING_MAX_PER_CODE findings of a code are kept and the rest is counted, so that the report of a
 * broken file stays readable.
 *
 * A failure of the state file is kept in findings.failed, with err set; later calls do nothing.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"
#include "recluster/mem.h"
#include "recluster/state.h"

enum { FINDING_MAX_PER_CODE = 100 };

/*
 * X(identifier, stable word, severity)
 *
 * error: something cannot be restored, or not from this file alone. warning: it is restored
 * differently, or someone should look at it. info: worth knowing.
 */
#define FINDING_CODES(X)                                                                           \
    X(FINDING_NO_DATABASE, "no-database", "error")                                                 \
    X(FINDING_NO_PRIMARY, "no-primary", "error")                                                   \
    X(FINDING_SLOTS_MISSING, "slots-missing", "error")                                             \
    X(FINDING_SLOTS_OVERLAP, "slots-overlap", "error")                                             \
    X(FINDING_SLOTS_UNREADABLE, "slots-unreadable", "error")                                       \
    X(FINDING_UNKNOWN_DATABASE, "unknown-database", "error")                                       \
    X(FINDING_PASSWORD_UNREADABLE, "password-unreadable", "error")                                 \
    X(FINDING_ACTIVE_ACTIVE, "active-active", "error")                                             \
    X(FINDING_MEMCACHED, "memcached", "error")                                                     \
    X(FINDING_UNKNOWN_NODE, "unknown-node", "warning")                                             \
    X(FINDING_PRIMARY_COUNT, "primary-count", "warning")                                           \
    X(FINDING_NOT_SHARDED, "not-sharded", "warning")                                               \
    X(FINDING_REPLICA_UNPAIRED, "replica-unpaired", "warning")                                     \
    X(FINDING_REPLICA_MISSING, "replica-missing", "warning")                                       \
    X(FINDING_SAME_NODE, "same-node", "warning")                                                   \
    X(FINDING_SAME_RACK, "same-rack", "warning")                                                   \
    X(FINDING_LINK_MISMATCH, "link-mismatch", "warning")                                           \
    X(FINDING_SET_MISMATCH, "set-mismatch", "warning")                                             \
    X(FINDING_NO_ENDPOINT, "no-endpoint", "warning")                                               \
    X(FINDING_DUPLICATE_PORT, "duplicate-port", "warning")                                         \
    X(FINDING_DUPLICATE_NAME, "duplicate-name", "warning")                                         \
    X(FINDING_DATABASE_STATUS, "database-status", "warning")                                       \
    X(FINDING_NODE_STATUS, "node-status", "warning")                                               \
    X(FINDING_MODULES, "modules", "warning")                                                       \
    X(FINDING_FLASH, "flash", "warning")                                                           \
    X(FINDING_TLS, "tls", "warning")                                                               \
    X(FINDING_USERS, "users", "warning")                                                           \
    X(FINDING_USER_PASSWORDS, "user-passwords", "warning")                                         \
    X(FINDING_DEFAULT_USER_OFF, "default-user-off", "warning")                                     \
    X(FINDING_SHARD_KEY_RULES, "shard-key-rules", "warning")                                       \
    X(FINDING_NO_BACKUP_LOCATION, "no-backup-location", "warning")                                 \
    X(FINDING_CAPTURE, "capture", "warning")                                                       \
    X(FINDING_CCS_OLD, "ccs-old", "warning")                                                       \
    X(FINDING_UNREADABLE_VALUE, "unreadable-value", "warning")                                     \
    X(FINDING_UNREADABLE_KEY, "unreadable-key", "warning")                                         \
    X(FINDING_DUPLICATE_KEY, "duplicate-key", "warning")                                           \
    X(FINDING_SETTINGS_UNKNOWN, "settings-unknown", "warning")                                     \
    X(FINDING_CCS_AGE_UNKNOWN, "ccs-age-unknown", "info")                                          \
    X(FINDING_NODE_WITHOUT_SLOTS, "node-without-slots", "info")                                    \
    X(FINDING_MORE, "more-findings", "info")

enum finding_code {
#define FINDING_ENUM(id, word, severity) id,
    FINDING_CODES(FINDING_ENUM)
#undef FINDING_ENUM
        FINDING_CODE_COUNT
};

struct findings {
    struct state *state;
    struct err *err;
    bool failed;
    size_t counts[FINDING_CODE_COUNT];
};

/* Pairs of type and uid: finding_keys("redis", "4", "bdb", "1") is ["redis:4", "bdb:1"]. */
#define finding_keys(...) finding_key_list((const char *const[]){__VA_ARGS__, NULL})
json_t *finding_key_list(const char *const *pairs);

/* Adds a key to such a list. */
void finding_add_key(json_t *keys, const char *type, const char *uid);

/* Takes over keys; NULL: none. */
void finding_add(struct findings *f, enum finding_code code, json_t *keys, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Reports how many were left out. Call it once, at the end. */
void findings_end(struct findings *f);

#endif
