#ifndef TEST_SAMPLE_H
#define TEST_SAMPLE_H

/* Made-up RDB files, and gzip. */

#include <stdint.h>

#include "recluster/buf.h"

/* A file of strings with these keys (NULL at the end); ctime_s 0: without that field. */
void sample_rdb(struct buf *out, const char *const *keys, int64_t ctime_s);

/* A key that lies in the slots first..last, for the caller to free. */
char *sample_key(unsigned first_slot, unsigned last_slot);

/* Appends one gzip member. */
void sample_gzip(struct buf *out, const void *data, size_t len);

/* Appends one zstd frame with its checksum. */
void sample_zstd(struct buf *out, const void *data, size_t len);

/* Not to be compressed, always the same. */
void sample_noise(struct buf *out, size_t len);

#endif
