#ifndef RECLUSTER_SCAN_IMPL_H
#define RECLUSTER_SCAN_IMPL_H

/* A scan that gets its events from another reader, for files that are being written. */

#include "recluster/rdb_scan.h"

/* The argument of each is the scan. */
extern const struct rdb_events rdb_scan_events;

/* Like the event, with a known slot. */
int rdb_scan_record(
    struct rdb_scan *s, const struct rdb_record *record, unsigned slot, struct err *err) MUST_CHECK;

/* Facts that only the writer knows; comes last. Fails like rdb_scan_end() for duplicate keys. */
int rdb_scan_written(
    struct rdb_scan *s, uint64_t bytes, enum rdb_checksum checksum, struct err *err) MUST_CHECK;

#endif
