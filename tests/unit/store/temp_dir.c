#include "temp_dir.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "test.h"

char *temp_dir_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = xasprintf("%s/recluster-test.XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

void temp_dir_remove(char *path)
{
    struct err err = ERR_INIT;
    assert_int_equal(dir_remove(path, &err), 0);
    free(path);
}

void temp_file(const char *dir, const char *name, const void *data, size_t len)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic(path, data, len, 0600, &err), 0);
}

int temp_file_is(const char *dir, const char *name, const void *data, size_t len)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    AUTO_FREE char *path = path_join(dir, name);
    int same = file_read(path, (size_t)1 << 30, &b, &err) == 0 && b.len == len &&
               memcmp(b.data, data, len) == 0;
    buf_release(&b);
    return same;
}
