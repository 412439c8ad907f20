#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../address.h"
#include "../driver.h"
#include "call.h"
#include "connection.h"
#include "recluster/known_hosts.h"
#include "recluster/mem.h"

/*
 * SFTP servers: "sftp://user@host:port/folder", or an object with "sftp_url" (or "url") and, if
 * needed, "path" (the folder, instead of the URL's), "user", "password", "key" (a private key) and
 * "key_password" (secrets), "host_key" (a text or several), "known_hosts" (a path). The folder is
 * absolute; "/~/x" is in the login's home.
 *
 * An upload goes to NAME.part, which is renamed when it is complete.
 */

enum { PART_BYTES = 4 << 20, DEFAULT_PORT = 22 };

struct sftp_store {
    struct sftp_login login;
    char *dir; /* ends with '/' */
    char *label;
    struct sftp *sftp; /* NULL: no connection */
    /*
     * The open file of the last read, if that ended before the end of the file: the next range then
     * costs one answer instead of three.
     */
    char *kept_name;
    struct sftp_handle kept;
};

/* --- the connection --- */

static struct sftp *connection(struct sftp_store *f, struct err *err)
{
    if (!f->sftp)
        f->sftp = sftp_call_connect(&f->login, err);
    return f->sftp;
}

static void disconnect(struct sftp_store *f)
{
    free(f->kept_name);
    f->kept_name = NULL;
    sftp_call_disconnect(f->sftp);
    f->sftp = NULL;
}

/* Names the failed action; drops a broken connection. Returns -1. */
static int failed(struct sftp_store *f, const char *verb, const char *name, struct err *err)
{
    if (sftp_call_is_broken(f->sftp))
        disconnect(f);
    return err_wrap(err, "cannot %s '%s%s'", verb, f->label, name);
}

static char *path_of(const struct sftp_store *f, const char *name)
{
    return xasprintf("%s%s", f->dir, name);
}

/* After the work is done: an error only breaks the connection. */
static void close_handle(struct sftp_store *f, const struct sftp_handle *handle)
{
    struct err ignored = ERR_INIT;

    if (f->sftp && sftp_call_close(f->sftp, handle, &ignored) < 0 && sftp_call_is_broken(f->sftp))
        disconnect(f);
}

/* --- list --- */

struct listing {
    struct sftp_store *store;
    struct store_list *list;
};

/* Links are followed, as on a mounted folder. */
static int add_entry(void *arg, const char *name, size_t len,
    const struct sftp_attributes *attributes, struct err *err)
{
    struct listing *l = arg;
    struct sftp_attributes a = *attributes;

    if (a.is_link) {
        AUTO_FREE char *link = xstrndup(name, len);
        AUTO_FREE char *path = path_of(l->store, link);
        struct err failure = ERR_INIT;
        if (sftp_call_stat(l->store->sftp, path, &a, &failure) < 0) {
            if (!sftp_call_is_broken(l->store->sftp))
                return 0;
            *err = failure;
            return -1;
        }
        if (!a.knows_type)
            return 0;
    }
    if (!a.knows_type || a.is_file)
        store_list_add(l->list, name, len, a.bytes, a.modified_ms);
    else if (a.is_folder)
        store_list_add_folder(l->list, name, len);
    return store_list_check(l->list, l->store->label, err);
}

static int list_files(void *handle, struct store_list *list, struct err *err)
{
    struct sftp_store *f = handle;
    struct listing listing = {f, list};
    struct sftp_handle folder;

    if (!connection(f, err))
        return -1;
    if (sftp_call_open_folder(f->sftp, f->dir, &folder, err) < 0)
        return failed(f, "list", "", err);
    int rc = sftp_call_list(f->sftp, &folder, add_entry, &listing, err);
    if (rc < 0)
        failed(f, "list", "", err);
    close_handle(f, &folder);
    return rc;
}

/* --- read --- */

static int describe(struct sftp_store *f, const struct sftp_handle *file, const char *name,
    struct store_object *ret, struct err *err)
{
    struct sftp_attributes a;

    if (sftp_call_fstat(f->sftp, file, &a, err) < 0)
        return failed(f, "look at", name, err);
    *ret = (struct store_object){.bytes = a.bytes, .modified_ms = a.modified_ms};
    if (a.is_folder)
        return err_set(err, ERR_NOT_FOUND, "'%s%s' is a folder", f->label, name);
    if (ret->bytes >= 0 && ret->modified_ms >= 0)
        snprintf(ret->validator, sizeof(ret->validator), "%lld-%lld", (long long)ret->bytes,
            (long long)ret->modified_ms);
    return 0;
}

/* Separates an error of the receiver from one of the connection. */
struct delivery {
    const struct store_receiver *to;
    bool refused;
};

