#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "driver.h"
#include "recluster/file.h"
#include "recluster/mem.h"
#include "sftp_session.h"

/*
 * SFTP servers: "sftp://user@host:port/folder", or an object with "sftp_url" (or "url") and, if
 * needed, "path" (the folder, instead of the URL's), "user", "password", "key" (a private key) and
 * "key_password" (secrets), "host_key" (a text or several), "known_hosts" (a path). The folder is
 * absolute; "/~/x" is below the login's home.
 *
 * An upload goes to NAME.part, which is renamed when it is whole. The SFTP of libssh2 can't rename
 * over a file: the old one is removed right before.
 */

enum {
    READ_BYTES = 1 << 20, /* less than this, and more, is slower with libssh2 */
    FIRST_READ_BYTES = 64 << 10,
    NAME_BYTES = 4096, /* of a listed name */
    PART_BYTES = 4 << 20,
    DEFAULT_PORT = 22,
};

struct sftp_store {
    struct sftp_login login;
    char *dir; /* ends with '/' */
    char *label;
    char *chunk; /* READ_BYTES, from the first read on */
    struct sftp_session *session;
    size_t read_bytes; /* that are asked for at once, see grow_reads() */
    int64_t came_bytes;
};

/* --- the connection --- */

static LIBSSH2_SFTP *channel(struct sftp_store *f, struct err *err)
{
    if (!f->session) {
        f->session = sftp_session_open(&f->login, err);
        f->read_bytes = FIRST_READ_BYTES;
        f->came_bytes = 0;
    }
    return f->session ? f->session->sftp : NULL;
}

/* Sets err; a connection that can't be trusted any more is dropped. Returns -1. */
static int failed(struct sftp_store *f, const char *verb, const char *name, struct err *err)
{
    sftp_session_error(f->session, err, "cannot %s '%s%s'", verb, f->label, name);
    if (libssh2_session_last_errno(f->session->ssh) != LIBSSH2_ERROR_SFTP_PROTOCOL) {
        sftp_session_close(f->session);
        f->session = NULL;
    }
    return -1;
}

static char *path_of(const struct sftp_store *f, const char *name)
{
    return xasprintf("%s%s", f->dir, name);
}

static LIBSSH2_SFTP_HANDLE *open_path(
    LIBSSH2_SFTP *sftp, const char *path, unsigned long flags, int type)
{
    return libssh2_sftp_open_ex(sftp, path, (unsigned)strlen(path), flags, 0600, type);
}

static int64_t size_of(const LIBSSH2_SFTP_ATTRIBUTES *a)
{
    return a->flags & LIBSSH2_SFTP_ATTR_SIZE ? (int64_t)a->filesize : -1;
}

static int64_t modified_of(const LIBSSH2_SFTP_ATTRIBUTES *a)
{
    return a->flags & LIBSSH2_SFTP_ATTR_ACMODTIME ? (int64_t)a->mtime * 1000 : -1;
}

/* --- list --- */

/* Links are followed, as on a mounted folder. */
static void add_entry(struct sftp_store *f, const char *name, size_t len,
    LIBSSH2_SFTP_ATTRIBUTES *a, struct store_list *list)
{
    bool known = a->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS;

    if (known && LIBSSH2_SFTP_S_ISLNK(a->permissions)) {
        CLEANUP(free_ptr) char *path = path_of(f, name);
        known = libssh2_sftp_stat_ex(
                    f->session->sftp, path, (unsigned)strlen(path), LIBSSH2_SFTP_STAT, a) == 0 &&
                (a->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS);
        if (!known)
            return;
    }
    if (!known || LIBSSH2_SFTP_S_ISREG(a->permissions))
        store_list_add(list, name, len, size_of(a), modified_of(a));
    else if (LIBSSH2_SFTP_S_ISDIR(a->permissions))
        store_list_add_folder(list, name, len);
}

static int sftp_list(void *handle, struct store_list *list, struct err *err)
{
    struct sftp_store *f = handle;
    LIBSSH2_SFTP *sftp = channel(f, err);
    char name[NAME_BYTES];
    LIBSSH2_SFTP_ATTRIBUTES a;
    int len;

    if (!sftp)
        return -1;
    LIBSSH2_SFTP_HANDLE *folder = open_path(sftp, f->dir, 0, LIBSSH2_SFTP_OPENDIR);
    if (!folder)
        return failed(f, "list", "", err);
    while ((len = libssh2_sftp_readdir_ex(folder, name, sizeof(name) - 1, NULL, 0, &a)) > 0) {
        name[len] = '\0';
        add_entry(f, name, (size_t)len, &a, list);
    }
    int rc = len < 0 && len != LIBSSH2_ERROR_BUFFER_TOO_SMALL ? failed(f, "list", "", err) : 0;
    if (f->session)
        libssh2_sftp_close_handle(folder);
    return rc;
}

