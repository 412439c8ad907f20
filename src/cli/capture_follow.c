#include "capture_follow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/report.h"
#include "recluster/shell_quote.h"
#include "signals.h"
#include "unit.h"

enum { EVERY_S = 10, SIGN_BYTES_MAX = 64 << 10, FILE_BYTES_MAX = 80 << 20 };

/* --- --follow --- */

static void say(void *arg, bool warning, const char *text)
{
    char at[CLOCK_TEXT_MAX];

    (void)arg;
    fprintf(stderr, "%s %s", clock_format(clock_wall_ms(), at), warning ? "warning: " : "");
    print_plain(stderr, text);
    fputc('\n', stderr);
}

/* One for each list of locations, so that two captures do not meet. The caller frees it. */
static char *default_spool(const struct capture_run *run)
{
    const char *state = getenv("XDG_STATE_HOME");
    CLEANUP(buf_release) struct buf labels = BUF_INIT;
    char hex[DIGEST_HEX_MAX];

    for (size_t i = 0; i < run->store_count; i++)
        buf_addf(&labels, "%s\n", store_label(run->stores[i]));
    digest_of(labels.data, labels.len, hex);
    if (state && *state == '/')
        return xasprintf("%s/recluster/capture-%.16s", state, hex);
    AUTO_FREE char *home = path_expand_home("~/.local/state/recluster");
    return xasprintf("%s/capture-%.16s", home, hex);
}

static int take_times(
    const struct arguments *args, int64_t *ret_every_s, struct capture_keep *keep, struct err *err)
{
    const char *every = argument(args, OPT_EVERY), *rules = argument(args, OPT_KEEP);

    *ret_every_s = EVERY_S;
    if (every && human_parse_seconds(every, ret_every_s, err) < 0)
        return err_wrap(err, "--every");
    if (*ret_every_s <= 0)
        return err_set(err, ERR_USAGE, "--every: '%s' is not a time such as 10s", every);
    return capture_keep_parse(rules ? rules : CAPTURE_KEEP_DEFAULT, keep, err) < 0
               ? err_wrap(err, "--keep")
               : 0;
}

int capture_run_follow(const struct capture_run *run, struct err *err)
{
    const struct arguments *args = run->args;
    const char *name = argument(args, OPT_NAME), *given = argument(args, OPT_SPOOL);
    AUTO_FREE char *spool = given ? xstrdup(given) : default_spool(run);
    struct capture_params capture = {
        .cluster_name = name, .without_secrets = args->given[OPT_WITHOUT_SECRETS]};
    struct capture_follow_params params = {
        .capture = &capture,
        .files = run->files->count ? run->files->list : NULL,
        .file_count = run->files->count,
        .stores = run->stores,
        .store_count = run->store_count,
        .recipients = args->values[OPT_ENCRYPT_TO],
        .key = argument(args, OPT_KEY),
        .wait_ms = run->wait_s * 1000,
        .spool = spool,
        .metrics = argument(args, OPT_METRICS),
        .tell = say,
    };
    int64_t every_s;

    if (run->request) {
        params.live = live_request_params(run->request);
        capture.hosts = live_request_hosts(run->request);
        capture.from = live_request_addresses(run->request);
        if (!name)
            capture.cluster_name = live_request_name(run->request);
    }
    if (take_times(args, &every_s, &params.keep, err) < 0 ||
        signals_catch(&params.stop_fd, err) < 0)
        return -1;
    params.every_ms = every_s * 1000;
    return capture_follow(&params, err) < 0 ? -1 : signals_exit_status();
}

/* --- --check --- */

static int add_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, SIGN_BYTES_MAX, "'" CAPTURE_SIGN_NAME "'", err);
}

static int add_file_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, FILE_BYTES_MAX, "'" CAPTURE_FILE_NAME "'", err);
}

static int read_whole(struct store *s, struct buf *ret, struct err *err)
{
    const struct store_range range = {CAPTURE_FILE_NAME, 0, -1};
    return store_read(s, &range, add_file_bytes, ret, NULL, err);
}