static int deliver(void *arg, const void *data, size_t len, struct err *err)
{
    struct delivery *d = arg;

    d->refused = d->to->data(d->to->arg, data, len, err) < 0;
    return d->refused ? -1 : 0;
}

/* Bytes after the end of the file are not requested. */
static int64_t length_there(const struct store_object *object, int64_t offset, int64_t length)
{
    int64_t left = object->bytes - offset;

    if (object->bytes < 0 || (length >= 0 && length <= left))
        return length;
    return left > 0 ? left : 0;
}

static int read_range(struct sftp_store *f, const struct sftp_handle *file,
    const struct store_range *range, const struct store_receiver *to, struct err *err)
{
    struct delivery delivery = {.to = to};

    if (sftp_call_read(f->sftp, file, range->offset, range->length, deliver, &delivery, err) == 0)
        return 0;
    return delivery.refused ? -1 : failed(f, "read", range->name, err);
}

/* Opens the file, or uses the one that an earlier range left open. */
static int open_to_read(
    struct sftp_store *f, const char *name, bool goes_on, struct sftp_handle *ret, struct err *err)
{
    AUTO_FREE char *path = path_of(f, name);
    AUTO_FREE char *kept = f->kept_name;

    f->kept_name = NULL;
    *ret = f->kept;
    if (kept && goes_on && strcmp(kept, name) == 0)
        return 0;
    if (kept)
        close_handle(f, &f->kept);
    if (!connection(f, err))
        return -1;
    if (sftp_call_open(f->sftp, path, SFTP_OPEN_READ, ret, err) < 0)
        return failed(f, "open", name, err);
    return 0;
}

static int read_file(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct sftp_store *f = handle;
    struct sftp_handle file;
    struct store_object object;

    if (open_to_read(f, name, offset > 0 && length >= 0, &file, err) < 0)
        return -1;
    int rc = describe(f, &file, name, &object, err);
    if (rc == 0)
        rc = receiver->begin(receiver->arg, &object, offset, err);
    if (rc == 0)
        rc = read_range(f, &file,
            &(struct store_range){name, offset, length_there(&object, offset, length)}, receiver,
            err);
    if (rc == 0 && length >= 0 && offset + length < object.bytes) {
        f->kept_name = xstrdup(name);
        f->kept = file;
    } else {
        close_handle(f, &file);
    }
    return rc;
}

/* --- write --- */

struct sftp_upload {
    struct sftp_store *store;
    char *name, *path, *part_path;
    bool renaming; /* it may be renamed already, with its answer lost */
    bool done;
};

static void *begin_upload(void *handle, const char *name, struct err *err)
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

/* Each part opens the file again, so it may be repeated, even over a new connection. */
static int put_part(
    struct sftp_upload *u, const struct store_part *part, bool last, struct err *err)
{
    struct sftp_store *f = u->store;
    uint32_t flags =
        SFTP_OPEN_WRITE | SFTP_OPEN_CREATE | (part->offset == 0 ? SFTP_OPEN_TRUNCATE : 0);
    struct sftp_handle file;

    if (!connection(f, err))
        return -1;
    if (sftp_call_open(f->sftp, u->part_path, flags, &file, err) < 0)
        return failed(f, "create", u->name, err);
    int rc = sftp_call_write(f->sftp, &file, part->offset, part->data, part->len, err);
    if (rc < 0)
        failed(f, "write", u->name, err);
    if (rc == 0 && last && sftp_call_sync(f->sftp, &file, err) < 0)
        rc = failed(f, "sync", u->name, err);
    if (rc < 0)
        close_handle(f, &file);
    else if (sftp_call_close(f->sftp, &file, err) < 0)
        rc = failed(f, "close", u->name, err);
    return rc;
}

static int write_part(void *upload, const struct store_part *part, struct err *err)
{
    return put_part(upload, part, false, err);
}

/* Whether an earlier rename, whose answer was lost, succeeded. */
static int look_for_renamed(
    struct sftp_upload *u, int64_t bytes, bool *ret_renamed, struct err *err)
{
    struct sftp_store *f = u->store;
    struct sftp_attributes a;
    struct err failure = ERR_INIT;

    *ret_renamed = false;
    if (!connection(f, err))
        return -1;
    if (sftp_call_stat(f->sftp, u->part_path, &a, &failure) == 0)
        return 0;
    if (failure.code != ERR_NOT_FOUND) {
        *err = failure;
        return failed(f, "look for the upload of", u->name, err);
    }
    if (sftp_call_stat(f->sftp, u->path, &a, err) < 0)
        return failed(f, "look at", u->name, err);
    *ret_renamed = true;
    return a.bytes == bytes
               ? 0
               : err_set(err, ERR_FAILED, "the server lost the upload of '%s'", u->name);
}

