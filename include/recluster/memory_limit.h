#ifndef RECLUSTER_MEMORY_LIMIT_H
#define RECLUSTER_MEMORY_LIMIT_H

/*
 * A limit on the memory of this process while it reads what others wrote: a file or an answer that
 * takes more than any honest one ends in an error that names it, not in a machine without memory.
 *
 *     memory_limit_set(MEMORY_LIMIT_CCS);
 *     memory_limit_name("CCS file '%s'", path);
 *     … read …
 *     memory_limit_lift();
 *
 * It is the last line of defence: each reader has limits of its own, which speak of keys and lengths. It
 * limits the address space (RLIMIT_AS), beyond what the process has when it is set; shared memory and
 * mapped files count. Only the soft limit is changed, so that it can be lifted; a lower one that the
 * process was started with stays. Programs that are started (child.h) never inherit it. In builds
 * with the address sanitizer, which needs terabytes, it does nothing.
 *
 * Memory that runs out meanwhile ends the process (mem.h): the limit is lifted, the error told, and the
 * exit status is that of ERR_LIMIT. It is printed on standard error, unless memory_limit_tell() names
 * a function for it. JSON values and SQLite count like all else.
 */

#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

/* A CCS file at all limits of its reader takes 700 MB. */
#define MEMORY_LIMIT_CCS (UINT64_C(1) << 30)

/*
 * For files and answers of any size: 4 GB, or half of the machine's memory where that is more. A key and a
 * function library of 512 MB each, packed and unpacked, with what zstd needs, stay below 3 GB; the list
 * of a file's keys takes 8 to 16 bytes a key, a fourth at most of what the server will need for it.
 */
uint64_t memory_limit_of_reader(void);

void memory_limit_set(uint64_t bytes);
void memory_limit_lift(void);

/* What is read, for the message: "file 'x' in 's3://b/'". Cut when long. */
void memory_limit_name(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* `tell` returns the exit status. It may allocate. */
void memory_limit_tell(int (*tell)(void *arg, const struct err *err), void *arg);

#endif
