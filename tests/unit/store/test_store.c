#include "recluster/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http_script.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

static struct store *open_text(const char *text, struct err *err)
{
    json_t *location = json_string(text);
    struct store *s = store_open(location, err);
    json_decref(location);
    return s;
}

static struct store *open_json(const char *text, struct err *err)
{
    json_t *location = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(location);
    struct store *s = store_open(location, err);
    json_decref(location);
    return s;
}

static int collect(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, 64 << 20, "test", err);
}

static int read_all(struct store *s, const char *name, struct buf *out, struct err *err)
{
    return store_read(s, &(struct store_range){name, 0, -1}, collect, out, NULL, err);
}

/* --- locations --- */

static const struct {
    const char *json, *label;
} locations[] = {
    {"\"/mnt/backups\"", "/mnt/backups"},
    {"\"file:///mnt/my%20backups\"", "/mnt/my backups"},
    {"\"file://localhost/mnt\"", "/mnt"},
    {"\"backups\"", "backups"},
    {"{\"type\": \"mount_point\", \"path\": \"/mnt/a b\"}", "/mnt/a b"},
    {"{\"type\": \"file\", \"path\": \"/mnt\"}", "/mnt"},
    {"{\"type\": \"url\", \"url\": \"file:///mnt\"}", "/mnt"},
    {"\"http://host/a\"", "http://host/a/"},
    {"\"HTTP://host:81/a/\"", "http://host:81/a/"},
    {"\"https://me:canary@host/a/?token=canary#x\"", "https://host/a/"},
    {"{\"type\": \"http\", \"url\": \"http://host/a\", \"user\": \"u\", \"password\": \"canary\"}",
        "http://host/a/"},
    {"{\"type\": \"url\", \"url\": \"https://host/a\", \"bearer\": \"canary\"}", "https://host/a/"},
};

static const struct {
    const char *json;
    enum err_code code;
    const char *message;
} no_locations[] = {
    {"5", ERR_USAGE, "location"},
    {"{}", ERR_USAGE, "location"},
    {"{\"type\": \"mount_point\"}", ERR_USAGE, "path"},
    {"{\"type\": \"http\"}", ERR_USAGE, "url"},
    {"\"http://\"", ERR_USAGE, "http://"},
    {"\"http://me:canary@ho st/\"", ERR_USAGE, "********"},
    {"\"file://other/mnt\"", ERR_USAGE, "another host"},
    {"\"file:///a%00b\"", ERR_USAGE, "a%00b"},
    {"{\"type\": \"http\", \"url\": \"http://h/\", \"password\": {\"env\": \"NOT_THERE_X\"}}",
        ERR_USAGE, "not a text"}, /* store_resolve_location() reads those */
    {"\"s3://b/f?endpoint=http://&style=host\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=https://\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=http:///\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=://\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=x://h\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=http://%00&style=host\"", ERR_USAGE, "'endpoint'"},
    {"\"s3://b/f?endpoint=http://u:canary@h/\"", ERR_USAGE, "address"},
    {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"endpoint\": \"http://u:canary@h/\"}", ERR_USAGE,
        "'endpoint'"},
    {"{\"type\": \"abs\", \"account_name\": \"a\", \"container\": \"c\", \"endpoint\": \"http://\","
     " \"account_key\": \"a2V5\"}",
        ERR_USAGE, "'endpoint'"},
    {"\"gs://b/f?endpoint=http://\"", ERR_USAGE, "'endpoint'"},
    {"\"gs://b/f?token_uri=//\"", ERR_USAGE, "'token_uri'"},
    {"\"swift://c/f?auth_url=http://\"", ERR_USAGE, "'auth_url'"},
    {"\"s3://b/f?region=evil.example.com%2F\"", ERR_USAGE, "region"},
    {"\"s3://\"", ERR_USAGE, "bucket_name"},
    {"\"s3://bucket/prefix?secret=canary\"", ERR_USAGE, "secret"},
    {"{\"url\": \"http://host/a\", \"timeout\": 0}", ERR_USAGE, "'timeout'"},
    {"{\"url\": \"ftp://host/a\", \"timeout\": \"1m\"}", ERR_USAGE, "'timeout'"},
    {"{\"url\": \"sftp://u@host/a\", \"timeout\": true}", ERR_USAGE, "'timeout'"},
    {"\"s3://bucket/prefix?timeout=9999\"", ERR_USAGE, "'timeout'"},
    {"{\"type\": \"s3\", \"bucket_name\": \"a/b\"}", ERR_USAGE, "'a/b'"},
    {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"access_key_id\": \"k\"}", ERR_USAGE,
        "secret_access_key"},
    {"\"nfs://host/export\"", ERR_UNSUPPORTED, "'nfs'"},
    {"{\"type\": \"tape\"}", ERR_UNSUPPORTED, "'tape'"},
};

