/*
 * The rates of earlier recoveries from this machine, in a small file,
 * $XDG_STATE_HOME/recluster/rates.json (default ~/.local/state): {"transfer", "load"} in bytes a
 * second, {"transfer_bytes", "load_bytes"} that they were measured with. Predictions use them;
 * without the file the planner assumes defaults.
 */

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/out_file.h"
#include "recluster/survey.h"

/* Fewer bytes of one server, or into one host, show the time that a start takes, not a rate. */
enum { LEARN_MIN_BYTES = 256 << 20, RATES_FILE_BYTES_MAX = 64 << 10 };
static const double RATE_MIN = 1e5, RATE_MAX = 1e11;

/* NULL: there is no home directory. */
static char *rates_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state && state[0] == '/')
        return xasprintf("%s/recluster/rates.json", state);
    return home && home[0] == '/' ? xasprintf("%s/.local/state/recluster/rates.json", home) : NULL;
}

static json_t *read_rates(void)
{
    AUTO_FREE char *path = rates_path();
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err absent = ERR_INIT;

    if (!path || file_read(path, RATES_FILE_BYTES_MAX, &text, &absent) < 0)
        return NULL;
    return json_read_quietly(text.data, text.len, 0);
}

/* What a rate was measured with. */
struct measured {
    double bytes, seconds;
};

/* False: it is not there, or not known to be of enough bytes. */
static bool take(const json_t *rates, const char *key, struct measured *ret)
{
    AUTO_FREE char *bytes_key = xasprintf("%s_bytes", key);
    double rate = json_number_value(json_object_get(rates, key));
    double bytes = json_number_value(json_object_get(rates, bytes_key));

    if (!(rate >= RATE_MIN && rate <= RATE_MAX && bytes >= (double)LEARN_MIN_BYTES))
        return false;
    *ret = (struct measured){.bytes = bytes, .seconds = bytes / rate};
    return true;
}

void rates_read(struct plan_rates *ret)
{
    json_t *rates = read_rates();
    struct measured transfer, load;

    *ret = plan_default_rates;
    if (take(rates, "transfer", &transfer) && take(rates, "load", &load)) {
        ret->transfer = ret->sync = transfer.bytes / transfer.seconds;
        ret->load = load.bytes / load.seconds;
        ret->source = "stored";
    }
    json_decref(rates);
}

/* --- learning --- */

/* The fetches of one host share its network: all their bytes, in the time when any of them ran. */
struct host_fetches {
    char *host; /* NULL: none yet */
    int64_t bytes, ms, until_ms;
};

static void add_host(const struct host_fetches *f, struct measured *ret)
{
    if (!f->host || f->bytes < LEARN_MIN_BYTES || f->ms <= 0)
        return;
    ret->bytes += (double)f->bytes;
    ret->seconds += (double)f->ms / 1000;
}

static void add_fetch(struct host_fetches *f, int64_t bytes, int64_t from_ms, int64_t until_ms)
{
    int64_t new_from_ms = from_ms > f->until_ms ? from_ms : f->until_ms;

    f->bytes += bytes;
    if (until_ms <= new_from_ms)
        return;
    f->ms += until_ms - new_from_ms;
    f->until_ms = until_ms;
}

/* For a resumed fetch the bytes of its last run are unknown. */
static int measure_transfer(struct state *st, struct measured *ret, struct err *err)
{
    struct rows rows;
    struct host_fetches f = {.host = NULL};

    *ret = (struct measured){0};
    if (state_query(st, &rows, err,
            "SELECT t.host, p.file_bytes, t.started_ms, t.ended_ms FROM task t JOIN placement p"
            " ON p.shard_uid = t.shard_uid WHERE t.kind = 'fetch' AND t.state = 'done'"
            " AND t.attempts = 1 ORDER BY t.host, t.started_ms",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const char *host = rows_text(&rows, 0);
        if (!f.host || strcmp(f.host, host) != 0) {
            add_host(&f, ret);
            free(f.host);
            f = (struct host_fetches){.host = xstrdup(host)};
        }
        add_fetch(&f, rows_int(&rows, 1), rows_int(&rows, 2), rows_int(&rows, 3));
    }
    add_host(&f, ret);
    free(f.host);
    return rows_end(&rows, err);
}

static int measure_load(struct state *st, struct measured *ret, struct err *err)
{
    struct rows rows;

    *ret = (struct measured){0};
    if (state_query(st, &rows, err,
            "SELECT json_extract(facts, '$.bytes'), json_extract(loaded, '$.load_ms')"
            " FROM placement WHERE json_extract(loaded, '$.load_ms') > 0",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        int64_t bytes = rows_int(&rows, 0), ms = rows_int(&rows, 1);
        if (bytes < LEARN_MIN_BYTES)
            continue;
        ret->bytes += (double)bytes;
        ret->seconds += (double)ms / 1000;
    }
    return rows_end(&rows, err);
}

/* Older bytes count half, so larger and later recoveries count more. */
static void blend(const json_t *old, const char *key, struct measured *now)
{
    struct measured before;

    if (!take(old, key, &before))
        return;
    now->bytes += before.bytes / 2;
    now->seconds += before.seconds / 2;
}

static int write_rates(struct measured transfer, struct measured load, struct err *err)
{
    AUTO_FREE char *path = rates_path();
    if (!path)
        return 0;
    AUTO_FREE char *folder = path_dir(path);
    json_t *old = read_rates();

    blend(old, "transfer", &transfer);
    blend(old, "load", &load);
    json_t *rates = json_pack("{s:f, s:f, s:f, s:f}", "transfer", transfer.bytes / transfer.seconds,
        "transfer_bytes", transfer.bytes, "load", load.bytes / load.seconds, "load_bytes",
        load.bytes);
    AUTO_FREE char *text = json_dumps(rates, JSON_COMPACT);

    json_decref(old);
    json_decref(rates);
    return dir_make(folder, 0700, err) < 0
               ? -1
               : out_file_write(path, text, strlen(text), 0600, OUT_FILE_REPLACE, err);
}

int rates_learn(struct state *st, struct err *err)
{
    struct measured transfer, load;

    if (measure_transfer(st, &transfer, err) < 0 || measure_load(st, &load, err) < 0)
        return -1;
    if (transfer.seconds <= 0 || load.seconds <= 0)
        return 0;
    if (write_rates(transfer, load, err) < 0)
        return err_wrap(err, "cannot keep the rates of this recovery for later plans");
    return 0;
}
