#include "call.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "connection.h"
#include "packet.h"

enum { PROTOCOL_VERSION = 3 };

enum {
    HAS_SIZE = 1 << 0,
    HAS_OWNER = 1 << 1,
    HAS_PERMISSIONS = 1 << 2,
    HAS_TIMES = 1 << 3,
};

static const uint32_t HAS_EXTENDED = 1u << 31;

/* --- the connection --- */

static void take_extensions(struct sftp *f, struct sftp_answer *a)
{
    while (a->at < a->bytes.len && !a->bad) {
        size_t name_len, len;
        const char *name = sftp_get_string(a, &name_len);
        sftp_get_string(a, &len);
        f->can_sync |= name_len == 17 && memcmp(name, "fsync@openssh.com", 17) == 0;
        f->can_rename_over |= name_len == 24 && memcmp(name, "posix-rename@openssh.com", 24) == 0;
    }
}

/* The version takes the place of the request's number. */
static int agree_on_version(struct sftp *f, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};
    struct sftp_head head;

    f->last_id = PROTOCOL_VERSION - 1;
    sftp_packet_begin(f, SFTP_INIT);
    if (sftp_packet_send(f, err) < 0 || sftp_packet_head(f, &head, err) < 0 ||
        sftp_packet_rest(f, &head, &answer, err) < 0)
        return -1;
    if (answer.type != SFTP_VERSION || head.id < PROTOCOL_VERSION)
        return sftp_connection_nonsense(
            f->connection, "the server does not support SFTP version 3", err);
    take_extensions(f, &answer);
    return 0;
}

struct sftp *sftp_call_connect(const struct sftp_login *login, struct err *err)
{
    struct sftp_connection *connection = sftp_connection_open(login, err);
    if (!connection)
        return NULL;
    struct sftp *f = xmalloc(sizeof(*f));
    *f = (struct sftp){.connection = connection, .request = BUF_INIT};
    if (agree_on_version(f, err) == 0)
        return f;
    err_wrap(err, "no SFTP with '%s'", login->host);
    sftp_call_disconnect(f);
    return NULL;
}

void sftp_call_disconnect(struct sftp *f)
{
    if (!f)
        return;
    sftp_connection_close(f->connection);
    buf_release(&f->request);
    free(f);
}

bool sftp_call_is_broken(const struct sftp *f)
{
    return f->connection->broken;
}

/* --- requests and their answers --- */

/* Sends the prepared request and waits for its answer. */
static int ask(struct sftp *f, enum sftp_packet_type wanted, struct sftp_answer *ret, bool *ret_end,
    struct err *err)
{
    if (sftp_packet_send(f, err) < 0 || sftp_packet_answer(f, f->last_id, ret, err) < 0)
        return -1;
    return sftp_answer_check(f, ret, wanted, ret_end, err);
}

/* The same for requests without results. */
static int ask_for_success(struct sftp *f, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};
    return ask(f, SFTP_STATUS, &answer, NULL, err);
}

static int ask_for_handle(struct sftp *f, struct sftp_handle *ret, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};
    size_t len;

    if (ask(f, SFTP_HANDLE, &answer, NULL, err) < 0)
        return -1;
    const char *bytes = sftp_get_string(&answer, &len);
    if (answer.bad || len > sizeof(ret->bytes))
        return sftp_connection_nonsense(f->connection, "the server gives no handle", err);
    memcpy(ret->bytes, bytes, len);
    ret->len = len;
    return 0;
}

static struct buf *begin_with_path(struct sftp *f, enum sftp_packet_type type, const char *path)
{
    struct buf *b = sftp_packet_begin(f, type);
    sftp_put_string(b, path, strlen(path));
    return b;
}

static struct buf *begin_with_handle(
    struct sftp *f, enum sftp_packet_type type, const struct sftp_handle *handle)
{
    struct buf *b = sftp_packet_begin(f, type);
    sftp_put_string(b, handle->bytes, handle->len);
    return b;
}

int sftp_call_open(
    struct sftp *f, const char *path, uint32_t flags, struct sftp_handle *ret, struct err *err)
{
    struct buf *b = begin_with_path(f, SFTP_OPEN, path);

    sftp_put_u32(b, flags);
    sftp_put_u32(b, HAS_PERMISSIONS);
    sftp_put_u32(b, 0600);
    return ask_for_handle(f, ret, err);
}

int sftp_call_open_folder(
    struct sftp *f, const char *path, struct sftp_handle *ret, struct err *err)
{
    begin_with_path(f, SFTP_OPENDIR, path);
    return ask_for_handle(f, ret, err);
}

int sftp_call_close(struct sftp *f, const struct sftp_handle *handle, struct err *err)
{
    begin_with_handle(f, SFTP_CLOSE, handle);
    return ask_for_success(f, err);
}

/* --- attributes and folders --- */