static void locations_are_opened(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(locations); i++) {
        struct err err = ERR_INIT;
        struct store *s = open_json(locations[i].json, &err);
        if (!s)
            fail_msg("%s: %s", locations[i].json, err.message);
        assert_string_equal(store_label(s), locations[i].label);
        store_close(s);
    }
}

static void other_locations_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(no_locations); i++) {
        struct err err = ERR_INIT;
        struct store *s = open_json(no_locations[i].json, &err);
        if (s)
            fail_msg("%s was opened", no_locations[i].json);
        if (err.code != no_locations[i].code || !strstr(err.message, no_locations[i].message) ||
            strstr(err.message, "canary"))
            fail_msg("%s: %s", no_locations[i].json, err.message);
        if (err.code == ERR_UNSUPPORTED)
            assert_non_null(strstr(err.hint, "--source"));
    }
}

/* --- folders --- */

static void folder_is_listed(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct err err = ERR_INIT;
    struct store_list list = STORE_LIST_INIT;
    AUTO_FREE char *sub = path_join(dir, "sub");
    AUTO_FREE char *fifo = path_join(dir, "pipe");

    temp_file(dir, "b c+%\"'\n.rdb", "12345", 5);
    temp_file(dir, "a.rdb", "", 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    struct store *s = open_text(dir, &err);
    assert_ok(store_list(s, &list, &err), err);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.entries[0].name, "a.rdb");
    assert_int_equal(list.entries[0].bytes, 0);
    assert_string_equal(list.entries[1].name, "b c+%\"'\n.rdb");
    assert_int_equal(list.entries[1].bytes, 5);
    assert_true(list.entries[1].modified_ms > 1600000000000);
    store_list_release(&list);

    struct buf b = BUF_INIT;
    assert_error(read_all(s, "pipe", &b, &err), err, ERR_NOT_FOUND, "regular");
    assert_error(read_all(s, "sub", &b, &err), err, ERR_NOT_FOUND, "regular");
    assert_error(read_all(s, "../x", &b, &err), err, ERR_USAGE, "../x");
    assert_error(read_all(s, "..", &b, &err), err, ERR_USAGE, "..");
    assert_error(read_all(s, "", &b, &err), err, ERR_USAGE, "''");
    assert_error(read_all(s, "none", &b, &err), err, ERR_NOT_FOUND, "none");
    store_close(s);

    s = open_text("/nowhere/at/all", &err);
    assert_error(store_list(s, &list, &err), err, ERR_NOT_FOUND, "/nowhere/at/all");
    store_close(s);
    AUTO_FREE char *file = path_join(dir, "a.rdb");
    s = open_text(file, &err);
    assert_error(store_list(s, &list, &err), err, ERR_NOT_FOUND, "not a folder");
    store_close(s);
    temp_dir_remove(dir);
}

static void ranges_of_a_file_are_read(void **state)
{
    (void)state;
    static const struct {
        int64_t offset, length;
        const char *expected;
    } cases[] = {{0, -1, "0123456789"}, {0, 4, "0123"}, {3, 4, "3456"}, {8, 4, "89"}, {10, 4, ""},
        {3, -1, "3456789"}, {20, -1, ""}, {0, 0, ""}};
    char *dir = temp_dir_make();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct store_object object;

    temp_file(dir, "x", "0123456789", 10);
    struct store *s = open_text(dir, &err);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        buf_clear(&b);
        assert_ok(store_read(s, &(struct store_range){"x", cases[i].offset, cases[i].length},
                      collect, &b, &object, &err),
            err);
        assert_string_equal(b.data, cases[i].expected);
        assert_int_equal(object.bytes, 10);
        assert_true(object.validator[0] != '\0');
    }
    buf_release(&b);
    store_close(s);
    temp_dir_remove(dir);
}

