#include "recluster/slots.h"

#include <endian.h>
#include <string.h>

enum { WORDS = SLOT_COUNT / 64 };

void slots_clear(struct slots *s)
{
    memset(s, 0, sizeof(*s));
}

void slots_fill(struct slots *s)
{
    memset(s, 0xff, sizeof(*s));
}

void slots_add_range(struct slots *s, unsigned first, unsigned last)
{
    for (unsigned slot = first; slot <= last; slot++)
        slots_add(s, slot);
}

unsigned slots_count(const struct slots *s)
{
    unsigned count = 0;
    for (size_t i = 0; i < WORDS; i++)
        count += (unsigned)__builtin_popcountll(s->bits[i]);
    return count;
}

bool slots_is_empty(const struct slots *s)
{
    return slots_count(s) == 0;
}

bool slots_equal(const struct slots *a, const struct slots *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool slots_overlap(const struct slots *a, const struct slots *b)
{
    for (size_t i = 0; i < WORDS; i++)
        if (a->bits[i] & b->bits[i])
            return true;
    return false;
}

unsigned slots_common(const struct slots *a, const struct slots *b)
{
    struct slots both = *a;

    slots_intersect(&both, b);
    return slots_count(&both);
}

bool slots_contain(const struct slots *all, const struct slots *part)
{
    for (size_t i = 0; i < WORDS; i++)
        if (part->bits[i] & ~all->bits[i])
            return false;
    return true;
}

void slots_union(struct slots *s, const struct slots *more)
{
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] |= more->bits[i];
}

void slots_intersect(struct slots *s, const struct slots *other)
{
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] &= other->bits[i];
}

void slots_subtract(struct slots *s, const struct slots *less)
{
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] &= ~less->bits[i];
}

/* The first slot from `from` on that is in the set (in = true) or not in it; SLOT_COUNT: none. */
static unsigned find(const struct slots *s, unsigned from, bool in)
{
    while (from < SLOT_COUNT) {
        uint64_t word = in ? s->bits[from / 64] : ~s->bits[from / 64];
        word >>= from % 64;
        if (word)
            return from + (unsigned)__builtin_ctzll(word);
        from = (from / 64 + 1) * 64;
    }
    return SLOT_COUNT;
}

bool slots_next_range(
    const struct slots *s, unsigned *from, unsigned *ret_first, unsigned *ret_last)
{
    unsigned first = find(s, *from, true);
    if (first == SLOT_COUNT)
        return false;
    unsigned end = find(s, first, false);
    *ret_first = first;
    *ret_last = end - 1;
    *from = end;
    return true;
}

/* A number of at most `max`, digits only. */
static bool parse_number(const char **text, unsigned max, unsigned *ret)
{
    const char *p = *text;
    unsigned n = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (unsigned)(*p - '0');
        if (n > max)
            return false;
    }
    *text = p;
    *ret = n;
    return true;
}

static int parse(
    const char *text, unsigned min, unsigned max, bool legacy, struct slots *s, struct err *err)
{
    struct slots found = {{0}};
    const char *p = text;

    while (*p) {
        unsigned first, last;
        if (!parse_number(&p, max, &first))
            goto bad;
        last = first;
        if (*p == '-') {
            p++;
            if (!parse_number(&p, max, &last))
                goto bad;
        }
        if (first < min || last < first)
            goto bad;
        if (legacy)
            for (unsigned k = 0; k < SLOT_COUNT / LEGACY_SLOT_COUNT; k++)
                slots_add_range(
                    &found, first - 1 + LEGACY_SLOT_COUNT * k, last - 1 + LEGACY_SLOT_COUNT * k);
        else
            slots_add_range(&found, first, last);
        if (*p == ',' && p[1])
            p++;
        else if (*p)
            goto bad;
    }
    slots_union(s, &found);
    return 0;

bad:
    err_set(err, ERR_USAGE, "'%s' is not a list of slots, at '%s'", text, p);
    return err_hint(err, "Write ranges of the numbers %u to %u: \"%u-%u,%u\".", min, max, min,
        max / 3, max / 3 + 10);
}

