#ifndef SETS_PART_H
#define SETS_PART_H

/*
 * A file that gets its name when it is complete. Until then its bytes go to PATH.part, which is
 * locked until part_name() or part_release().
 *
 *     struct part part;
 *     part_open(&part, path, err)
 *     part_add(&part, …), part_patch(&part, …)
 *     part_sync(&part, err), part_name(&part, err)
 *     part_release(&part);          // removes the part if it has no name yet
 *
 * Without a path (NULL) nothing is written, and every call succeeds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct part {
    const char *path; /* the caller's */
    char *part_path;  /* NULL: nothing is written, or it already has its name */
    int fd;
    char *out; /* buffered bytes, out_len of them */
    size_t out_len;
    int64_t written;
};

int part_open(struct part *p, const char *path, struct err *err) MUST_CHECK;
int part_add(struct part *p, const void *data, size_t len, struct err *err) MUST_CHECK;
int part_patch(
    struct part *p, uint64_t offset, const void *data, size_t len, struct err *err) MUST_CHECK;
/* Before part_add(): makes another file with the same bytes, which keeps growing, the part. */
int part_share(struct part *p, const char *other, struct err *err) MUST_CHECK;
/* Syncs all of it to the disk. */
/* Cuts the file after so many bytes. */
int part_truncate(struct part *p, uint64_t bytes, struct err *err) MUST_CHECK;
int part_sync(struct part *p, struct err *err) MUST_CHECK;
/* Renames the part to its final name, as the last step. Replaces a file of that name. */
int part_name(struct part *p, struct err *err) MUST_CHECK;
void part_release(struct part *p);

#endif
