/* Large objects that other processes read. */

#include "ranges.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "handle.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { CONNECTIONS = 2, RANGES = CONNECTIONS * RANGES_AHEAD, BYTES = 3 * RANGE_BYTES + 5 };

/* A file, as if files were read over several connections. */
static struct store_driver driver;

static struct store *open_file(char **ret_dir, struct buf *ret_data)
{
    struct err err = ERR_INIT;

    *ret_dir = temp_dir_make();
    sample_noise(ret_data, BYTES);
    temp_file(*ret_dir, "large", ret_data->data, ret_data->len);
    json_t *location = json_string(*ret_dir);
    struct store *s = store_open(location, &err);
    assert_non_null(s);
    json_decref(location);
    driver = *s->driver;
    driver.connections = CONNECTIONS;
    s->driver = &driver;
    return s;
}

static int add(void *arg, const void *data, size_t len, struct err *err)
{
    (void)err;
    buf_add(arg, data, len);
    return 0;
}

static int nothing(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return 0;
}

static void ranges_come_in_order(void **state)
{
    struct buf data = BUF_INIT, got = BUF_INIT;
    struct err err = ERR_INIT;
    struct store_object object;
    char *dir;
    struct store *s = open_file(&dir, &data);

    (void)state;
    assert_int_equal(
        store_read(s, &(struct store_range){"large", 0, 0}, nothing, NULL, &object, &err), 0);
    assert_int_equal(
        ranges_read(s, &(struct store_range){"large", 7, -1}, &object, add, &got, &err), 0);
    assert_int_equal(got.len, BYTES - 7);
    assert_memory_equal(got.data, data.data + 7, got.len);
    store_close(s);
    temp_dir_remove(dir);
    buf_release(&data);
    buf_release(&got);
}

/* So that no process has to take more of it under the limit. */
static void take_stack(void)
{
    volatile char stack[2 << 20];

    for (size_t i = 0; i < sizeof(stack); i += 4096)
        stack[i] = 0;
    (void)stack[0];
}

static rlim_t used_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_int_equal(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* There is room for the ranges, but none for what a process needs to read one. */
static void a_process_without_memory_says_so(void **state)
{
    enum { LITTLE = 64 << 10 };
    struct buf data = BUF_INIT;
    struct err err = ERR_INIT;
    struct store_object object;
    struct rlimit before, little;
    char *dir;

    (void)state;
    if (SANITIZED)
        skip();
    struct store *s = open_file(&dir, &data);
    assert_int_equal(
        store_read(s, &(struct store_range){"large", 0, 0}, nothing, NULL, &object, &err), 0);
    take_stack();
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    little = before;
    little.rlim_cur = used_bytes() + (rlim_t)RANGES * RANGE_BYTES + LITTLE;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    int rc = ranges_read(s, &(struct store_range){"large", 0, -1}, &object, nothing, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(rc, -1);
    assert_string_equal(err_code_name(err.code), "limit");
    assert_non_null(strstr(err.message, "a range of 'large' in '"));
    assert_non_null(strstr(err.message, "takes more memory to read than the limit"));
    assert_non_null(strstr(err.hint, "ulimit -v"));
    store_close(s);
    temp_dir_remove(dir);
    buf_release(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_come_in_order),
        cmocka_unit_test(a_process_without_memory_says_so),
    };
    mallopt(M_MMAP_THRESHOLD, 64 << 10); /* so that what is freed is not kept for the next test */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