static void get_attributes(struct sftp_answer *a, struct sftp_attributes *ret)
{
    uint32_t flags = sftp_get_u32(a);

    *ret = (struct sftp_attributes){.bytes = -1, .modified_ms = -1};
    if (flags & HAS_SIZE)
        ret->bytes = (int64_t)sftp_get_u64(a);
    if (flags & HAS_OWNER)
        sftp_get_u64(a);
    if (flags & HAS_PERMISSIONS) {
        mode_t mode = sftp_get_u32(a);
        ret->knows_type = true;
        ret->is_file = S_ISREG(mode);
        ret->is_folder = S_ISDIR(mode);
        ret->is_link = S_ISLNK(mode);
    }
    if (flags & HAS_TIMES) {
        sftp_get_u32(a); /* of the last access */
        ret->modified_ms = (int64_t)sftp_get_u32(a) * 1000;
    }
    for (uint32_t n = flags & HAS_EXTENDED ? sftp_get_u32(a) : 0; n && !a->bad; n--) {
        size_t len;
        sftp_get_string(a, &len);
        sftp_get_string(a, &len);
    }
}

static int ask_for_attributes(struct sftp *f, struct sftp_attributes *ret, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};

    if (ask(f, SFTP_ATTRS, &answer, NULL, err) < 0)
        return -1;
    get_attributes(&answer, ret);
    return answer.bad ? sftp_connection_nonsense(f->connection, "attributes make no sense", err)
                      : 0;
}

int sftp_call_stat(struct sftp *f, const char *path, struct sftp_attributes *ret, struct err *err)
{
    begin_with_path(f, SFTP_STAT, path);
    return ask_for_attributes(f, ret, err);
}

int sftp_call_fstat(
    struct sftp *f, const struct sftp_handle *handle, struct sftp_attributes *ret, struct err *err)
{
    begin_with_handle(f, SFTP_FSTAT, handle);
    return ask_for_attributes(f, ret, err);
}

static int pass_entries(
    struct sftp *f, struct sftp_answer *a, sftp_entry entry, void *arg, struct err *err)
{
    uint32_t count = sftp_get_u32(a);

    if (!count)
        return sftp_connection_nonsense(
            f->connection, "a list of files continues without a file", err);
    for (uint32_t n = count; n && !a->bad; n--) {
        struct sftp_attributes attributes;
        size_t len, long_len;
        const char *name = sftp_get_string(a, &len);
        sftp_get_string(a, &long_len); /* a line like that of `ls -l` */
        get_attributes(a, &attributes);
        if (!a->bad && entry(arg, name, len, &attributes, err) < 0)
            return -1;
    }
    return a->bad ? sftp_connection_nonsense(f->connection, "a list of files makes no sense", err)
                  : 0;
}

int sftp_call_list(
    struct sftp *f, const struct sftp_handle *folder, sftp_entry entry, void *arg, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};

    for (;;) {
        bool end;
        begin_with_handle(f, SFTP_READDIR, folder);
        if (ask(f, SFTP_NAME, &answer, &end, err) < 0)
            return -1;
        if (end)
            return 0;
        if (pass_entries(f, &answer, entry, arg, err) < 0)
            return -1;
    }
}

/* --- changes --- */

int sftp_call_sync(struct sftp *f, const struct sftp_handle *handle, struct err *err)
{
    if (!f->can_sync)
        return 0;
    struct buf *b = sftp_packet_begin(f, SFTP_EXTENDED);
    sftp_put_string(b, "fsync@openssh.com", 17);
    sftp_put_string(b, handle->bytes, handle->len);
    return ask_for_success(f, err);
}

static int rename_over(struct sftp *f, const char *from, const char *to, struct err *err)
{
    struct buf *b = sftp_packet_begin(f, SFTP_EXTENDED);

    sftp_put_string(b, "posix-rename@openssh.com", 24);
    sftp_put_string(b, from, strlen(from));
    sftp_put_string(b, to, strlen(to));
    return ask_for_success(f, err);
}

static int rename_to_new(struct sftp *f, const char *from, const char *to, struct err *err)
{
    sftp_put_string(begin_with_path(f, SFTP_RENAME, from), to, strlen(to));
    return ask_for_success(f, err);
}

int sftp_call_rename(struct sftp *f, const char *from, const char *to, struct err *err)
{
    struct err removal = ERR_INIT;

    if (f->can_rename_over)
        return rename_over(f, from, to, err);
    if (rename_to_new(f, from, to, err) == 0)
        return 0;
    /* Version 3 has no status for "there is one already". */
    if (sftp_call_is_broken(f) || err->code != ERR_IO)
        return -1;
    if (sftp_call_remove(f, to, &removal) == 0)
        return rename_to_new(f, from, to, err);
    if (sftp_call_is_broken(f))
        *err = removal;
    return -1;
}

int sftp_call_remove(struct sftp *f, const char *path, struct err *err)
{
    begin_with_path(f, SFTP_REMOVE, path);
    return ask_for_success(f, err);
}
