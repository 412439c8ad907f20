#include "replica_source.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/store.h"

enum { RETRY_MS = 500, LOST_MS = 60 * 1000, PATH_BYTES = 40 };

/* --- opening --- */

/* A file without a name, for a library that reads files. */
static int make_file(const char *text, char path[PATH_BYTES], int *ret_fd, struct err *err)
{
    if ((*ret_fd = memfd_create("pem", MFD_CLOEXEC)) < 0)
        return err_sys(err, ERR_FAILED, "cannot make a file in memory");
    snprintf(path, PATH_BYTES, "/proc/self/fd/%d", *ret_fd);
    return file_write_all(*ret_fd, text, strlen(text), "a file in memory", err);
}

static int open_tls(const json_t *tls, struct tls **ret, struct err *err)
{
    static const char *const keys[] = {"ca", "cert", "key"};
    char paths[ARRAY_SIZE(keys)][PATH_BYTES];
    const char *files[ARRAY_SIZE(keys)] = {NULL};
    int fds[ARRAY_SIZE(keys)] = {-1, -1, -1}, rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(keys); i++) {
        const char *text = json_text(tls, keys[i], NULL);
        if (!text)
            continue;
        rc = make_file(text, paths[i], &fds[i], err);
        files[i] = paths[i];
    }
    const struct tls_params params = {files[0], files[1], files[2], json_flag(tls, "any_name")};
    if (rc == 0)
        rc = tls_new(&params, ret, err);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return rc;
}

static int ignore_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg;
    (void)data;
    (void)len;
    (void)err;
    return 0;
}

static int see_witness(const json_t *params, struct err *err)
{
    const char *name = json_text(params, "witness", NULL);
    const struct store_range range = {name, 0, 1};

    if (!name)
        return 0;
    struct store *store = store_open(json_object_get(params, "location"), err);
    int rc = store ? store_read(store, &range, ignore_bytes, NULL, NULL, err) : -1;
    if (rc < 0 && store && err->code == ERR_NOT_FOUND) {
        err_set(err, ERR_USAGE,
            "'%s' is another location there: it lacks '%s', which the operator's "
            "machine has just written",
            store_label(store), name);
        err_hint(err,
            "Hosts write to the location themselves: it must be one that all of them reach, "
            "or a folder that is mounted on all of them.");
    }
    store_close(store);
    return rc;
}

int replica_source_open(struct replica_source *s, const json_t *params, struct err *err)
{
    const json_t *tls = json_object_get(params, "tls");

    *s = (struct replica_source){
        .sources = json_object_get(params, "sources"), .login = json_object_get(params, "login")};
    s->password = secret_new(json_text(s->login, "password", NULL));
    if (!json_array_size(s->sources))
        return err_set(err, ERR_PROTOCOL, "the parameter 'sources' is missing");
    if (see_witness(params, err) < 0)
        return -1;
    return json_is_object(tls) ? open_tls(tls, &s->tls, err) : 0;
}

void replica_source_close(struct replica_source *s)
{
    psync_close(s->stream);
    secret_free(s->password);
    tls_free(s->tls);
}

static int open_psync(const struct replica_source *s, size_t at, const struct repl_place *from,
    struct psync **ret, struct err *err)
{
    const json_t *source = json_array_get(s->sources, at % json_array_size(s->sources));
    const struct psync_params params = {
        .tcp = {json_text(source, "addr", ""), (int)json_int(source, "port", 0), s->tls,
            json_text(source, "name", NULL)},
        .user = json_text(s->login, "user", NULL),
        .password = s->password,
        .from = from,
    };
    return psync_open(&params, ret, err);
}

int replica_source_data_set(struct replica_source *s, struct psync **ret, struct err *err)
{
    return open_psync(s, s->at + s->skipped, NULL, ret, err);
}

void replica_source_skip(struct replica_source *s)
{
    s->skipped++;
}

static bool may_come_back(enum err_code code)
{
    return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_BUSY;
}

/* The next source has the same bytes. */
static int lose(struct replica_source *s, struct err *err)
{
    int64_t now_ms = clock_mono_ms();

    if (!s->lost_ms)
        s->lost_ms = now_ms;
    if (!may_come_back(err->code) || now_ms - s->lost_ms > LOST_MS)
        return -1;
    psync_close(s->stream);
    s->stream = NULL;
    s->at = (s->at + 1) % json_array_size(s->sources);
    s->retry_ms = now_ms + RETRY_MS;
    return 0;
}

enum psync_event replica_source_stream(struct replica_source *s, struct repl_place *at,
    struct rdb_bytes *ret, struct wait *wait, struct err *err)
{
    for (;;) {
        if (!s->stream && clock_mono_ms() < s->retry_ms) {
            wait_until(wait, s->retry_ms);
            return PSYNC_WAIT;
        }
        if (!s->stream && open_psync(s, s->at, at, &s->stream, err) < 0)
            return PSYNC_FAILED;
        enum psync_event event = psync_next(s->stream, ret, wait, err);
        if (event == PSYNC_FAILED && lose(s, err) == 0)
            continue;
        if (event == PSYNC_BEGUN)
            s->lost_ms = s->retry_ms = 0;
        if (event == PSYNC_BEGUN || event == PSYNC_DATA)
            *at = *psync_place(s->stream);
        return event;
    }
}

void replica_source_end_stream(struct replica_source *s)
{
    psync_close(s->stream);
    s->stream = NULL;
}

const char *replica_source_peer(const struct replica_source *s)
{
    return s->stream ? psync_peer(s->stream) : "the shard";
}