/* --- read --- */

static int describe(struct sftp_store *f, LIBSSH2_SFTP_HANDLE *file, const char *name,
    struct store_object *ret, struct err *err)
{
    LIBSSH2_SFTP_ATTRIBUTES a;

    if (libssh2_sftp_fstat_ex(file, &a, 0) < 0)
        return failed(f, "look at", name, err);
    *ret = (struct store_object){.bytes = size_of(&a), .modified_ms = modified_of(&a)};
    if ((a.flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) && LIBSSH2_SFTP_S_ISDIR(a.permissions))
        return err_set(err, ERR_NOT_FOUND, "'%s%s' is a folder", f->label, name);
    if (ret->bytes >= 0 && ret->modified_ms >= 0)
        snprintf(ret->validator, sizeof(ret->validator), "%lld-%lld", (long long)ret->bytes,
            (long long)ret->modified_ms);
    return 0;
}

/*
 * libssh2 asks for four times as much as is to be read, and when the connection ends it gives
 * nothing of what has come of that: on a bad line, all of it would be lost with each cut. So a new
 * connection begins with small reads.
 */
static void grow_reads(struct sftp_store *f, ssize_t n)
{
    f->came_bytes += n;
    if (f->read_bytes < READ_BYTES && f->came_bytes >= 8 * (int64_t)f->read_bytes)
        f->read_bytes *= 2;
}

static int read_range(struct sftp_store *f, LIBSSH2_SFTP_HANDLE *file, const char *name,
    int64_t length, const struct store_receiver *to, struct err *err)
{
    if (!f->chunk)
        f->chunk = xmalloc(READ_BYTES);
    while (length != 0) {
        size_t want =
            length < 0 || length > (int64_t)f->read_bytes ? f->read_bytes : (size_t)length;
        ssize_t n = libssh2_sftp_read(file, f->chunk, want);
        if (n < 0)
            return failed(f, "read", name, err);
        if (n == 0)
            return 0;
        grow_reads(f, n);
        if (to->data(to->arg, f->chunk, (size_t)n, err) < 0)
            return -1;
        if (length > 0)
            length -= n;
    }
    return 0;
}

static int sftp_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct sftp_store *f = handle;
    LIBSSH2_SFTP *sftp = channel(f, err);
    CLEANUP(free_ptr) char *path = path_of(f, name);
    struct store_object object;

    if (!sftp)
        return -1;
    LIBSSH2_SFTP_HANDLE *file = open_path(sftp, path, LIBSSH2_FXF_READ, LIBSSH2_SFTP_OPENFILE);
    if (!file)
        return failed(f, "open", name, err);
    int rc = describe(f, file, name, &object, err);
    if (rc == 0) {
        libssh2_sftp_seek64(file, (uint64_t)offset);
        rc = receiver->begin(receiver->arg, &object, offset, err);
    }
    if (rc == 0)
        rc = read_range(f, file, name, length, receiver, err);
    if (f->session)
        libssh2_sftp_close_handle(file);
    return rc;
}

/* --- write --- */

struct sftp_upload {
    struct sftp_store *store;
    char *name, *path, *part_path;
    bool renaming; /* it may have its name already: the answer is missing */
    bool done;
};

static void *sftp_write_begin(void *handle, const char *name, struct err *err)
{
    struct sftp_store *f = handle;
    struct sftp_upload *u = xcalloc(1, sizeof(*u));

    (void)err;
    u->store = f;
    u->name = xstrdup(name);
    u->path = path_of(f, name);
    u->part_path = xasprintf("%s.part", u->path);
    return u;
}

