#ifndef RECLUSTER_AGENT_FETCH_CHECK_H
#define RECLUSTER_AGENT_FETCH_CHECK_H

/* Whether a server of this host can load a file, and the file is its shard's: by the scan's facts. */

#include <jansson.h>

#include "recluster/slots.h"
#include "shard.h"

enum { DATABASES_MAX = 16384 }; /* more would cost each server much memory for nothing */

struct fetch_needs {
    struct slots slots;
    bool has_slots, valkey_ok;
    json_int_t databases; /* that its server may have */
    json_int_t rdb_version_max;
};

/*
 * ERR_CHECK says what does not fit. Where it is data of modules that the server lacks, and of which
 * the file has no key, their names are added to `unused`: a file without that data would do.
 */
int fetch_check(const struct shard *shard, const struct fetch_needs *needs, const json_t *facts,
    json_t *unused, struct err *err) MUST_CHECK;

#endif
