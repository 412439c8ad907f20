#include "recluster/crc64.h"

#include <string.h>

#include "crc64_impl.h"

/*
 * Bits are reflected: bit i of a 64-bit value is the coefficient of x^(63-i), and the first byte of
 * a message holds its highest powers.
 */
#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5) /* 0xad93d23594c935a9 mirrored */

/* table[k][b]: the CRC of byte b followed by k zero bytes. */
static uint64_t table[8][256];

static uint64_t times_x(uint64_t crc)
{
    return crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
}

/* a * b; both are reflected. */
static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product = 0;

    for (; b; b <<= 1, a = times_x(a))
        if (b >> 63)
            product ^= a;
    return product;
}

uint64_t crc64_zeros(uint64_t crc, uint64_t len)
{
    uint64_t power = UINT64_C(1) << 55; /* x^8: a byte */

    for (; len; len >>= 1, power = times(power, power))
        if (len & 1)
            crc = times(crc, power);
    return crc;
}

static void fill_table(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint64_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = times_x(crc);
        table[0][b] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint64_t crc64_by_table(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (; len >= 8; p += 8, len -= 8) {
        crc ^= (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
               (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
               (uint64_t)p[7] << 56;
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^
              table[4][crc >> 24 & 0xff] ^ table[3][crc >> 32 & 0xff] ^ table[2][crc >> 40 & 0xff] ^
              table[1][crc >> 48 & 0xff] ^ table[0][crc >> 56];
    }
    for (; len; p++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    return crc;
}

#ifdef __x86_64__

#include <immintrin.h>

/*
 * Folding with carry-less multiplication. A 128-bit lane X is D bits before the lane that it is
 * folded into, so it is worth X * x^D there. With L the half that comes first in the message and H
 * the other, X * x^D = L * x^(D+64) + H * x^D, and each power can be replaced by its remainder
 * modulo the polynomial. The multiplication of two reflected 64-bit values gives the product times
 * x, hence one power less in each constant.
 */
struct fold {
    uint64_t low, high; /* x^(D+63), x^(D-1) */
};
enum { LANES = 8, WIDE = 8, WIDE_LANES = 4 * WIDE }; /* a wide register is four lanes */
static struct fold fold_by[WIDE_LANES + 1];          /* [n]: D = 128 * n */
static bool can_fold, can_fold_wide;

static void fill_folds(void)
{
    uint64_t power = UINT64_C(1) << 63; /* x^0 */

    for (unsigned n = 0; n <= 128 * WIDE_LANES + 63; n++, power = times_x(power)) {
        if (n >= 127 && n % 128 == 127)
            fold_by[(n + 1) / 128].high = power;
        if (n >= 128 + 63 && n % 128 == 63)
            fold_by[n / 128].low = power;
    }
    __builtin_cpu_init();
    can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    can_fold_wide =
        can_fold && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512f");
}

#define FOLDING __attribute__((target("pclmul,sse4.1")))

FOLDING static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const void *)p);
}

FOLDING static inline __m128i fold(__m128i lane, __m128i by, __m128i next)
{
    return _mm_xor_si128(_mm_xor_si128(next, _mm_clmulepi64_si128(lane, by, 0x00)),
        _mm_clmulepi64_si128(lane, by, 0x11));
}

FOLDING static inline __m128i constants(unsigned lanes)
{
    return _mm_set_epi64x((long long)fold_by[lanes].high, (long long)fold_by[lanes].low);
}

/* Joins the lanes, then adds the rest of the message. */
FOLDING static uint64_t finish(const __m128i *lanes, size_t count, const uint8_t *p, size_t len)
{
    __m128i lane = lanes[0], by = constants(1);
    uint8_t rest[16];

    for (size_t i = 1; i < count; i++)
        lane = fold(lane, by, lanes[i]);
    for (; len >= 16; p += 16, len -= 16)
        lane = fold(lane, by, load(p));
    _mm_storeu_si128((void *)rest, lane);
    return crc64_by_table(crc64_by_table(0, rest, sizeof(rest)), p, len);
}

FOLDING uint64_t crc64_fold(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    __m128i lane[LANES], by = constants(LANES);

    if (len < 256)
        return crc64_by_table(crc, data, len);
    for (int i = 0; i < LANES; i++)
        lane[i] = load(p + 16 * i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)crc));
    for (p += 128, len -= 128; len >= 128; p += 128, len -= 128)
        for (int i = 0; i < LANES; i++)
            lane[i] = fold(lane[i], by, load(p + 16 * i));
    return finish(lane, LANES, p, len);
}

#define FOLDING_WIDE __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.1")))

/* The same with four lanes in each register. */
FOLDING_WIDE uint64_t crc64_fold_wide(uint64_t crc, const void *data, size_t len)
{
    enum { BLOCK = 64 * WIDE, XOR3 = 0x96 };
    const uint8_t *p = data;
    __m128i lane[WIDE_LANES];
    __m512i wide[WIDE];

    if (len < 2 * BLOCK)
        return crc64_fold(crc, data, len);
    const __m512i by = _mm512_broadcast_i32x4(constants(WIDE_LANES));
    for (int i = 0; i < WIDE; i++)
        wide[i] = _mm512_loadu_si512(p + 64 * i);
    wide[0] = _mm512_xor_si512(wide[0], _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)crc)));
    for (p += BLOCK, len -= BLOCK; len >= BLOCK; p += BLOCK, len -= BLOCK)
        for (int i = 0; i < WIDE; i++)
            wide[i] = _mm512_ternarylogic_epi64(_mm512_loadu_si512(p + 64 * i),
                _mm512_clmulepi64_epi128(wide[i], by, 0x00),
                _mm512_clmulepi64_epi128(wide[i], by, 0x11), XOR3);
    for (int i = 0; i < WIDE; i++)
        _mm512_storeu_si512(&lane[4 * i], wide[i]);
    return finish(lane, WIDE_LANES, p, len);
}

bool crc64_can_fold(void)
{
    return can_fold;
}

bool crc64_can_fold_wide(void)
{
    return can_fold_wide;
}

#else

static void fill_folds(void)
{
}

uint64_t crc64_fold(uint64_t crc, const void *data, size_t len)
{
    return crc64_by_table(crc, data, len);
}

uint64_t crc64_fold_wide(uint64_t crc, const void *data, size_t len)
{
    return crc64_by_table(crc, data, len);
}

bool crc64_can_fold(void)
{
    return false;
}

bool crc64_can_fold_wide(void)
{
    return false;
}

#endif

/* Before main() starts, so that no call needs a check. */
__attribute__((constructor)) static void fill(void)
{
    fill_table();
    fill_folds();
}

uint64_t crc64(uint64_t crc, const void *data, size_t len)
{
    if (crc64_can_fold_wide())
        return crc64_fold_wide(crc, data, len);
    return crc64_can_fold() ? crc64_fold(crc, data, len) : crc64_by_table(crc, data, len);
}
