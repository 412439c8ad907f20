#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "crc64_impl.h"
#include "recluster/crc64.h"
#include "recluster/mem.h"

#define CHECK UINT64_C(0xe9c6d914c4b8d9ca)

static void check_value(void **state)
{
    (void)state;
    assert_true(crc64(0, "123456789", 9) == CHECK);
    assert_true(crc64_by_table(0, "123456789", 9) == CHECK);
    assert_true(crc64(crc64(0, "1234", 4), "56789", 5) == CHECK);
    assert_true(crc64(CHECK, "", 0) == CHECK);
}

static uint64_t bitwise(uint64_t crc, const uint8_t *p, size_t len)
{
    for (; len; p++, len--) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
    }
    return crc;
}

static void all_ways_agree(void **state)
{
    enum { SIZE = 5000 };
    uint8_t *data = xmalloc(SIZE + 64);
    uint64_t random = 42;

    (void)state;
    for (size_t i = 0; i < SIZE + 64; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        data[i] = (uint8_t)(random >> 33);
    }
    for (size_t round = 0; round < 3000; round++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t len = round < 1200 ? round : (size_t)(random >> 33) % SIZE;
        const uint8_t *p = data + (random >> 20) % 64;
        uint64_t expected = bitwise(random, p, len);
        assert_true(crc64_by_table(random, p, len) == expected);
        assert_true(crc64(random, p, len) == expected);
        if (crc64_can_fold())
            assert_true(crc64_fold(random, p, len) == expected);
        if (crc64_can_fold_wide())
            assert_true(crc64_fold_wide(random, p, len) == expected);
    }
    free(data);
}

static void zeros_mend_and_combine(void **state)
{
    enum { SIZE = 3000 };
    uint8_t *data = xcalloc(1, SIZE);
    uint64_t random = 7;

    (void)state;
    for (size_t len = 0; len < SIZE; len = len * 5 / 4 + 1)
        assert_true(crc64_zeros(CHECK, len) == crc64_by_table(CHECK, data, len));
    for (size_t i = 0; i < SIZE; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        data[i] = (uint8_t)(random >> 33);
    }
    uint64_t whole = crc64(0, data, SIZE);
    for (size_t at = 0; at <= SIZE; at += 250)
        assert_true(
            (crc64_zeros(crc64(0, data, at), SIZE - at) ^ crc64(0, data + at, SIZE - at)) == whole);
    /* across more bytes than there are */
    assert_true(crc64_zeros(crc64_zeros(CHECK, UINT64_C(1) << 40), 77) ==
                crc64_zeros(CHECK, (UINT64_C(1) << 40) + 77));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_value),
        cmocka_unit_test(all_ways_agree),
        cmocka_unit_test(zeros_mend_and_combine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
