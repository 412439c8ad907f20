#ifndef RECLUSTER_CRC64_H
#define RECLUSTER_CRC64_H

/*
 * The CRC64 of RDB files: polynomial 0xad93d23594c935a9 (Jones), reflected, start value 0, no final
 * xor. That of "123456789" is 0xe9c6d914c4b8d9ca. To continue a CRC, pass it in again:
 *
 *     crc = crc64(crc64(0, a, la), b, lb)     equals the CRC of a followed by b
 */

#include <stddef.h>
#include <stdint.h>

uint64_t crc64(uint64_t crc, const void *data, size_t len);

/*
 * crc64() over len zero bytes, as fast as crc64() over a few hundred bytes. The CRC is linear, so
 * this also joins the CRCs of two pieces, and updates a CRC after some bytes were changed:
 *
 *     crc_ab = crc64_zeros(crc_a, len_b) ^ crc_b
 *     crc ^= crc64_zeros(crc64(0, old_xor_new, n), bytes_behind_them)
 */
uint64_t crc64_zeros(uint64_t crc, uint64_t len);

#endif
