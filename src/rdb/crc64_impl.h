#ifndef RECLUSTER_CRC64_IMPL_H
#define RECLUSTER_CRC64_IMPL_H

/*
 * The implementations of crc64(), for its test: all give the same result. crc64_fold() may be
 * called only if crc64_can_fold(), and so on.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t crc64_by_table(uint64_t crc, const void *data, size_t len);

bool crc64_can_fold(void);
uint64_t crc64_fold(uint64_t crc, const void *data, size_t len);

bool crc64_can_fold_wide(void);
uint64_t crc64_fold_wide(uint64_t crc, const void *data, size_t len);

#endif