int slots_parse(const char *text, struct slots *s, struct err *err)
{
    return parse(text, 0, SLOT_COUNT - 1, false, s, err);
}

int slots_parse_legacy(const char *text, struct slots *s, struct err *err)
{
    return parse(text, 1, LEGACY_SLOT_COUNT, true, s, err);
}

void slots_format(const struct slots *s, struct buf *out)
{
    const char *comma = "";

    for (unsigned at = 0, first, last; slots_next_range(s, &at, &first, &last); comma = ",") {
        if (first == last)
            buf_addf(out, "%s%u", comma, first);
        else
            buf_addf(out, "%s%u-%u", comma, first, last);
    }
}

json_t *slots_to_json(const struct slots *s)
{
    json_t *ranges = json_array();

    for (unsigned at = 0, first, last; slots_next_range(s, &at, &first, &last);)
        json_array_append_new(ranges, json_pack("[ii]", (int)first, (int)last));
    return ranges;
}

int slots_from_json(const json_t *ranges, struct slots *s, struct err *err)
{
    struct slots found = {{0}};

    if (!json_is_array(ranges))
        return err_set(err, ERR_PROTOCOL, "slots are not a JSON array of [first, last]");
    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const json_t *range = json_array_get(ranges, i);
        size_t size = json_array_size(range);
        const json_t *first = json_array_get(range, 0);
        const json_t *last = json_array_get(range, size == 1 ? 0 : 1);
        if (size < 1 || size > 2 || !json_is_integer(first) || !json_is_integer(last))
            return err_set(err, ERR_PROTOCOL, "slot range %zu is not [first, last] or [slot]", i);
        json_int_t a = json_integer_value(first), b = json_integer_value(last);
        if (a < 0 || b < a || b >= SLOT_COUNT)
            return err_set(err, ERR_PROTOCOL,
                "slot range [%" JSON_INTEGER_FORMAT ",%" JSON_INTEGER_FORMAT
                "] is not within 0 to %d",
                a, b, SLOT_COUNT - 1);
        slots_add_range(&found, (unsigned)a, (unsigned)b);
    }
    slots_union(s, &found);
    return 0;
}

/*
 * CRC16/XMODEM, eight bytes at a time: crc_table[k][b] is the CRC of byte b followed by k zero
 * bytes. Filled before main() starts, so that a lookup needs no check.
 */
static uint16_t crc_table[8][256];

__attribute__((constructor)) static void fill_crc_table(void)
{
    for (unsigned b = 0; b < 256; b++) {
        unsigned crc = b << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        crc_table[0][b] = (uint16_t)crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++) {
            unsigned crc = crc_table[k - 1][b];
            crc_table[k][b] = (uint16_t)(crc << 8 ^ crc_table[0][crc >> 8]);
        }
}

static unsigned crc16_block(unsigned crc, uint64_t block)
{
    block ^= crc >> 8 | (crc & 0xff) << 8;
    return crc_table[7][block & 0xff] ^ crc_table[6][block >> 8 & 0xff] ^
           crc_table[5][block >> 16 & 0xff] ^ crc_table[4][block >> 24 & 0xff] ^
           crc_table[3][block >> 32 & 0xff] ^ crc_table[2][block >> 40 & 0xff] ^
           crc_table[1][block >> 48 & 0xff] ^ crc_table[0][block >> 56];
}

/* May find a block without a '{', never misses one with it. */
static bool may_have_brace(uint64_t block)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t zero_if_brace = block ^ ones * '{';

    return (zero_if_brace - ones) & ~zero_if_brace & ones * 0x80;
}

static uint64_t load(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return le64toh(v);
}