static char *growing_path;

static int grow(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return truncate(growing_path, 3 << 20);
}

static int cut(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return truncate(growing_path, 10);
}

static void changed_file_is_noticed(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct err err = ERR_INIT;

    growing_path = path_join(dir, "x");
    temp_file(dir, "x", "0123456789", 10);
    struct store *s = open_text(dir, &err);
    assert_error(store_read(s, &(struct store_range){"x", 0, -1}, grow, NULL, NULL, &err), err,
        ERR_CHANGED, "changed");
    assert_error(store_read(s, &(struct store_range){"x", 0, -1}, cut, NULL, NULL, &err), err,
        ERR_CHANGED, "changed");
    store_close(s);
    free(growing_path);
    temp_dir_remove(dir);
}

static int enough(void *arg, const void *data, size_t len, struct err *err)
{
    (void)data, (void)len;
    ++*(int *)arg;
    return err_set(err, ERR_CANCELLED, "enough");
}

static int busy(void *arg, const void *data, size_t len, struct err *err)
{
    (void)data, (void)len;
    ++*(int *)arg;
    return err_set(err, ERR_BUSY, "the sink is busy");
}

static void sink_may_stop(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct err err = ERR_INIT;
    int calls = 0;

    temp_file(dir, "x", "0123456789", 10);
    struct store *s = open_text(dir, &err);
    assert_ok(store_read(s, &(struct store_range){"x", 0, -1}, enough, &calls, NULL, &err), err);
    assert_int_equal(err.code, ERR_NONE);
    assert_int_equal(calls, 1);
    /* What fails on our side isn't tried again. */
    assert_error(store_read(s, &(struct store_range){"x", 0, -1}, busy, &calls, NULL, &err), err,
        ERR_BUSY, "the sink");
    assert_int_equal(calls, 2);
    store_close(s);
    temp_dir_remove(dir);
}

/* --- a server that misbehaves --- */

static const char numbers[] = "0123456789abcdefghij";

#define OK20(etag)                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nETag: \"" etag "\"\r\nConnection: close\r\n"
#define PART(range, length, etag)                                                                  \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " range "\r\nContent-Length: " length    \
    "\r\nETag: \"" etag "\"\r\nConnection: close\r\n"
#define DATED_AT(second) "Last-Modified: Fri, 20 Nov 2026 02:00:" second " GMT\r\n"
#define DATED(second)                                                                              \
    "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n" DATED_AT(second)
#define DATED_PART(second)                                                                         \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-19/20\r\nContent-Length: 13\r\n"       \
    "Connection: close\r\n" DATED_AT(second)
#define WEAK "ETag: W/\"1\"\r\n"
#define UNAVAILABLE "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n"

struct script_case {
    const char *what;
    struct scripted_reply replies[5];
    enum err_code code;  /* ERR_NONE: all of `numbers` arrives */
    const char *message; /* or, without an error, what stands in the last request */
    size_t served;
};

