#include "made_files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "recluster/json.h"

static int open_file(struct made_files *f, const char *path, struct err *err)
{
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (f->fd >= 0)
        return 0;
    err_sys(err, ERR_IO, "cannot open '%s', which the server has made", path);
    return err_hint(err, "It lies on the machine of the server: name that in the hosts file "
                         "(--hosts), with a user who may read it.");
}

ssize_t made_files_read(struct made_files *f, void *bytes, size_t size, struct err *err)
{
    for (;;) {
        const char *path = json_string_value(json_array_get(f->paths, f->file));
        if (!path)
            return 0;
        if (f->fd < 0 && open_file(f, path, err) < 0)
            return -1;
        ssize_t n = read(f->fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot read '%s'", path);
        if (n > 0)
            return n;
        made_files_close(f);
        f->file++;
    }
}

void made_files_close(struct made_files *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}
