/*
 * replay PATH...: gives files, and all files in folders, to the function that libFuzzer calls.
 * Fails if it aborts, and if there is no file.
 */

#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "recluster/file.h"

enum { FILE_BYTES_MAX = 1 << 20 };

static int replay_file(const char *path)
{
    struct err err = ERR_INIT;
    struct buf file = BUF_INIT;

    if (file_read(path, FILE_BYTES_MAX, &file, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    /* A block of just its size. */
    uint8_t *data = xmemdup(file.data, file.len);
    LLVMFuzzerTestOneInput(data, file.len);
    free(data);
    buf_release(&file);
    return 1;
}

static int replay(const char *path)
{
    struct err err = ERR_INIT;
    struct stat st;
    char **names;
    size_t count;
    int replayed = 0;

    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return replay_file(path);
    if (dir_list(path, &names, &count, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *file = path_join(path, names[i]);
        if (strcmp(names[i], "README.md") != 0)
            replayed += replay(file);
    }
    strv_free(names, count);
    return replayed;
}

int main(int argc, char **argv)
{
    int replayed = 0;

    for (int i = 1; i < argc; i++)
        replayed += replay(argv[i]);
    printf("%d files\n", replayed);
    return replayed ? 0 : 1;
}
