#include "replica_source.h"

#include "recluster/clock.h"
#include "recluster/json.h"

enum { RETRY_MS = 500, LOST_MS = 60 * 1000 };

int replica_source_open(struct replica_source *s, const json_t *params, struct err *err)
{
    const json_t *tls = json_object_get(params, "tls");
    const struct tls_params files = {json_text(tls, "ca", NULL), json_text(tls, "cert", NULL),
        json_text(tls, "key", NULL), json_flag(tls, "any_name")};

    *s = (struct replica_source){
        .sources = json_object_get(params, "sources"), .login = json_object_get(params, "login")};
    s->password = secret_new(json_text(s->login, "password", NULL));
    if (!json_array_size(s->sources))
        return err_set(err, ERR_PROTOCOL, "the parameter 'sources' is missing");
    return json_is_object(tls) ? tls_new(&files, &s->tls, err) : 0;
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
