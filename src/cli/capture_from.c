/* capture --from: the files that the cluster writes itself. */

#include <stdlib.h>
#include <string.h>

#include "capture_follow.h"
#include "recluster/file.h"

void capture_files_release(struct capture_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        store_close(files->list[i].store);
    free(files->list);
    strv_free(files->words, files->count);
}

int capture_files_open(const struct arguments *args, struct capture_files *ret, struct err *err)
{
    size_t count = 0;

    for (const char *const *word = args->values[OPT_FROM]; word && *word; word++)
        count++;
    *ret = (struct capture_files){.list = xcalloc(count + 1, sizeof(*ret->list)),
        .words = xcalloc(count + 1, sizeof(*ret->words))};
    for (size_t i = 0; i < count; i++) {
        const char *word = args->values[OPT_FROM][i];
        bool ssh = strncmp(word, "ssh://", 6) == 0;
        ret->words[i] = ssh ? xasprintf("sftp://%s", word + 6) : xstrdup(word);
        ret->list[i].store = open_file_location(args, ret->words[i], &ret->list[i].name, err);
        if (!ret->list[i].store) {
            free(ret->words[i]);
            return -1;
        }
        ret->count++;
    }
    return 0;
}
