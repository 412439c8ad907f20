#ifndef CAPTURE_SPOOL_H
#define CAPTURE_SPOOL_H

/*
 * Copies on their way to the locations. A file waits in a folder for each location, below the spool
 * folder, until it was written there and read back. It is in the folder before the newest file is
 * sent, so nothing is lost if the process ends.
 *
 *     spool_open(&s, path, stores, count, err)     // takes the lock
 *     spool_add(&s, "ccs-redis-….rdb", &file, err)
 *     spool_send(&s, i, err)                       // all that waits for location i, oldest first
 *     spool_close(&s)
 */

#include "recluster/buf.h"
#include "recluster/store.h"

struct spool {
    char *path;
    int lock; /* -1: not open */
    struct store **stores;
    size_t count;
};

int spool_open(struct spool *s, const char *path, struct store **stores, size_t count,
    struct err *err) MUST_CHECK;
void spool_close(struct spool *s);

int spool_add(
    struct spool *s, const char *name, const struct buf *file, struct err *err) MUST_CHECK;
int spool_send(struct spool *s, size_t location, struct err *err) MUST_CHECK;

/* How many files wait for the location. */
size_t spool_waiting(const struct spool *s, size_t location);

#endif
