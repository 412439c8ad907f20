#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "key_set.h"

static const uint64_t odd =
    UINT64_C(0x9e3779b97f4a7c15); /* multiples of it are spread over all bytes */

/* What is repeated in `count` digests, first + i * step, and in these few. */
static void repeated(struct key_list *ret, size_t count, uint64_t first, uint64_t step,
    const uint64_t *more, size_t more_count)
{
    struct key_set set = {.slab = NULL};

    *ret = (struct key_list){.digests = NULL};
    for (size_t i = 0; i < count; i++)
        key_set_add(&set, first + i * step);
    for (size_t i = 0; i < more_count; i++)
        key_set_add(&set, more[i]);
    key_set_repeated(&set, ret);
    key_list_sort(ret);
    key_set_release(&set);
}

static void none_is_found_among_different_ones(void **state)
{
    static const size_t counts[] = {0, 1, 2, 1000, 300000, 5000000};
    struct key_list found;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        repeated(&found, counts[i], 0, odd, NULL, 0);
        assert_int_equal(found.count, 0);
        key_list_release(&found);
    }
}

static void each_repeated_one_is_found_once(void **state)
{
    const uint64_t more[] = {0, 0, 5 * odd, 5 * odd, 100 * odd, 999 * odd, UINT64_MAX, UINT64_MAX};
    static const size_t counts[] = {1000, 300000, 5000000};
    struct key_list found;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        repeated(&found, counts[i], 0, odd, more, ARRAY_SIZE(more));
        assert_int_equal(found.count, 5);
        assert_int_equal(found.digests[0], 0);
        assert_int_equal(found.digests[4], UINT64_MAX);
        key_list_release(&found);
    }
}

/* Their first bytes are the same, as if the file were made for it. */
static void digests_that_are_close_together_are_told_apart(void **state)
{
    const uint64_t more[] = {odd + 77};
    struct key_list found;

    (void)state;
    repeated(&found, 100000, odd, 1, NULL, 0);
    assert_int_equal(found.count, 0);
    key_list_release(&found);
    repeated(&found, 100000, odd, 1, more, ARRAY_SIZE(more));
    assert_int_equal(found.count, 1);
    assert_int_equal(found.digests[0], odd + 77);
    key_list_release(&found);
}

static void one_digest_many_times_is_one(void **state)
{
    struct key_list found;

    (void)state;
    repeated(&found, 100000, odd, 0, NULL, 0);
    assert_int_equal(found.count, 1);
    key_list_release(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_found_among_different_ones),
        cmocka_unit_test(each_repeated_one_is_found_once),
        cmocka_unit_test(digests_that_are_close_together_are_told_apart),
        cmocka_unit_test(one_digest_many_times_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
