/*
 * The rates of earlier recoveries from this machine, in a small file,
 * $XDG_STATE_HOME/recluster/rates.json (default ~/.local/state): {"transfer", "load"} in bytes a
 * second. Predictions use them; without the file the planner assumes defaults.
 */

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/out_file.h"
#include "recluster/survey.h"

/* Fewer bytes show the time that a start takes, not a rate. */
enum { LEARN_MIN_BYTES = 16 << 20, RATES_FILE_BYTES_MAX = 64 << 10 };
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

static bool take(const json_t *rates, const char *key, double *ret)
{
    double rate = json_number_value(json_object_get(rates, key));

    if (!(rate >= RATE_MIN && rate <= RATE_MAX))
        return false;
    *ret = rate;
    return true;
}

void rates_read(struct plan_rates *ret)
{
    json_t *rates = read_rates();

    *ret = plan_default_rates;
    if (take(rates, "transfer", &ret->transfer) && take(rates, "load", &ret->load)) {
        ret->sync = ret->transfer;
        ret->source = "stored";
    } else {
        *ret = plan_default_rates;
    }
    json_decref(rates);
}

static int measure(
    struct state *st, const char *sql, double *ret_rate, int64_t *ret_bytes, struct err *err)
{
    struct rows rows;

    *ret_rate = 0;
    *ret_bytes = 0;
    if (state_query(st, &rows, err, sql, "") < 0)
        return -1;
    if (rows_next(&rows)) {
        int64_t ms = rows_int(&rows, 1);
        *ret_bytes = rows_int(&rows, 0);
        *ret_rate = ms > 0 ? (double)*ret_bytes * 1000 / (double)ms : 0;
    }
    return rows_end(&rows, err);
}

/* The mean with the earlier rate, so that one odd day does not count alone. */
static double blended(const json_t *old, const char *key, double now)
{
    double before;

    return take(old, key, &before) ? (before + now) / 2 : now;
}

static int write_rates(double transfer, double load, struct err *err)
{
    AUTO_FREE char *path = rates_path();
    if (!path)
        return 0;
    AUTO_FREE char *folder = path_dir(path);
    json_t *old = read_rates();
    json_t *rates = json_pack("{s:f, s:f}", "transfer", blended(old, "transfer", transfer), "load",
        blended(old, "load", load));
    AUTO_FREE char *text = json_dumps(rates, JSON_COMPACT);

    json_decref(old);
    json_decref(rates);
    return dir_make(folder, 0700, err) < 0
               ? -1
               : out_file_write(path, text, strlen(text), 0600, OUT_FILE_REPLACE, err);
}

int rates_learn(struct state *st, struct err *err)
{
    double transfer, load;
    int64_t fetched, loaded;

    /* Fetches of a host share its network: all their bytes, from the first to the last. */
    if (measure(st,
            "SELECT SUM(bytes), SUM(ms) FROM (SELECT SUM(p.file_bytes) AS bytes,"
            " MAX(t.ended_ms) - MIN(t.started_ms) AS ms FROM task t JOIN placement p"
            " ON p.shard_uid = t.shard_uid WHERE t.kind = 'fetch' AND t.state = 'done'"
            " GROUP BY t.host)",
            &transfer, &fetched, err) < 0 ||
        measure(st,
            "SELECT SUM(json_extract(facts, '$.bytes')), SUM(json_extract(loaded, '$.load_ms'))"
            " FROM placement WHERE json_extract(loaded, '$.load_ms') > 0"
            " AND json_extract(facts, '$.bytes') > 0",
            &load, &loaded, err) < 0)
        return -1;
    if (loaded < LEARN_MIN_BYTES || transfer < RATE_MIN || load < RATE_MIN)
        return 0;
    if (write_rates(transfer, load, err) < 0)
        return err_wrap(err, "cannot keep the rates of this recovery for later plans");
    return 0;
}