static const struct script_case script_cases[] = {
    {"whole at once", {{OK20("a"), numbers, 20, 0}}, ERR_NONE, "GET /backups/x%20y ", 1},
    {"cut, resumed",
        {{OK20("a"), numbers, 7, 0}, {PART("7-19/20", "13", "a"), numbers + 7, 5, 0},
            {PART("12-19/20", "8", "a"), numbers + 12, 8, 0}},
        ERR_NONE, "Range: bytes=12-\r\n", 3},
    {"cut before the body", {{OK20("a"), "", 0, 0}, {OK20("b"), numbers, 20, 0}}, ERR_NONE, "GET",
        2},
    {"no ranges", {{OK20("a"), numbers, 7, 0}, {OK20("a"), numbers, 20, 0}}, ERR_NONE,
        "Range: bytes=7-\r\n", 2},
    {"503, then well", {{UNAVAILABLE, "busy", 4, 0}, {OK20("a"), numbers, 20, 0}}, ERR_NONE, "GET",
        2},
    {"no answer, then well", {{"", "", 0, 0}, {OK20("a"), numbers, 20, 0}}, ERR_NONE, "GET", 2},
    {"no length given", {{"HTTP/1.1 200 OK\r\nConnection: close\r\n", numbers, 20, 0}}, ERR_NONE,
        "GET", 1},
    {"redirected",
        {{"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 3\r\nConnection: close\r\n",
             "x\n\n", 3, 0},
            {OK20("a"), numbers, 20, 0}},
        ERR_NONE, "GET /other ", 2},
    {"another ETag", {{OK20("a"), numbers, 7, 0}, {PART("7-19/20", "13", "b"), numbers + 7, 13, 0}},
        ERR_CHANGED, "changed", 2},
    {"another ETag, no ranges", {{OK20("a"), numbers, 7, 0}, {OK20("b"), numbers, 20, 0}},
        ERR_CHANGED, "changed", 2},
    {"another size", {{OK20("a"), numbers, 7, 0}, {PART("7-20/21", "14", "a"), numbers, 14, 0}},
        ERR_CHANGED, "changed", 2},
    {"gone meanwhile",
        {{OK20("a"), numbers, 7, 0},
            {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0}},
        ERR_NOT_FOUND, "is not there (HTTP status 404)", 2},
    {"shorter meanwhile",
        {{OK20("a"), numbers, 7, 0},
            {"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nETag: \"a\"\r\n"
             "Content-Length: 0\r\nConnection: close\r\n",
                "", 0, 0}},
        ERR_CHANGED, "changed", 2},
    {"less than said", {{OK20("a"), numbers, 7, 0}, {PART("7-9/20", "3", "a"), numbers + 7, 3, 0}},
        ERR_CORRUPT, "ends at byte 10 of 20", 2},
    {"another range", {{OK20("a"), numbers, 7, 0}, {PART("9-19/20", "11", "a"), numbers, 11, 0}},
        ERR_PROTOCOL, "byte 7 was asked for", 2},
    {"a range without telling which",
        {{OK20("a"), numbers, 7, 0},
            {"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n", numbers, 5, 0}},
        ERR_PROTOCOL, "which bytes", 2},
    {"no validator, cut",
        {{"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n", numbers, 7, 0}},
        ERR_NETWORK, "cannot continue at byte 7", 1},
    {"only a date, cut", {{DATED("09"), numbers, 7, 0}, {DATED_PART("09"), numbers + 7, 13, 0}},
        ERR_NONE, "Range: bytes=7-\r\n", 2},
    {"only a date, and another", {{DATED("09"), numbers, 7, 0}, {DATED_PART("10"), numbers, 13, 0}},
        ERR_CHANGED, "changed", 2},
    {"a weak ETag, cut",
        {{DATED("09") WEAK, numbers, 7, 0}, {DATED_PART("09") WEAK, numbers + 7, 13, 0}}, ERR_NONE,
        "Range: bytes=7-\r\n", 2},
    {"a weak ETag, another date",
        {{DATED("09") WEAK, numbers, 7, 0}, {DATED_PART("10") WEAK, numbers + 7, 13, 0}},
        ERR_CHANGED, "changed", 2},
    {"always too short",
        {{OK20("a"), numbers, 19, 0}, {PART("19-19/20", "1", "a"), "", 0, 0},
            {PART("19-19/20", "1", "a"), "", 0, 0}, {PART("19-19/20", "1", "a"), "", 0, 0},
            {PART("19-19/20", "1", "a"), "", 0, 0}},
        ERR_NETWORK, "gave up after 5 tries", 5},
    {"login wanted",
        {{"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nConnection: close\r\n", "nono", 4, 0}},
        ERR_DENIED, "wants a login", 1},
    {"endless error page", {{"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n", NULL, 1 << 20, 0}},
        ERR_DENIED, "refuses access", 1},
    {"strange status",
        {{"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0}},
        ERR_PROTOCOL, "402", 1},
    {"no HTTP", {{"SSH-2.0-OpenSSH_9.2\r\n", "", 0, 0}}, ERR_PROTOCOL, "", 1},
    {"redirected to another protocol",
        {{"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n"
          "Connection: close\r\n",
            "", 0, 0}},
        ERR_PROTOCOL, "file", 1},
};

static void run_script_case(const struct script_case *c)
{
    struct scripted_reply replies[5];
    void *filler = xcalloc(1, 1 << 20);
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    memcpy(replies, c->replies, sizeof(replies));
    for (size_t i = 0; i < 5; i++)
        if (!replies[i].body)
            replies[i].body = filler;
    struct http_script *script = http_script_start(replies, c->served);
    struct store *s = open_text(http_script_url(script), &err);
    int rc = read_all(s, "x y", &b, &err);
    store_close(s);
    if (err.code != c->code || (rc < 0) != (c->code != ERR_NONE))
        fail_msg("%s: %s %s", c->what, err_code_name(err.code), err.message);
    if (http_script_served(script) != c->served)
        fail_msg("%s: %zu requests", c->what, http_script_served(script));
    const char *text = rc ? err.message : http_script_request(script, c->served - 1);
    if (!strstr(text, c->message))
        fail_msg("%s: %s", c->what, text);
    if (rc == 0)
        assert_string_equal(b.data, numbers);
    else
        assert_memory_equal(b.data, numbers, b.len);
    http_script_end(script);
    buf_release(&b);
    free(filler);
}

static void bad_lines_are_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(script_cases); i++)
        run_script_case(&script_cases[i]);
}

