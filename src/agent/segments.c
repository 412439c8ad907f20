#include "segments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"

enum { READ_BYTES = 256 * 1024 };

struct segments {
    char *folder;
    int lock;
    struct segment *first, **end; /* closed ones, oldest first */
    int64_t waiting_bytes;
    /* The one that is being written; fd -1: none. */
    int fd;
    char *path;
    char id[REPL_ID_HEX + 1];
    struct repl_stream stream;
    int64_t header_bytes, since_ms;
    /* Where the last one ended, if none is being written; id "": nowhere. */
    struct repl_place ended;
    int64_t ended_db;
};

static void add_closed(struct segments *s, struct segment *segment)
{
    *s->end = segment;
    s->end = &segment->next;
    s->waiting_bytes += segment->last - segment->first;
}

static void free_segment(struct segment *segment)
{
    free(segment->path);
    free(segment);
}

/* --- names --- */

static bool take_id(const char **name, char *ret)
{
    if (strspn(*name, "0123456789abcdefABCDEF") < REPL_ID_HEX || (*name)[REPL_ID_HEX] != '-')
        return false;
    memcpy(ret, *name, REPL_ID_HEX);
    ret[REPL_ID_HEX] = '\0';
    *name += REPL_ID_HEX + 1;
    return true;
}

static bool take_offset(const char **name, char after, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(*name, &end, 10);
    if (end == *name || errno || *ret < 0 || *end != after)
        return false;
    *name = end + 1;
    return true;
}

static struct segment *closed_of_name(const struct segments *s, const char *name)
{
    struct segment found = {.db = -1};
    const char *at = name;

    if (!take_id(&at, found.id) || !take_offset(&at, '-', &found.first) ||
        !take_offset(&at, '.', &found.last) || strcmp(at, "seg") != 0)
        return NULL;
    found.path = path_join(s->folder, name);
    return xmemdup(&found, sizeof(found));
}

/* --- the one that is being written --- */

static void forget_open(struct segments *s)
{
    close(s->fd);
    s->fd = -1;
    free(s->path);
    s->path = NULL;
}

static void add_select(int64_t db, struct buf *ret)
{
    AUTO_FREE char *number = xasprintf("%" PRId64, db);

    command_add(ret, (const char *const[]){"SELECT", number, NULL});
}

static int begin(struct segments *s, const struct repl_place *at, int64_t db, struct err *err)
{
    CLEANUP(buf_release) struct buf select = BUF_INIT;

    strcpy(s->id, at->id);
    s->path = xasprintf("%s/%s-%" PRId64 ".part", s->folder, at->id, at->offset);
    s->fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return err_sys(err, ERR_IO, "cannot create '%s'", s->path);
    add_select(db, &select);
    s->header_bytes = (int64_t)select.len;
    s->since_ms = 0;
    repl_stream_init(&s->stream, at->offset, db);
    return file_write_all(s->fd, select.data, select.len, s->path, err);
}

int segments_add(struct segments *s, const void *data, size_t len, struct err *err)
{
    if (!s->since_ms)
        s->since_ms = clock_mono_ms();
    if (file_write_all(s->fd, data, len, s->path, err) < 0)
        return -1;
    return repl_stream_feed(&s->stream, data, len, err);
}

void segments_forget(struct segments *s)
{
    if (s->fd >= 0) {
        unlink(s->path);
        forget_open(s);
    }
    s->ended.id[0] = '\0';
}

int64_t segments_open_bytes(const struct segments *s)
{
    return s->fd < 0 ? 0 : s->stream.offset - s->stream.first;
}

int64_t segments_open_since_ms(const struct segments *s)
{
    return s->fd < 0 ? 0 : s->since_ms;
}

/* The bytes of a command that has not ended yet, for the next segment. */
static int read_rest(const struct segments *s, struct buf *ret, struct err *err)
{
    off_t from = (off_t)(s->header_bytes + s->stream.whole_at - s->stream.first);
    size_t left = (size_t)(s->stream.offset - s->stream.whole_at);

    buf_reserve(ret, left);
    while (left) {
        ssize_t n = pread(s->fd, ret->data + ret->len, left, from);
        if (n <= 0)
            return err_sys(err, ERR_IO, "cannot read '%s'", s->path);
        ret->len += (size_t)n;
        from += n;
        left -= (size_t)n;
    }
    return 0;
}

