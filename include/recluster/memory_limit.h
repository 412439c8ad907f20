#ifndef RECLUSTER_MEMORY_LIMIT_H
#define RECLUSTER_MEMORY_LIMIT_H

/*
 * Limits the memory of this process while it reads what others wrote. A file or an answer that
 * needs more than any honest one ends in an error that names it, before the machine runs out of
 * memory.
 *
 *     memory_limit_set(MEMORY_LIMIT_CCS);
 *     memory_limit_name("CCS file '%s'", path);
 *     … read …
 *     memory_limit_lift();
 *
 * It is the last line of defence: each reader has its own limits for keys and lengths.
 *
 * The limit applies to the address space (RLIMIT_AS), in addition to what the process uses already;
 * shared memory and mapped files count. Only the soft limit changes, so it can be lifted. A lower
 * limit with which the process was started stays. Started programs (child.h) never inherit it. In
 * builds with the address sanitizer, which needs terabytes, it does nothing.
 *
 * If memory runs out under the limit, the limit is lifted, the error is reported, and the process
 * exits with the status of ERR_LIMIT. The error is printed on standard error, or passed to the
 * function of memory_limit_tell(). Memory of JSON values and of SQLite counts too.
 */

#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

/* A CCS file at all limits of its reader takes 700 MB. */
#define MEMORY_LIMIT_CCS (UINT64_C(1) << 30)

/*
 * For files and answers of any size: 4 GB, or half of the machine's memory if that is more. A key
 * and a function library of 512 MB each, packed and unpacked, and the memory of zstd stay below 3
 * GB. The list of a file's keys takes 8 to 16 bytes for each key, which is at most a fourth of what
 * the server will need for the key.
 */
uint64_t memory_limit_of_reader(void);

void memory_limit_set(uint64_t bytes);
void memory_limit_lift(void);

/* Names what is read, for the message: "file 'x' in 's3://b/'". A long name is cut. */
void memory_limit_name(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* `tell` returns the exit status. It may allocate. */
void memory_limit_tell(int (*tell)(void *arg, const struct err *err), void *arg);

#endif
