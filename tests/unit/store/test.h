#ifndef TEST_TEST_H
#define TEST_TEST_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recluster/err.h"

/* Fails with the error's own words. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (err).message);                                              \
    } while (0)

/* The call fails with this code, and its message holds this text. */
#define assert_error(call, err, error_code, text)                                                  \
    do {                                                                                           \
        (err) = (struct err)ERR_INIT;                                                              \
        assert_int_equal((call), -1);                                                              \
        if ((err).code != (error_code) || !strstr((err).message, (text)))                          \
            fail_msg("%s: got %s '%s', not %s '%s'", #call, err_code_name((err).code),             \
                (err).message, err_code_name(error_code), text);                                   \
    } while (0)

#endif