static int close_at_whole(struct segments *s, struct err *err)
{
    struct segment closed = {
        .first = s->stream.first, .last = s->stream.whole_at, .db = s->stream.db};

    strcpy(closed.id, s->id);
    if (ftruncate(s->fd, (off_t)(s->header_bytes + closed.last - closed.first)) < 0 ||
        fsync(s->fd) < 0)
        return err_sys(err, ERR_IO, "cannot write '%s'", s->path);
    closed.path =
        xasprintf("%s/%s-%" PRId64 "-%" PRId64 ".seg", s->folder, s->id, closed.first, closed.last);
    if (rename(s->path, closed.path) < 0) {
        free(closed.path);
        return err_sys(err, ERR_IO, "cannot rename '%s'", s->path);
    }
    add_closed(s, xmemdup(&closed, sizeof(closed)));
    return dir_sync(s->folder, err);
}

/* The rest begins the next one. */
int segments_cut(struct segments *s, struct err *err)
{
    CLEANUP(buf_release) struct buf rest = BUF_INIT;
    struct repl_place next = {.offset = s->stream.whole_at};
    int64_t db = s->stream.db;

    if (s->fd < 0 || s->stream.whole_at == s->stream.first)
        return 0;
    if (read_rest(s, &rest, err) < 0 || close_at_whole(s, err) < 0)
        return -1;
    strcpy(next.id, s->id);
    forget_open(s);
    if (begin(s, &next, db, err) < 0)
        return -1;
    return rest.len ? segments_add(s, rest.data, rest.len, err) : 0;
}

/* Ends the open one, because the stream goes on under another id. */
static int end_history(struct segments *s, struct err *err)
{
    if (segments_cut(s, err) < 0)
        return -1;
    if (s->stream.offset != s->stream.first)
        return err_set(err, ERR_CHANGED, "the history ends within a command");
    unlink(s->path);
    forget_open(s);
    return 0;
}

int segments_begin(struct segments *s, const struct repl_place *at, int64_t db, struct err *err)
{
    if (s->fd >= 0 && strcmp(s->id, at->id) == 0 && s->stream.offset == at->offset)
        return 0;
    if (s->fd >= 0) {
        db = s->stream.db;
        if (end_history(s, err) < 0)
            return -1;
    }
    return begin(s, at, db, err);
}

/* --- what an earlier process left --- */

/* The length of the SELECT at the front; 0: it is not whole. The stream begins behind it. */
static size_t take_header(struct repl_stream *stream, const char *bytes, size_t len, int64_t first)
{
    struct err broken = ERR_INIT;

    repl_stream_init(stream, 0, 0);
    for (size_t n = 1; n <= len; n++) {
        if (repl_stream_feed(stream, bytes + n - 1, 1, &broken) < 0)
            break;
        if (repl_stream_is_whole(stream)) {
            repl_stream_init(stream, first, stream->db);
            return n;
        }
    }
    return 0;
}

/* Reads a file as far as it is whole. s->stream and s->header_bytes say what is in it. */
static int scan(struct segments *s, int64_t first, struct err *err)
{
    AUTO_FREE char *bytes = xmalloc(READ_BYTES);
    struct err broken = ERR_INIT;

    ssize_t n = read(s->fd, bytes, READ_BYTES);
    size_t header = n > 0 ? take_header(&s->stream, bytes, (size_t)n, first) : 0;
    s->header_bytes = (int64_t)header;
    if (header && repl_stream_feed(&s->stream, bytes + header, (size_t)n - header, &broken) < 0)
        return 0;
    while (header && (n = read(s->fd, bytes, READ_BYTES)) > 0)
        if (repl_stream_feed(&s->stream, bytes, (size_t)n, &broken) < 0)
            return 0;
    return n < 0 ? err_sys(err, ERR_IO, "cannot read '%s'", s->path) : 0;
}

static int open_file(struct segments *s, const char *path, struct err *err)
{
    s->path = xstrdup(path);
    s->fd = open(path, O_RDWR | O_CLOEXEC);
    return s->fd < 0 ? err_sys(err, ERR_IO, "cannot open '%s'", path) : 0;
}

