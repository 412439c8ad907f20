/*
 * A client of each kind of store, and a server that answers anything: what it sends is the input.
 *
 * The first byte says which kind of location it is. Of SFTP the rest is the bytes of the session. Of
 * the others it is answers, parted by lines "%%": a line with the status, a line that all headers
 * hold, and the body. The transport is replaced when the program is linked (--wrap, meson.build).
 */

#include <string.h>

#include "../../src/store/http/request.h"
#include "../../src/store/sftp/connection.h"
#include "fuzz.h"
#include "recluster/catalogue.h"
#include "recluster/json.h"
#include "recluster/store.h"

static struct {
    const char *at, *end;
    char header[256];
    int requests;
} server;

/* --- HTTP --- */

static const char *take_line(size_t *ret_len)
{
    const char *line = server.at;
    const char *end = memchr(line, '\n', (size_t)(server.end - line));

    *ret_len = (size_t)((end ? end : server.end) - line);
    server.at = end ? end + 1 : server.end;
    return line;
}

static const char *take_body(size_t *ret_len)
{
    static const char mark[] = "\n%%\n";
    const char *body = server.at;
    const char *end = memmem(body, (size_t)(server.end - body), mark, strlen(mark));

    *ret_len = (size_t)((end ? end : server.end) - body);
    server.at = end ? end + strlen(mark) : server.end;
    return body;
}

static int tell(
    const struct http_request *r, long status, const char *body, size_t len, struct err *err)
{
    long long first = 0, last = 0, total = -1;
    struct store_object object = {.bytes = -1, .modified_ms = -1};

    if (status == 206 &&
        sscanf(server.header, "bytes %lld-%lld/%lld", &first, &last, &total) >= 2 && first >= 0)
        object.bytes = total;
    else if (status == 200)
        object.bytes = (int64_t)len;
    snprintf(object.validator, sizeof(object.validator), "%.200s", server.header);
    if (r->to->begin(r->to->arg, &object,
            status == 206   ? first
            : status == 416 ? r->offset
                            : 0,
            err) < 0)
        return -1;
    return len > 0 && status != 416 ? r->to->data(r->to->arg, body, len, err) : 0;
}

int __wrap_http_send(
    struct http_client *c, const struct http_request *r, struct http_reply *reply, struct err *err);
int __wrap_http_send(
    struct http_client *c, const struct http_request *r, struct http_reply *reply, struct err *err)
{
    char status[8];
    size_t len;

    (void)c;
    buf_clear(&reply->text);
    FUZZ_ASSERT(r->url && r->what);
    /* Whatever it answers, the client ends: pages have a bound, and answers too. */
    FUZZ_ASSERT(++server.requests < 100000);
    if (server.at == server.end)
        return err_set(err, ERR_NETWORK, "the server is gone");
    const char *line = take_line(&len);
    snprintf(status, sizeof(status), "%.*s", (int)(len < sizeof(status) ? len : 0), line);
    reply->status = strtol(status, NULL, 10);
    line = take_line(&len);
    snprintf(server.header, sizeof(server.header), "%.*s", (int)(len < 255 ? len : 255), line);
    const char *body = take_body(&len);
    if (r->to && http_status_is_object(reply->status))
        return tell(r, reply->status, body, len, err);
    buf_add(&reply->text, body, len);
    return 0;
}

const char *__wrap_http_header(struct http_client *c, const char *name);
const char *__wrap_http_header(struct http_client *c, const char *name)
{
    (void)c;
    FUZZ_ASSERT(name);
    return server.header[0] ? server.header : NULL;
}

/* --- SFTP --- */

struct sftp_connection *__wrap_sftp_connection_open(
    const struct sftp_login *login, struct err *err);
struct sftp_connection *__wrap_sftp_connection_open(const struct sftp_login *login, struct err *err)
{
    (void)login;
    (void)err;
    return xcalloc(1, sizeof(struct sftp_connection));
}

void __wrap_sftp_connection_close(struct sftp_connection *c);
void __wrap_sftp_connection_close(struct sftp_connection *c)
{
    free(c);
}

