#ifndef RECLUSTER_SCAN_IMPL_H
#define RECLUSTER_SCAN_IMPL_H

/* A scan whose events come from somebody else's reader, for files that are being written. */

#include "recluster/rdb_scan.h"

/* The argument of each is the scan. */
extern const struct rdb_events rdb_scan_events;

/* As the event, where the slot is known. */
int rdb_scan_record(
    struct rdb_scan *s, const struct rdb_record *record, unsigned slot, struct err *err) MUST_CHECK;

/* What only the writer knows; comes last. Fails as rdb_scan_end() does for keys that are twice there. */
int rdb_scan_written(
    struct rdb_scan *s, uint64_t bytes, enum rdb_checksum checksum, struct err *err) MUST_CHECK;

#endif