/* The last len % 8 bytes in a block of zeros; overlapping loads are faster than a loop. */
static uint64_t first_block(const uint8_t *p, size_t len)
{
    size_t odd = len % 8;

    if (len > 8)
        return load(p, 8) << 8 * (8 - odd);
    if (odd >= 4)
        return load(p, 4) << 8 * (8 - odd) | load(p + odd - 4, 4) << 32;
    if (odd >= 2)
        return load(p, 2) << 8 * (8 - odd) | load(p + odd - 2, 2) << 48;
    return (uint64_t)*p << 56;
}

/* Most keys are short and have no '{': one pass answers both questions. */
static unsigned crc16(const uint8_t *p, size_t len, bool *ret_may_have_brace)
{
    size_t odd = len % 8;
    unsigned crc = 0;
    bool brace = false;

    /* Leading zero bytes do not change the CRC, so they fill the first block. */
    if (odd) {
        uint64_t block = first_block(p, len);
        brace = may_have_brace(block);
        crc = crc16_block(0, block);
    }
    for (p += odd, len -= odd; len; p += 8, len -= 8) {
        uint64_t block = load(p, 8);
        brace |= may_have_brace(block);
        crc = crc16_block(crc, block);
    }
    *ret_may_have_brace = brace;
    return crc;
}

#ifdef __x86_64__

#include <immintrin.h>

static bool can_multiply;

__attribute__((constructor)) static void find_multiply(void)
{
    __builtin_cpu_init();
    can_multiply = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

#define MULTIPLYING __attribute__((target("pclmul,sse4.1")))

/*
 * Keys of up to 16 bytes by carry-less multiplication: the key is the number front * x^64 + back,
 * and its CRC that times x^16, modulo P. Powers from x^64 on are replaced by their remainders; the
 * quotient of the rest by P comes from a multiplication by x^64 / P (Barrett).
 */
MULTIPLYING static unsigned crc16_short(const uint8_t *p, size_t len, bool *ret_may_have_brace)
{
    const long long x16 = 0x10000, x64 = 0xb861, x80 = 0xeb23; /* the latter modulo P */
    const long long x64_by_p = 0x111303471a041, p_ = 0x11021;
    uint64_t front = len > 8 ? be64toh(load(p, 8)) >> 8 * (16 - len) : 0;
    uint64_t back = len >= 8 ? load(p + len - 8, 8) : len ? first_block(p, len) : 0;

    *ret_may_have_brace = may_have_brace(front) || may_have_brace(back);
    const __m128i key = _mm_set_epi64x((long long)front, (long long)be64toh(back));
    const __m128i powers = _mm_set_epi64x(x80, x16), rest = _mm_set_epi64x(x64, ~0xffffLL);
    const __m128i divide = _mm_set_epi64x(p_, x64_by_p);
    __m128i sum = _mm_xor_si128(
        _mm_clmulepi64_si128(key, powers, 0x11), _mm_clmulepi64_si128(key, powers, 0x00));
    __m128i number = _mm_xor_si128(sum, _mm_clmulepi64_si128(sum, rest, 0x11));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(number, rest), divide, 0x00);
    __m128i crc = _mm_xor_si128(number, _mm_clmulepi64_si128(quotient, divide, 0x11));
    return (unsigned)_mm_cvtsi128_si32(crc) & 0xffff;
}

#endif

/* The CRC of a whole key. */
static inline unsigned crc16_of(const uint8_t *p, size_t len, bool *ret_may_have_brace)
{
#ifdef __x86_64__
    if (len <= 16 && can_multiply)
        return crc16_short(p, len, ret_may_have_brace);
#endif
    return crc16(p, len, ret_may_have_brace);
}

unsigned slot_of_key(const void *key, size_t len)
{
    bool brace;
    unsigned crc = crc16_of(key, len, &brace);
    const uint8_t *open = brace ? memchr(key, '{', len) : NULL;

    if (open) {
        const uint8_t *tag = open + 1, *end = (const uint8_t *)key + len;
        const uint8_t *close = memchr(tag, '}', (size_t)(end - tag));
        if (close && close > tag)
            crc = crc16_of(tag, (size_t)(close - tag), &brace);
    }
    return crc % SLOT_COUNT;
}
