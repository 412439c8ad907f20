#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ranges.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/store.h"
#include "recluster/transfer.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

/* The HTTP driver against a real nginx, in a folder and on a port of its own. */

static char *dir;
static pid_t server = -1;
static int port, tls_port;
static bool tls; /* openssl was there to make a certificate */
static struct buf big = BUF_INIT;

static const char *const names[] = {"a b.rdb", "plus+percent%41&amp.rdb", "quote\"'<>.rdb",
    "semi;hash#query?.rdb", "caf\xc3\xa9.rdb", "co:lon.rdb",
    "a-very-long-name-that-nginx-cuts-in-its-page-because-it-is-so-long-0-16383.rdb.gz"};

/* Paths are relative to the folder that -p names. */
static const char config[] =
    "daemon off; master_process off; user root; pid pid;\n"
    "events { worker_connections 64; }\n"
    "http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n"
    "  uwsgi_temp_path t4; scgi_temp_path t5;\n"
    "  server { listen 127.0.0.1:%d; %s autoindex on;\n"
    "    location /html/ { alias files/; }\n"
    "    location /json/ { alias files/; autoindex_format json; }\n"
    "    location /rough/ { alias files/; autoindex_exact_size off; }\n"
    "    location /empty/ { alias empty/; }\n"
    "    location /closed/ { alias files/; autoindex off; }\n"
    "    location /secret/ { alias files/; auth_basic x; auth_basic_user_file users; }\n"
    "    location /moved/ { if ($request_uri ~ ^/moved/(.*)$) { return 302 /html/$1; } }\n"
    "  } }\n";

static int connect_to(int number)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)number),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    close(fd);
    return rc;
}

static int free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

/* Runs openssl for a certificate that signs itself. */
static bool make_certificate(void)
{
    AUTO_FREE char *key = path_join(dir, "key.pem");
    AUTO_FREE char *cert = path_join(dir, "cert.pem");
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        execlp("openssl", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert, (char *)NULL);
        _exit(127);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

static void make_files(void)
{
    AUTO_FREE char *files = path_join(dir, "files");
    AUTO_FREE char *empty = path_join(dir, "empty");
    AUTO_FREE char *sub = path_join(files, "sub");

    assert_int_equal(mkdir(files, 0700), 0);
    assert_int_equal(mkdir(empty, 0700), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        temp_file(files, names[i], names[i], strlen(names[i]));
    temp_file(files, "none.rdb", "", 0);
    sample_noise(&big, 5 * 1000 * 1000 + 17);
    temp_file(files, "big.rdb", big.data, big.len);
    temp_file(dir, "users", "me:{PLAIN}pass word\n", 20);
}

static int start_server(void **state)
{
    (void)state;
    if (access("/usr/sbin/nginx", X_OK) != 0)
        return 0;
    dir = temp_dir_make();
    port = free_port();
    make_files();
    tls = make_certificate();
    tls_port = free_port();
    AUTO_FREE char *listen_tls =
        xasprintf("listen 127.0.0.1:%d ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;",
            tls_port);
    AUTO_FREE char *text = xasprintf(config, port, tls ? listen_tls : "");
    temp_file(dir, "nginx.conf", text, strlen(text));
    AUTO_FREE char *conf = path_join(dir, "nginx.conf");
    AUTO_FREE char *log = path_join(dir, "error.log");
    server = fork();
    if (server == 0) {
        execl("/usr/sbin/nginx", "nginx", "-p", dir, "-c", conf, "-e", log, (char *)NULL);
        _exit(127);
    }
    int64_t deadline_ms = clock_mono_ms() + 20000;
    while (connect_to(port) < 0) {
        if (clock_mono_ms() > deadline_ms || waitpid(server, NULL, WNOHANG) == server) {
            server = -1;
            fail_msg("nginx does not start, see '%s'", log);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    }
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    if (dir)
        temp_dir_remove(dir);
    buf_release(&big);
    return 0;
}

static struct store *open_folder(const char *login, const char *folder)
{
    struct err err = ERR_INIT;
    if (server < 0) {
        print_message("nginx is not installed\n");
        skip();
    }
    json_t *location = json_sprintf("http://%s127.0.0.1:%d/%s/", login, port, folder);
    struct store *s = store_open(location, &err);
    json_decref(location);
    assert_non_null(s);
    return s;
}

static int collect(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, 64 << 20, "test", err);
}

static const struct store_entry *find(const struct store_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].name, name) == 0)
            return &list->entries[i];
    fail_msg("'%s' is not listed", name);
    return NULL;
}