/* Keeps what is whole of a segment that was being written, as a closed one. */
static int take_part(struct segments *s, const char *name, struct err *err)
{
    AUTO_FREE char *path = path_join(s->folder, name);
    struct repl_place at;
    const char *words = name;

    if (!take_id(&words, at.id) || !take_offset(&words, '.', &at.offset) ||
        strcmp(words, "part") != 0)
        return 0;
    strcpy(s->id, at.id);
    if (open_file(s, path, err) < 0 || scan(s, at.offset, err) < 0)
        return -1;
    if (!s->header_bytes || s->stream.whole_at == at.offset)
        unlink(path);
    else if (close_at_whole(s, err) < 0)
        return -1;
    if (s->header_bytes) {
        strcpy(s->ended.id, at.id);
        s->ended.offset = s->stream.whole_at;
        s->ended_db = s->stream.db;
    }
    forget_open(s);
    return 0;
}

/* Where the stream goes on: behind the last of the closed ones. */
static int find_end(struct segments *s, struct err *err)
{
    const struct segment *last = s->first;

    while (last && last->next)
        last = last->next;
    if (!last || s->ended.id[0])
        return 0;
    if (open_file(s, last->path, err) < 0 || scan(s, last->first, err) < 0)
        return -1;
    strcpy(s->ended.id, last->id);
    s->ended.offset = last->last;
    s->ended_db = s->stream.db;
    forget_open(s);
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

static int take_folder(struct segments *s, struct err *err)
{
    struct segment **closed;
    char **names;
    size_t count, found = 0;

    if (dir_list(s->folder, &names, &count, err) < 0)
        return -1;
    closed = xcalloc(count + 1, sizeof(struct segment *));
    for (size_t i = 0; i < count; i++)
        if ((closed[found] = closed_of_name(s, names[i])) != NULL)
            found++;
    qsort(closed, found, sizeof(struct segment *), by_first);
    for (size_t i = 0; i < found; i++)
        add_closed(s, closed[i]);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = take_part(s, names[i], err);
    if (rc == 0)
        rc = find_end(s, err);
    free(closed);
    strv_free(names, count);
    return rc;
}

/* It has all that is written into the database, and may lie in /var/tmp. */
static int check_folder(const struct segments *s, struct err *err)
{
    struct stat st;

    if (lstat(s->folder, &st) < 0)
        return err_sys(err, ERR_IO, "cannot look at '%s'", s->folder);
    if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & (S_IRWXG | S_IRWXO)))
        return 0;
    err_set(err, ERR_DENIED, "the folder '%s' is not ours alone", s->folder);
    return err_hint(err, "Name another one: --spool FOLDER");
}

static int lock_folder(struct segments *s, struct err *err)
{
    AUTO_FREE char *path = path_join(s->folder, "lock");

    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return err_set(err, ERR_LOCKED, "another process uses the folder '%s'", s->folder);
}

int segments_open(const char *folder, struct segments **ret, struct err *err)
{
    struct segments *s = xcalloc(1, sizeof(*s));

    s->folder = xstrdup(folder);
    s->lock = s->fd = -1;
    s->end = &s->first;
    if (dir_make(folder, 0700, err) < 0 || check_folder(s, err) < 0 || lock_folder(s, err) < 0 ||
        take_folder(s, err) < 0) {
        segments_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void segments_close(struct segments *s)
{
    if (!s)
        return;
    while (s->first) {
        struct segment *next = s->first->next;
        free_segment(s->first);
        s->first = next;
    }
    if (s->fd >= 0)
        forget_open(s);
    if (s->lock >= 0)
        close(s->lock);
    free(s->folder);
    free(s);
}

bool segments_continue(const struct segments *s, struct repl_place *ret_at, int64_t *ret_db)
{
    if (s->fd >= 0) {
        strcpy(ret_at->id, s->id);
        ret_at->offset = s->stream.offset;
        *ret_db = s->stream.db;
        return true;
    }
    *ret_at = s->ended;
    *ret_db = s->ended_db;
    return s->ended.id[0] != '\0';
}

const struct segment *segments_first(const struct segments *s)
{
    return s->first;
}

int segments_drop(struct segments *s, struct err *err)
{
    struct segment *gone = s->first;

    if (unlink(gone->path) < 0 && errno != ENOENT)
        return err_sys(err, ERR_IO, "cannot remove '%s'", gone->path);
    s->first = gone->next;
    if (!s->first)
        s->end = &s->first;
    s->waiting_bytes -= gone->last - gone->first;
    free_segment(gone);
    return 0;
}

int64_t segments_waiting_bytes(const struct segments *s)
{
    return s->waiting_bytes;
}