/* The sign, once the file beside it is the one that it is about. */
static json_t *read_sign(struct store *s, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    const struct store_range range = {CAPTURE_SIGN_NAME, 0, -1};
    char sha256[DIGEST_HEX_MAX];

    if (store_read(s, &range, add_bytes, &text, NULL, err) < 0 || read_whole(s, &file, err) < 0)
        return NULL;
    json_t *sign = json_read(text.data, text.len, 0, "'" CAPTURE_SIGN_NAME "'", err);
    if (!sign)
        return NULL;
    digest_of(file.data, file.len, sha256);
    if (strcmp(sha256, json_text(sign, "sha256", "")) == 0)
        return sign;
    err_set(err, ERR_CORRUPT, "'%s' is not the file that '" CAPTURE_SIGN_NAME "' speaks of",
        CAPTURE_FILE_NAME);
    json_decref(sign);
    return NULL;
}

static json_t *check_location(struct store *s, int64_t limit_s, bool *ret_good)
{
    struct err err = ERR_INIT, unreadable = ERR_INIT;
    json_t *sign = read_sign(s, &err), *entry;
    int64_t at_ms = 0, age_s = -1;

    if (sign && clock_parse(json_text(sign, "at", ""), &at_ms, &unreadable) == 0)
        age_s = (clock_wall_ms() - at_ms) / 1000;
    bool good = sign && age_s >= 0 && age_s <= limit_s;
    entry = json_pack("{s:s, s:b, s:I, s:o?, s:o?}", "location", store_label(s), "ok", good,
        "age_s", (json_int_t)age_s, "sign", sign, "error", sign ? NULL : json_text_of(err.message));
    *ret_good &= good;
    return entry;
}

/* What a location says of itself is not ours: it goes through the gate for terminals. */
static void add_line(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_line(struct buf *out, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *text = xvasprintf(fmt, args);
    va_end(args);
    report_add_safe(out, text);
    buf_addc(out, '\n');
}

static void check_text(const json_t *document, bool colour, struct buf *out)
{
    const json_t *entry;
    size_t i;

    (void)colour;
    json_array_foreach (json_object_get(document, "locations"), i, entry) {
        char age[HUMAN_TEXT_MAX];
        const json_t *sign = json_object_get(entry, "sign");
        add_line(out, "%-4s  %s", json_flag(entry, "ok") ? "ok" : "BAD",
            json_text(entry, "location", "?"));
        if (sign)
            add_line(out,
                "      true %s ago; file of %s; %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
                " servers answered",
                human_duration(json_int(entry, "age_s", 0) * 1000, age),
                json_text(sign, "captured_at", "?"), json_int(sign, "answered", 0),
                json_int(sign, "servers", 0));
        else
            add_line(out, "      %s", json_text(entry, "error", "?"));
        if (json_text(sign, "unsettled", NULL))
            add_line(out, "      being changed: %s", json_text(sign, "unsettled", ""));
    }
}

int capture_check(
    const struct arguments *args, struct store **stores, size_t count, struct err *err)
{
    int64_t limit_s;
    bool good = true;

    if (human_parse_seconds(argument(args, OPT_CHECK), &limit_s, err) < 0)
        return err_wrap(err, "--check");
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, check_location(stores[i], limit_s, &good));
    json_t *document = json_pack("{s:b, s:o}", "ok", good, "locations", list);
    int rc = print_result(args, document, check_text, err);
    json_decref(document);
    return rc < 0 ? -1 : good ? 0 : err_code_exit_status(ERR_FAILED);
}

/* --- --unit --- */

int capture_print_unit(const struct arguments *args, struct err *err)
{
    const struct unit unit = {
        .name = "recluster-capture",
        .description = "keeps the CCS file of a cluster up to date",
        .words = "capture --follow",
        .options =
            OPTIONS(LIVE_OPTIONS, OPT_TO, OPT_FROM, OPT_KEY, OPT_ENCRYPT_TO, OPT_NAME, OPT_WAIT,
                OPT_EVERY, OPT_KEEP, OPT_SPOOL, OPT_METRICS, OPT_WITHOUT_SECRETS, OPT_INSECURE),
    };

    return unit_print(args, &unit, err);
}
