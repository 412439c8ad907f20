/* capture --from: the files that the cluster writes itself. */

#include <stdlib.h>
#include <string.h>

#include "capture_follow.h"
#include "machine_path.h"
#include "recluster/file.h"

void capture_files_release(struct capture_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        store_close(files->list[i].store);
    free(files->list);
    strv_free(files->words, files->count);
}

/* A file of another machine, over its link. */
static struct store *open_away(
    const struct hosts *hosts, const char *word, char **ret_name, struct err *err)
{
    struct machine_path p;

    if (machine_path_of_file(hosts, word, &p, err) < 0)
        return NULL;
    struct store *store = store_open_resolved(p.location, err);
    *ret_name = xstrdup(path_base(p.path));
    machine_path_release(&p);
    return store;
}

static int open_file(const struct arguments *args, const struct hosts *hosts, const char *word,
    struct capture_files *ret, struct err *err)
{
    struct capture_file *file = &ret->list[ret->count];
    bool ssh = strncmp(word, "ssh://", 6) == 0;
    char *own;

    if (machine_path_is_away(word)) {
        own = NULL;
        file->store = open_away(hosts, word, &own, err);
        file->name = own;
    } else {
        own = ssh ? xasprintf("sftp://%s", word + 6) : xstrdup(word);
        file->store = open_file_location(args, own, &file->name, err);
    }
    ret->words[ret->count] = own;
    if (!file->store) {
        free(own);
        return -1;
    }
    ret->count++;
    return 0;
}

int capture_files_open(const struct arguments *args, struct capture_files *ret, struct err *err)
{
    struct hosts *hosts = NULL;
    size_t count = 0;
    int rc = hosts_of_arguments(args, &hosts, err);

    for (const char *const *word = args->values[OPT_FROM]; word && *word; word++)
        count++;
    *ret = (struct capture_files){.list = xcalloc(count + 1, sizeof(*ret->list)),
        .words = xcalloc(count + 1, sizeof(*ret->words))};
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = open_file(args, hosts, args->values[OPT_FROM][i], ret, err);
    hosts_free(hosts);
    return rc;
}