static void check_folder(const char *login, const char *folder, bool sizes)
{
    struct store *s = open_folder(login, folder);
    struct store_list list;
    struct store_object object;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    assert_ok(store_list(s, &list, &err), err);
    assert_int_equal(list.count, ARRAY_SIZE(names) + 2);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct store_entry *e = find(&list, names[i]);
        assert_int_equal(e->bytes, strlen(names[i]));
        assert_true(e->modified_ms > clock_wall_ms() - 3600 * 1000);
        assert_true(e->modified_ms <= clock_wall_ms());
        buf_clear(&b);
        assert_ok(
            store_read(s, &(struct store_range){names[i], 0, -1}, collect, &b, &object, &err), err);
        assert_string_equal(b.data, names[i]);
        assert_int_equal(object.bytes, strlen(names[i]));
        assert_true(object.validator[0] == '"');
    }
    assert_int_equal(find(&list, "big.rdb")->bytes, sizes ? (int64_t)big.len : -1);
    assert_int_equal(find(&list, "none.rdb")->bytes, 0);
    buf_clear(&b);
    assert_ok(
        store_read(s, &(struct store_range){"big.rdb", 0, -1}, collect, &b, &object, &err), err);
    assert_int_equal(b.len, big.len);
    assert_memory_equal(b.data, big.data, big.len);
    store_list_release(&list);
    store_close(s);
    buf_release(&b);
}

static void html_index(void **state)
{
    (void)state;
    check_folder("", "html", true);
}

static void json_index(void **state)
{
    (void)state;
    check_folder("", "json", true);
}

static void rounded_sizes_are_unknown(void **state)
{
    (void)state;
    check_folder("", "rough", false);
}

static void basic_login(void **state)
{
    (void)state;
    struct err err;
    struct store_list list;

    check_folder("me:pass%20word@", "secret", true);
    struct store *s = open_folder("me:wrong@", "secret");
    assert_error(store_list(s, &list, &err), err, ERR_DENIED, "/secret/");
    assert_null(strstr(err.message, "wrong"));
    store_close(s);
}

static void redirects_are_followed(void **state)
{
    (void)state;
    check_folder("", "moved", true);
}

static struct store *open_tls(const char *host, const char *ca_file)
{
    struct err err = ERR_INIT;
    if (server < 0 || !tls) {
        print_message("nginx or openssl is not installed\n");
        skip();
    }
    AUTO_FREE char *url = xasprintf("https://%s:%d/json/", host, tls_port);
    AUTO_FREE char *path = path_join(dir, ca_file ? ca_file : "");
    json_t *location = json_pack("{s:s, s:s}", "type", "url", "url", url);
    if (ca_file)
        json_object_set_new(location, "ca_file", json_string(path));
    struct store *s = store_open(location, &err);
    json_decref(location);
    assert_non_null(s);
    return s;
}

static void certificates_are_checked(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct store_list list;

    struct store *s = open_tls("127.0.0.1", "cert.pem");
    assert_ok(store_list(s, &list, &err), err);
    assert_int_equal(list.count, ARRAY_SIZE(names) + 2);
    store_list_release(&list);
    store_close(s);
    s = open_tls("127.0.0.1", NULL);
    assert_error(store_list(s, &list, &err), err, ERR_PROTOCOL, "certificate");
    assert_non_null(strstr(err.hint, "ca_file"));
    store_close(s);
    /* Of another name: its authority is known already. */
    s = open_tls("localhost", "cert.pem");
    assert_error(store_list(s, &list, &err), err, ERR_PROTOCOL, "localhost");
    assert_null(strstr(err.hint, "ca_file"));
    assert_non_null(strstr(err.hint, "another name"));
    store_close(s);
    s = open_tls("127.0.0.1", "no-such-file.pem");
    assert_error(store_list(s, &list, &err), err, ERR_USAGE, "no-such-file.pem");
    store_close(s);
}