static int commit_upload(void *upload, const struct store_part *last, struct err *err)
{
    struct sftp_upload *u = upload;
    struct sftp_store *f = u->store;

    if (u->renaming && look_for_renamed(u, last->offset + (int64_t)last->len, &u->done, err) < 0)
        return -1;
    if (u->done)
        return 0;
    if (put_part(u, last, true, err) < 0)
        return -1;
    u->renaming = true;
    if (sftp_call_rename(f->sftp, u->part_path, u->path, err) < 0)
        return failed(f, "rename the upload to", u->name, err);
    u->done = true;
    return 0;
}

static void end_upload(void *upload)
{
    struct sftp_upload *u = upload;
    struct err ignored = ERR_INIT;

    if (!u->done && connection(u->store, &ignored) &&
        sftp_call_remove(u->store->sftp, u->part_path, &ignored) < 0 &&
        sftp_call_is_broken(u->store->sftp))
        disconnect(u->store);
    free(u->name);
    free(u->path);
    free(u->part_path);
    free(u);
}

static int remove_file(void *handle, const char *name, struct err *err)
{
    struct sftp_store *f = handle;
    AUTO_FREE char *path = path_of(f, name);

    if (!connection(f, err))
        return -1;
    return sftp_call_remove(f->sftp, path, err) == 0 ? 0 : failed(f, "remove", name, err);
}

/* --- the location --- */

/* "/~/x" is "x": a relative path begins at the login's home. */
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
    /* An IPv6 address is in brackets. */
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
    *ret = secret_from_text(value, key, err);
    return *ret ? 0 : -1;
}

/* The lines of "known_hosts", or of the usual files; a missing file knows no host. */
static int read_known_hosts(const json_t *location, struct buf *text, struct err *err)
{
    const char *path = json_string_value(json_object_get(location, "known_hosts"));
    struct err why = ERR_INIT;

    if (!path)
        return known_hosts_read_usual(text, err);
    if (known_hosts_read(path, text, &why) == 0 || why.code == ERR_NOT_FOUND)
        return 0;
    *err = why;
    return -1;
}

/* "host_key": a text or an array; without it the keys in known_hosts. */
static int take_host_keys(const json_t *location, struct sftp_login *login, struct err *err)
{
    json_t *given = json_object_get(location, "host_key");
    CLEANUP(buf_release) struct buf known = BUF_INIT;

    login->host_keys = json_is_array(given) ? json_incref(given) : json_array();
    if (json_is_string(given))
        json_array_append(login->host_keys, given);
    if (given)
        return 0;
    if (read_known_hosts(location, &known, err) < 0)
        return -1;
    sftp_known_keys(known.data, login->host, login->port, login->host_keys);
    return 0;
}

static void close_location(void *handle)
{
    struct sftp_store *f = handle;

    disconnect(f);
    free(f->login.host);
    free(f->login.user);
    secret_free(f->login.password);
    secret_free(f->login.key);
    secret_free(f->login.key_password);
    json_decref(f->login.host_keys);
    free(f->dir);
    free(f->label);
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
    f->login.own_keys = !f->login.key && !f->login.password && !store_location_is_of_ccs(location);
    return take_host_keys(location, &f->login, err);
}

static void *open_location(const json_t *location, char **ret_label, struct err *err)
{
    struct sftp_store *f = xcalloc(1, sizeof(*f));

    if (take_location(f, location, err) < 0) {
        close_location(f);
        return NULL;
    }
    *ret_label = xstrdup(f->label);
    return f;
}

/* Adds the server's key, as this machine knows it. The operator's private keys are not added. */
static int resolve_location(json_t *location, bool own, struct err *err)
{
    AUTO_FREE char *label = NULL;

    (void)own; /* log_in() decides about the operator's keys */

    if (json_object_get(location, "host_key"))
        return 0;
    struct sftp_store *f = open_location(location, &label, err);
    if (!f)
        return -1;
    if (json_array_size(f->login.host_keys))
        json_object_set(location, "host_key", f->login.host_keys);
    close_location(f);
    return 0;
}

static void sftp_logins(const json_t *location, json_t *logins)
{
    if (address_of(location))
        store_logins_add(logins, address_of(location), false);
}

static const char *const sftp_endpoints[] = {"sftp_url", "url", NULL};
static const char *const sftp_kinds[] = {"sftp", NULL};

const struct store_driver store_sftp_driver = {
    .kinds = sftp_kinds,
    .open = open_location,
    .close = close_location,
    .list = list_files,
    .read = read_file,
    .connections = 3, /* decryption keeps a processor busy */
    .write_begin = begin_upload,
    .write_part = write_part,
    .write_commit = commit_upload,
    .write_end = end_upload,
    .remove = remove_file,
    .part_bytes = PART_BYTES,
    .endpoints = sftp_endpoints,
    .resolve = resolve_location,
    .logins = sftp_logins,
};
