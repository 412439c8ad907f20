#ifndef SETS_PART_H
#define SETS_PART_H

/*
 * A file that gets its name when it is whole: its bytes go to PATH.part, which is locked until
 * part_finish() or part_release().
 *
 *     struct part part;
 *     part_open(&part, path, err)
 *     part_add(&part, …), part_patch(&part, …)
 *     part_sync(&part, err), part_name(&part, err)
 *     part_release(&part);          // removes what has not got its name
 *
 * Without a path (NULL) nothing is written, and all of it succeeds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct part {
    const char *path; /* the caller's */
    char *part_path;  /* NULL: nothing is written, or it has its name */
    int fd;
    char *out; /* bytes to be written, out_len of them */
    size_t out_len;
    int64_t written;
};

int part_open(struct part *p, const char *path, struct err *err) MUST_CHECK;
int part_add(struct part *p, const void *data, size_t len, struct err *err) MUST_CHECK;
int part_patch(
    struct part *p, uint64_t offset, const void *data, size_t len, struct err *err) MUST_CHECK;
/* Another file, which holds the same bytes and grows by itself, becomes the part: before part_add(). */
int part_share(struct part *p, const char *other, struct err *err) MUST_CHECK;
/* It is on the disk, all of it. */
/* Cuts off what stands behind so many bytes. */
int part_truncate(struct part *p, uint64_t bytes, struct err *err) MUST_CHECK;
int part_sync(struct part *p, struct err *err) MUST_CHECK;
/* Its final name, once nothing can fail any more. What stood there before is replaced. */
int part_name(struct part *p, struct err *err) MUST_CHECK;
void part_release(struct part *p);

#endif