/* A line that brings a mebibyte between failures may fail as often as it likes. */
static void progress_renews_patience(void **state)
{
    (void)state;
    enum { PARTS = 7, PART_BYTES = 1 << 20 };
    struct buf all = BUF_INIT, got = BUF_INIT;
    struct scripted_reply replies[PARTS];
    struct err err = ERR_INIT;

    sample_noise(&all, (size_t)PARTS * PART_BYTES);
    for (int i = 0; i < PARTS; i++) {
        size_t at = (size_t)i * PART_BYTES;
        replies[i] = (struct scripted_reply){
            .head = xasprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                              "Content-Length: %zu\r\nETag: W/\"w\"\r\nConnection: close\r\n",
                at, all.len - 1, all.len, all.len - at),
            .body = all.data + at,
            .body_len = PART_BYTES};
    }
    struct http_script *script = http_script_start(replies, PARTS);
    struct store *s = open_text(http_script_url(script), &err);
    assert_ok(read_all(s, "x", &got, &err), err);
    assert_int_equal(got.len, all.len);
    assert_memory_equal(got.data, all.data, all.len);
    store_close(s);
    http_script_end(script);
    for (int i = 0; i < PARTS; i++)
        free((char *)(uintptr_t)replies[i].head);
    buf_release(&all);
    buf_release(&got);
}

static void ranges_of_an_object_are_read(void **state)
{
    (void)state;
    static const struct scripted_reply replies[] = {
        {PART("3-6/20", "4", "a"), numbers + 3, 4, 0},
        {OK20("a"), numbers, 20, 0},
        {"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */0\r\nContent-Length: 2\r\n"
         "Connection: close\r\n",
            "no", 2, 0},
    };
    struct http_script *script = http_script_start(replies, 3);
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct store_object object;
    struct store *s = open_text(http_script_url(script), &err);

    for (int i = 0; i < 2; i++) { /* the second server knows no ranges */
        buf_clear(&b);
        assert_ok(store_read(s, &(struct store_range){"x", 3, 4}, collect, &b, &object, &err), err);
        assert_string_equal(b.data, "3456");
        assert_int_equal(object.bytes, 20);
        assert_string_equal(object.validator, "\"a\"");
    }
    assert_non_null(strstr(http_script_request(script, 0), "Range: bytes=3-6\r\n"));
    buf_clear(&b);
    assert_ok(store_read(s, &(struct store_range){"empty", 0, 4}, collect, &b, &object, &err), err);
    assert_int_equal(b.len, 0);
    assert_int_equal(object.bytes, 0);
    store_close(s);
    http_script_end(script);
    buf_release(&b);
}