static void folders_without_files(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct store_list list;

    struct store *s = open_folder("", "empty");
    assert_ok(store_list(s, &list, &err), err);
    assert_int_equal(list.count, 0);
    store_list_release(&list);
    store_close(s);
    s = open_folder("", "nowhere");
    assert_error(store_list(s, &list, &err), err, ERR_NOT_FOUND, "/nowhere/");
    store_close(s);
    s = open_folder("", "closed");
    assert_error(store_list(s, &list, &err), err, ERR_DENIED, "/closed/");
    assert_non_null(strstr(err.hint, "index"));
    store_close(s);
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t offset, length, expected;
    } cases[] = {{"big.rdb", 0, 4096, 4096}, {"big.rdb", 4999999, 100, 18},
        {"big.rdb", 5000017, 100, 0}, {"big.rdb", 1000, -1, 4999017}, {"none.rdb", 0, 4096, 0},
        {"none.rdb", 0, -1, 0}};
    struct store *s = open_folder("", "html");
    struct err err = ERR_INIT;
    struct store_object object;
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        buf_clear(&b);
        assert_ok(
            store_read(s, &(struct store_range){cases[i].name, cases[i].offset, cases[i].length},
                collect, &b, &object, &err),
            err);
        assert_int_equal(b.len, cases[i].expected);
        assert_memory_equal(b.data, big.data + cases[i].offset, b.len);
        assert_int_equal(object.bytes, cases[i].name[0] == 'b' ? (int64_t)big.len : 0);
    }
    store_close(s);
    buf_release(&b);
}

/* --- several connections --- */

enum { HUGE_BYTES = (70 << 20) + 12345 };

static int compare(void *arg, const void *data, size_t len, struct err *err)
{
    size_t *at = arg;
    const char *p = data;

    /* The file repeats `big`. */
    while (len) {
        size_t from = *at % big.len, n = len < big.len - from ? len : big.len - from;
        if (memcmp(p, big.data + from, n) != 0)
            return err_set(err, ERR_CORRUPT, "other bytes at %zu", *at);
        *at += n;
        p += n;
        len -= n;
    }
    return 0;
}

static int stop_early(void *arg, const void *data, size_t len, struct err *err)
{
    if (compare(arg, data, len, err) < 0)
        return -1;
    return *(size_t *)arg > 10 << 20 ? err_set(err, ERR_SPACE, "the disk is full") : 0;
}

static void large_objects_come_over_several_connections(void **state)
{
    (void)state;
    struct store *s = open_folder("", "html");
    struct err err = ERR_INIT;
    struct store_object object;
    size_t at = 0;
    bool resumed;
    AUTO_FREE char *path = xasprintf("%s/files/huge.rdb", dir);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    for (size_t left = HUGE_BYTES, n; left; left -= n) {
        n = left < big.len ? left : big.len;
        assert_int_equal(fwrite(big.data, 1, n, f), n);
    }
    fclose(f);
    struct transfer transfer = {.store = s, .name = "huge.rdb", .sink = compare, .arg = &at};
    assert_ok(transfer_run(&transfer, &object, &resumed, &err), err);
    assert_int_equal(at, HUGE_BYTES);
    assert_int_equal(object.bytes, HUGE_BYTES);
    assert_true(ranges_pay(s, &object, 0));
    assert_false(ranges_pay(s, &object, object.bytes - 1000));

    /* From the middle, and with a sink that refuses. */
    at = 1 << 20;
    assert_ok(
        ranges_read(s, &(struct store_range){"huge.rdb", 1 << 20, -1}, &object, compare, &at, &err),
        err);
    assert_int_equal(at, HUGE_BYTES);
    at = 0;
    assert_error(
        ranges_read(s, &(struct store_range){"huge.rdb", 0, -1}, &object, stop_early, &at, &err),
        err, ERR_SPACE, "disk is full");
    /* It was changed, or is gone. */
    at = 0;
    object.validator[1] ^= 1;
    assert_error(
        ranges_read(s, &(struct store_range){"huge.rdb", 0, -1}, &object, compare, &at, &err), err,
        ERR_CHANGED, "huge.rdb");
    unlink(path);
    assert_error(
        ranges_read(s, &(struct store_range){"huge.rdb", 0, -1}, &object, compare, &at, &err), err,
        ERR_NOT_FOUND, "huge.rdb");
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_index),
        cmocka_unit_test(json_index),
        cmocka_unit_test(rounded_sizes_are_unknown),
        cmocka_unit_test(basic_login),
        cmocka_unit_test(redirects_are_followed),
        cmocka_unit_test(certificates_are_checked),
        cmocka_unit_test(folders_without_files),
        cmocka_unit_test(ranges),
        cmocka_unit_test(large_objects_come_over_several_connections),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, start_server, end_server);
}