int __wrap_sftp_connection_send(
    struct sftp_connection *c, const void *data, size_t len, struct err *err);
int __wrap_sftp_connection_send(
    struct sftp_connection *c, const void *data, size_t len, struct err *err)
{
    (void)c;
    (void)err;
    FUZZ_ASSERT(data && len >= 9);
    FUZZ_ASSERT(++server.requests < 100000);
    return 0;
}

ssize_t __wrap_sftp_connection_take(
    struct sftp_connection *c, const char **ret, size_t most, struct err *err);
ssize_t __wrap_sftp_connection_take(
    struct sftp_connection *c, const char **ret, size_t most, struct err *err)
{
    size_t left = (size_t)(server.end - server.at);

    FUZZ_ASSERT(most > 0);
    if (c->broken || left == 0) {
        c->broken = true;
        return err_set(err, ERR_NETWORK, "the server is gone");
    }
    size_t n = most < left ? most : left;
    *ret = server.at;
    server.at += n;
    return (ssize_t)n;
}

/* --- the client --- */

int __wrap_nanosleep(const struct timespec *pause, struct timespec *left);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left)
{
    (void)pause;
    (void)left;
    return 0;
}

static int sink(void *arg, const void *data, size_t len, struct err *err)
{
    (void)err;
    (void)data;
    *(size_t *)arg += len;
    return *(size_t *)arg > 1 << 20 ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

static void read_first(struct store *s, const struct store_list *list)
{
    struct err err = ERR_INIT;
    size_t bytes = 0;

    for (size_t i = 0; i + 1 < list->count; i++)
        FUZZ_ASSERT(strcmp(list->entries[i].name, list->entries[i + 1].name) < 0);
    for (size_t i = 0; i < list->count; i++)
        FUZZ_ASSERT(list->entries[i].name[0] && !strchr(list->entries[i].name, '/'));
    if (list->count > 0)
        (void)!store_read(
            s, &(struct store_range){list->entries[0].name, 3, -1}, sink, &bytes, NULL, &err);
}

static void use(struct store *s)
{
    struct store_list list = STORE_LIST_INIT;
    struct catalogue found = {.chosen = -1};
    struct err err = ERR_INIT;

    if (store_list(s, &list, &err) == 0) {
        read_first(s, &list);
        if (catalogue_read_all(s, &list, &found, &err) == 0)
            catalogue_release(&found);
    }
    store_list_release(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const locations[] = {
        "{'type':'http','url':'http://127.0.0.1:1/b/'}",
        "{'type':'webdav','url':'http://127.0.0.1:1/b/'}",
        "{'type':'s3','bucket_name':'b','subdir':'p','endpoint':'http://127.0.0.1:1',"
        "'region_name':'r','access_key_id':'k','secret_access_key':'s'}",
        "{'type':'azure','container':'c','account_name':'a','account_key':'a2V5',"
        "'endpoint':'http://127.0.0.1:1'}",
        "{'type':'gs','bucket_name':'b','endpoint':'http://127.0.0.1:1'}",
        "{'type':'swift','container':'c','auth_url':'http://127.0.0.1:1/v3','user':'u',"
        "'key':'p','insecure':true}",
        "{'type':'sftp','sftp_url':'sftp://u:p@127.0.0.1/b','host_key':'SHA256:AAAA'}",
    };
    AUTO_FREE char *text =
        xstrdup(locations[size > 0 ? (size_t)(data[0] - 'a') % ARRAY_SIZE(locations) : 0]);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    struct err err = ERR_INIT;

    if (size == 0)
        return 0;
    server.at = (const char *)data + 1;
    server.end = (const char *)data + size;
    server.header[0] = '\0';
    server.requests = 0;
    json_t *location = json_read(text, strlen(text), 0, "the location", &err);
    struct store *s = location ? store_open(location, &err) : NULL;
    if (!s)
        fprintf(stderr, "%s: %s\n", text, err.message);
    FUZZ_ASSERT(s);
    use(s);
    store_close(s);
    json_decref(location);
    return 0;
}