static int write_all(
    struct sftp_upload *u, LIBSSH2_SFTP_HANDLE *file, const char *data, size_t len, struct err *err)
{
    while (len) {
        ssize_t n = libssh2_sftp_write(file, data, len);
        if (n < 0)
            return failed(u->store, "write", u->name, err);
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Each part is opened anew: so it may come again, also over another connection. */
static int put_part(
    struct sftp_upload *u, const struct store_part *part, bool last, struct err *err)
{
    struct sftp_store *f = u->store;
    LIBSSH2_SFTP *sftp = channel(f, err);
    unsigned long flags =
        LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | (part->offset == 0 ? LIBSSH2_FXF_TRUNC : 0);

    if (!sftp)
        return -1;
    LIBSSH2_SFTP_HANDLE *file = open_path(sftp, u->part_path, flags, LIBSSH2_SFTP_OPENFILE);
    if (!file)
        return failed(f, "create", u->name, err);
    libssh2_sftp_seek64(file, (uint64_t)part->offset);
    int rc = write_all(u, file, part->data, part->len, err);
    /* A server without the fsync extension says so: then it is as durable as it gets. */
    if (rc == 0 && last && libssh2_sftp_fsync(file) < 0 &&
        libssh2_session_last_errno(f->session->ssh) != LIBSSH2_ERROR_SFTP_PROTOCOL)
        rc = failed(f, "sync", u->name, err);
    if (f->session && libssh2_sftp_close_handle(file) < 0 && rc == 0)
        rc = failed(f, "close", u->name, err);
    return rc;
}

static int sftp_write_part(void *upload, const struct store_part *part, struct err *err)
{
    return put_part(upload, part, false, err);
}

static int rename_over(struct sftp_upload *u, struct err *err)
{
    LIBSSH2_SFTP *sftp = channel(u->store, err);
    unsigned from_len = (unsigned)strlen(u->part_path), to_len = (unsigned)strlen(u->path);
    const long flags = LIBSSH2_SFTP_RENAME_OVERWRITE | LIBSSH2_SFTP_RENAME_ATOMIC;

    if (!sftp)
        return -1;
    for (bool again = false;; again = true) {
        if (libssh2_sftp_rename_ex(sftp, u->part_path, from_len, u->path, to_len, flags) == 0)
            return 0;
        if (again ||
            libssh2_session_last_errno(u->store->session->ssh) != LIBSSH2_ERROR_SFTP_PROTOCOL ||
            libssh2_sftp_unlink_ex(sftp, u->path, to_len) < 0)
            return failed(u->store, "rename the upload to", u->name, err);
    }
}

/* Whether an earlier try to rename, whose answer was lost, did it. */
static int look_for_renamed(
    struct sftp_upload *u, int64_t bytes, bool *ret_renamed, struct err *err)
{
    LIBSSH2_SFTP *sftp = channel(u->store, err);
    LIBSSH2_SFTP_ATTRIBUTES a;

    *ret_renamed = false;
    if (!sftp)
        return -1;
    if (libssh2_sftp_stat_ex(
            sftp, u->part_path, (unsigned)strlen(u->part_path), LIBSSH2_SFTP_STAT, &a) == 0)
        return 0;
    if (failed(u->store, "look for the upload of", u->name, err) < 0 && err->code != ERR_NOT_FOUND)
        return -1;
    if (libssh2_sftp_stat_ex(sftp, u->path, (unsigned)strlen(u->path), LIBSSH2_SFTP_STAT, &a) < 0)
        return failed(u->store, "look at", u->name, err);
    *ret_renamed = true;
    return size_of(&a) == bytes
               ? 0
               : err_set(err, ERR_FAILED, "the server lost the upload of '%s'", u->name);
}

static int sftp_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct sftp_upload *u = upload;

    if (u->renaming && look_for_renamed(u, last->offset + (int64_t)last->len, &u->done, err) < 0)
        return -1;
    if (u->done)
        return 0;
    if (put_part(u, last, true, err) < 0)
        return -1;
    u->renaming = true;
    u->done = rename_over(u, err) == 0;
    return u->done ? 0 : -1;
}

static void sftp_write_end(void *upload)
{
    struct sftp_upload *u = upload;
    struct err ignored = ERR_INIT;

    if (!u->done && channel(u->store, &ignored))
        libssh2_sftp_unlink_ex(
            u->store->session->sftp, u->part_path, (unsigned)strlen(u->part_path));
    free(u->name);
    free(u->path);
    free(u->part_path);
    free(u);
}

static int sftp_remove(void *handle, const char *name, struct err *err)
{
    struct sftp_store *f = handle;
    LIBSSH2_SFTP *sftp = channel(f, err);
    CLEANUP(free_ptr) char *path = path_of(f, name);

    if (!sftp)
        return -1;
    if (libssh2_sftp_unlink_ex(sftp, path, (unsigned)strlen(path)) == 0)
        return 0;
    return failed(f, "remove", name, err);
}

/* --- the location --- */

/* "/~/x" is "x": a path that isn't absolute begins at the login's home. */
static char *folder_of(const char *path)
{
    bool home = strncmp(path, "/~/", 3) == 0 || strcmp(path, "/~") == 0;
    const char *from = home ? path + (path[2] ? 3 : 2) : path;
    size_t len = strlen(from);

    if (home && !len)
        return xstrdup("./");
    return xasprintf("%s%s", from, len && from[len - 1] == '/' ? "" : "/");
}

/* path NULL: the URL's. */
static int set_address(struct sftp_store *f, const char *text, const char *path, struct err *err)
{
    struct address a;

    if (address_parse(text, NULL, &a, err) < 0)
        return err_hint(err, "Write sftp://user@host/folder.");
    /* An IPv6 address stands in brackets. */
    size_t len = strlen(a.host);
    bool v6 = a.host[0] == '[' && len > 2;
    f->login.host = v6 ? xstrndup(a.host + 1, len - 2) : xstrdup(a.host);
    f->login.user = a.user ? xstrdup(a.user) : NULL;
    f->login.password = secret_new(a.password);
    f->login.port = a.port ? atoi(a.port) : DEFAULT_PORT;
    f->dir = folder_of(path ? path : a.path);
    f->label = xasprintf("sftp://%s%s%s%s%s", a.host, a.port ? ":" : "", a.port ? a.port : "",
        f->dir[0] == '/' ? "" : "/~/", f->dir);
    address_release(&a);
    return 0;
}

static int take_secret(
    const json_t *location, const char *key, struct secret **ret, struct err *err)
{
    const json_t *value = json_object_get(location, key);

    if (!value)
        return 0;
    secret_free(*ret);
    *ret = secret_from_json(value, key, err);
    return *ret ? 0 : -1;
}

/* "host_key": a text or an array; without it, what known_hosts says. */
static int take_host_keys(const json_t *location, struct sftp_login *login, struct err *err)
{
    json_t *given = json_object_get(location, "host_key");
    const char *path = json_string_value(json_object_get(location, "known_hosts"));
    CLEANUP(free_ptr) char *known_hosts = path_expand_home(path ? path : "~/.ssh/known_hosts");

    login->host_keys = json_is_array(given) ? json_incref(given) : json_array();
    if (json_is_string(given))
        json_array_append(login->host_keys, given);
    return given ? 0
                 : sftp_known_keys(known_hosts, login->host, login->port, login->host_keys, err);
}

static void sftp_disconnect(void *handle)
{
    struct sftp_store *f = handle;

    sftp_session_close(f->session);
    f->session = NULL;
}

static void sftp_close(void *handle)
{
    struct sftp_store *f = handle;

    sftp_disconnect(f);
    free(f->login.host);
    free(f->login.user);
    secret_free(f->login.password);
    secret_free(f->login.key);
    secret_free(f->login.key_password);
    json_decref(f->login.host_keys);
    free(f->dir);
    free(f->label);
    free(f->chunk);
    free(f);
}

static const char *address_of(const json_t *location)
{
    const char *url = store_location_text(location, "sftp_url");
    return url ? url : store_location_text(location, "url");
}

static int take_location(struct sftp_store *f, const json_t *location, struct err *err)
{
    const char *url = address_of(location);
    const char *user = json_string_value(json_object_get(location, "user"));
    const char *path = json_string_value(json_object_get(location, "path"));

    if (!url)
        return err_set(err, ERR_USAGE, "a backup location on an SFTP server needs its 'sftp_url'");
    if (set_address(f, url, path, err) < 0 ||
        take_secret(location, "password", &f->login.password, err) < 0 ||
        take_secret(location, "key", &f->login.key, err) < 0 ||
        take_secret(location, "key_password", &f->login.key_password, err) < 0)
        return -1;
    if (store_location_timeout(location, &f->login.silence_s, err) < 0)
        return -1;
    if (user) {
        free(f->login.user);
        f->login.user = xstrdup(user);
    }
    if (!f->login.user) {
        err_set(err, ERR_USAGE, "'%s' does not say whose login to use", f->label);
        return err_hint(err, "Write sftp://user@host/folder, or give \"user\" with the location.");
    }
    return take_host_keys(location, &f->login, err);
}

static void *sftp_open(const json_t *location, char **ret_label, struct err *err)
{
    struct sftp_store *f = xcalloc(1, sizeof(*f));

    if (libssh2_init(0) != 0) {
        err_set(err, ERR_FAILED, "cannot start libssh2");
        free(f);
        return NULL;
    }
    if (take_location(f, location, err) < 0) {
        sftp_close(f);
        return NULL;
    }
    *ret_label = xstrdup(f->label);
    return f;
}

/* The server's key, as this machine knows it. The private keys of whoever works here are not taken
 * along. */
static int sftp_resolve(json_t *location, struct err *err)
{
    CLEANUP(free_ptr) char *label = NULL;

    if (json_object_get(location, "host_key"))
        return 0;
    struct sftp_store *f = sftp_open(location, &label, err);
    if (!f)
        return -1;
    if (json_array_size(f->login.host_keys))
        json_object_set(location, "host_key", f->login.host_keys);
    sftp_close(f);
    return 0;
}

static const char *const sftp_kinds[] = {"sftp", NULL};

const struct store_driver store_sftp_driver = {
    .kinds = sftp_kinds,
    .open = sftp_open,
    .close = sftp_close,
    .list = sftp_list,
    .read = sftp_read,
    .connections = 1, /* decryption */
    .disconnect = sftp_disconnect,
    .write_begin = sftp_write_begin,
    .write_part = sftp_write_part,
    .write_commit = sftp_write_commit,
    .write_end = sftp_write_end,
    .remove = sftp_remove,
    .part_bytes = PART_BYTES,
    .resolve = sftp_resolve,
};