static void login_is_sent_and_never_shown(void **state)
{
    (void)state;
    static const struct scripted_reply replies[] = {
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0},
    };
    /* Each listing asks for an index, then by WebDAV. */
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    const char *host = http_script_url(script) + strlen("http://");
    AUTO_FREE char *url = xasprintf("http://me:can%%61ry@%s?sig=canary", host);
    AUTO_FREE char *object =
        xasprintf("{\"type\": \"http\", \"url\": \"http://%s\", \"insecure\": true,"
                  " \"bearer\": {\"env\": \"TEST_BEARER\"}}",
            host);
    struct err err = ERR_INIT;
    struct store_list list;

    struct store *s = open_text(url, &err);
    assert_error(store_list(s, &list, &err), err, ERR_DENIED, store_label(s));
    assert_null(strstr(err.message, "canary"));
    store_close(s);
    setenv("TEST_BEARER", "canary", 1);
    json_t *location = json_loads(object, 0, NULL);
    s = store_open_resolved(location, &err);
    json_decref(location);
    assert_error(store_list(s, &list, &err), err, ERR_DENIED, store_label(s));
    assert_null(strstr(err.message, "canary"));
    store_close(s);
    const char *first = http_script_request(script, 0), *second = http_script_request(script, 2);
    assert_non_null(strstr(http_script_request(script, 1), "PROPFIND /backups/?sig=canary "));
    assert_non_null(strstr(first, "GET /backups/?sig=canary "));
    assert_non_null(strstr(first, "Authorization: Basic bWU6Y2FuYXJ5\r\n"));
    assert_non_null(strstr(first, "User-Agent: recluster/" RECLUSTER_VERSION "\r\n"));
    assert_non_null(strstr(second, "Authorization: Bearer canary\r\n"));
    http_script_end(script);
}

static void index_is_tried_again(void **state)
{
    (void)state;
    static const char index[] = "[{\"name\":\"b\",\"size\":2},{\"name\":\"a\"},{\"name\":\"a\","
                                "\"size\":1}]";
    static const struct scripted_reply replies[] = {
        {"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n", "", 0, 0},
        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
         "Connection: close\r\n",
            index, 20, 0},
        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n", index,
            sizeof(index) - 1, 0},
    };
    struct http_script *script = http_script_start(replies, 3);
    struct err err = ERR_INIT;
    struct store_list list;
    struct store *s = open_text(http_script_url(script), &err);

    assert_ok(store_list(s, &list, &err), err);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.entries[0].name, "a");
    assert_int_equal(list.entries[0].bytes, 1);
    assert_string_equal(list.entries[1].name, "b");
    store_list_release(&list);
    store_close(s);
    http_script_end(script);
}

static void huge_index_is_refused(void **state)
{
    (void)state;
    static const struct scripted_reply replies[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\nConnection: close\r\n", "[\"", 2, 0},
    };
    struct http_script *script = http_script_start(replies, 1);
    struct err err = ERR_INIT;
    struct store_list list;
    struct store *s = open_text(http_script_url(script), &err);

    assert_error(store_list(s, &list, &err), err, ERR_LIMIT, "999999999");
    store_close(s);
    http_script_end(script);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct http_script *script = http_script_start(NULL, 0);
    AUTO_FREE char *url = xasprintf("%s", http_script_url(script));
    struct err err = ERR_INIT;
    struct store_list list;

    http_script_end(script);
    struct store *s = open_text(url, &err);
    assert_error(store_list(s, &list, &err), err, ERR_NETWORK, url);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locations_are_opened),
        cmocka_unit_test(other_locations_are_refused),
        cmocka_unit_test(folder_is_listed),
        cmocka_unit_test(ranges_of_a_file_are_read),
        cmocka_unit_test(changed_file_is_noticed),
        cmocka_unit_test(sink_may_stop),
        cmocka_unit_test(bad_lines_are_survived),
        cmocka_unit_test(progress_renews_patience),
        cmocka_unit_test(ranges_of_an_object_are_read),
        cmocka_unit_test(login_is_sent_and_never_shown),
        cmocka_unit_test(index_is_tried_again),
        cmocka_unit_test(huge_index_is_refused),
        cmocka_unit_test(nobody_listens),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
