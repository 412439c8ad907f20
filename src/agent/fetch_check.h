#ifndef RECLUSTER_AGENT_FETCH_CHECK_H
#define RECLUSTER_AGENT_FETCH_CHECK_H

/* By the facts of a scan: can a server of this host load the file, and does it fit its shard? */

#include <jansson.h>

#include "recluster/slots.h"
#include "shard.h"

enum { DATABASES_MAX = 16384 }; /* more databases would cost each server much memory */

struct fetch_needs {
    struct slots slots;
    bool has_slots, valkey_ok;
    json_int_t databases; /* that its server may have */
    json_int_t rdb_version_max;
};

/*
 * ERR_CHECK says what does not fit. If it is data of modules that the server lacks and the file has
 * no keys of, their names are added to `unused`: a file made without that data would fit.
 */
int fetch_check(const struct shard *shard, const struct fetch_needs *needs, const json_t *facts,
    json_t *unused, struct err *err) MUST_CHECK;

#endif
