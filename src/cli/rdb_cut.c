#include "rdb_cut.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/out_file.h"
#include "recluster/pull.h"
#include "recluster/rdb_split.h"

enum { SHARDS_MAX = 1000, WRITE_BYTES = 1 << 20 };

/* An output under a working name until all are complete. */
struct out {
    char *path;
    struct out_file file;
    struct slots slots;
    bool all;     /* no slots were named */
    char *buffer; /* WRITE_BYTES */
    size_t len;
    bool named; /* it has its final name */
};

struct cut {
    struct out *outs;
    size_t count, alloc;
    struct rdb_split *split;
    const char *input; /* the current one */
    bool terminal;
    int64_t started_ms;
    uint64_t bytes_before; /* stored bytes of the inputs before it */
};

/* what the arguments ask for */

static struct out *add_out(struct cut *cut, char *path)
{
    GROW(cut->outs, cut->count, cut->alloc);
    struct out *out = &cut->outs[cut->count++];
    *out = (struct out){.path = path, .file = OUT_FILE_INIT};
    return out;
}

/* "SLOTS=FILE". */
static int parse_pair(
    const char *option, const char *text, struct slots *ret, const char **ret_file, struct err *err)
{
    const char *equals = strchr(text, '=');
    AUTO_FREE char *slots = xstrndup(text, equals ? (size_t)(equals - text) : 0);

    slots_clear(ret);
    if (!*slots || !equals[1]) {
        err_set(err, ERR_USAGE, "'--%s %s' is not SLOTS=FILE", option, text);
        return err_hint(err, "For instance: --%s 0-8191=a.rdb", option);
    }
    *ret_file = equals + 1;
    return slots_parse(slots, ret, err) < 0 ? err_wrap(err, "--%s", option) : 0;
}

/* Equal parts, as redis-cli cuts them. */
static int add_shards(struct cut *cut, const char *text, const char *folder, struct err *err)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);

    if (*text < '1' || *text > '9' || *end || count > SHARDS_MAX)
        return err_set(
            err, ERR_USAGE, "'--shards %s' is not a number from 1 to %d", text, SHARDS_MAX);
    if (dir_make(folder, 0777, err) < 0)
        return -1;
    unsigned n = (unsigned)count;
    for (unsigned i = 0, first = 0, last; i < n; i++, first = last + 1) {
        last = (2 * (i + 1) * SLOT_COUNT + n) / (2 * n) - 1;
        AUTO_FREE char *name = xasprintf("slots-%u-%u.rdb", first, last);
        slots_add_range(&add_out(cut, path_join(folder, name))->slots, first, last);
    }
    return 0;
}

static int take_outs(struct cut *cut, const struct arguments *args, bool join, struct err *err)
{
    const char *out = argument(args, OPT_OUT), *shards = argument(args, OPT_SHARDS);
    const char **pairs = args->values[OPT_SLOTS];

    if (shards && (pairs || join || !out)) {
        err_set(err, ERR_USAGE, "'--shards' belongs to 'split', with '--out FOLDER'");
        return err_hint(err, "For instance: recluster rdb split dump.rdb --shards 3 --out parts");
    }
    if (shards)
        return add_shards(cut, shards, out, err);
    if (join ? !pairs == !out : !pairs || out) {
        err_set(err, ERR_USAGE,
            join ? "'join' needs '--out FILE' or '--slots SLOTS=FILE'"
                 : "'split' needs '--slots SLOTS=FILE' or '--shards N --out FOLDER'");
        return err_hint(err, "See: recluster rdb --help");
    }
    if (out) {
        add_out(cut, xstrdup(out))->all = true;
        return 0;
    }
    for (; pairs && *pairs; pairs++) {
        struct slots slots;
        const char *file;
        if (parse_pair("slots", *pairs, &slots, &file, err) < 0)
            return -1;
        add_out(cut, xstrdup(file))->slots = slots;
    }
    return 0;
}

/* files */

static int open_outs(struct cut *cut, struct err *err)
{
    for (size_t i = 0; i < cut->count; i++) {
        struct out *out = &cut->outs[i];
        for (size_t j = 0; j < i; j++)
            if (strcmp(out->path, cut->outs[j].path) == 0)
                return err_set(err, ERR_USAGE, "'%s' is named twice", out->path);
        if (file_exists(out->path)) {
            err_set(err, ERR_CHECK, "'%s' exists already", out->path);
            return err_hint(
                err, "Move it away, or name another file. Existing files are never overwritten.");
        }
        if (out_file_open(&out->file, out->path, 0666, err) < 0)
            return -1;
        out->buffer = xmalloc(WRITE_BYTES);
    }
    return 0;
}

static int flush(struct out *out, struct err *err)
{
    size_t len = out->len;

    out->len = 0;
    return file_write_all(out->file.fd, out->buffer, len, out->file.working, err);
}

static int on_write(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    struct cut *cut = arg;
    struct out *out = &cut->outs[output];

    if (len > WRITE_BYTES - out->len && flush(out, err) < 0)
        return -1;
    if (len > WRITE_BYTES)
        return file_write_all(out->file.fd, data, len, out->file.working, err);
    memcpy(out->buffer + out->len, data, len);
    out->len += len;
    return 0;
}

static int on_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    struct cut *cut = arg;
    struct out *out = &cut->outs[output];

    if (flush(out, err) < 0)
        return -1;
    int fd = out->file.fd;
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0 ||
        file_write_all(fd, data, len, out->file.working, err) < 0 || lseek(fd, 0, SEEK_END) < 0)
        return err->code ? -1 : err_sys(err, ERR_IO, "cannot write '%s'", out->file.working);
    return 0;
}

/* All are synced before the first gets its final name. */
static int name_outs(struct cut *cut, struct err *err)
{
    for (size_t i = 0; i < cut->count; i++)
        if (flush(&cut->outs[i], err) < 0 || out_file_sync(&cut->outs[i].file, err) < 0)
            return -1;
    for (size_t i = 0; i < cut->count; i++) {
        struct out *out = &cut->outs[i];
        if (out_file_commit(&out->file, OUT_FILE_NEW, err) < 0)
            return -1;
        out->named = true;
    }
    return 0;
}

static void release(struct cut *cut, bool ok)
{
    for (size_t i = 0; i < cut->count; i++) {
        struct out *out = &cut->outs[i];
        if (!ok && out->named)
            unlink(out->path);
        out_file_release(&out->file);
        free(out->buffer);
        free(out->path);
    }
    free(cut->outs);
    rdb_split_free(cut->split);
}

/* reading */

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    const struct cut *cut = arg;
    char done[HUMAN_TEXT_MAX], rate[HUMAN_TEXT_MAX];
    int64_t took_ms = clock_mono_ms() - cut->started_ms;
    uint64_t bytes = cut->bytes_before + (uint64_t)done_bytes;

    if (!cut->terminal)
        return;
    fprintf(stderr, "\r\033[K");
    print_plain(stderr, cut->input);
    if (total_bytes > 0)
        fprintf(stderr, ": %d%%", (int)(100 * done_bytes / total_bytes));
    fprintf(stderr, ", %s, %s/s", human_bytes(bytes, done),
        human_bytes(took_ms > 0 ? bytes * 1000 / (uint64_t)took_ms : bytes, rate));
}

static int on_plain(void *arg, const void *data, size_t len, struct err *err)
{
    struct cut *cut = arg;
    return rdb_split_feed(cut->split, data, len, err);
}

static int read_input(
    struct cut *cut, const struct arguments *args, const char *word, struct err *err)
{
    const char *name;
    struct store *store = open_file_location(args, word, &name, err);

    if (!store)
        return -1;
    const struct pull_params params = {
        .store = store, .name = name, .expected_bytes = -1, .progress = on_progress, .arg = cut};
    cut->input = word;
    int rc = pull_plain(&params, on_plain, cut, err);
    if (cut->terminal)
        fprintf(stderr, "\r\033[K");
    store_close(store);
    return rc;
}

/* --take SLOTS=FILE: the slots that count in this input. */
static int set_take(struct cut *cut, const char *const *pairs, const char *word, struct err *err)
{
    struct slots all = {{0}}, slots;
    bool found = false;

    for (; pairs && *pairs; pairs++) {
        const char *file;
        if (parse_pair("take", *pairs, &slots, &file, err) < 0)
            return -1;
        if (strcmp(file, word) != 0)
            continue;
        slots_union(&all, &slots);
        found = true;
    }
    rdb_split_take(cut->split, found ? &all : NULL);
    return 0;
}

static int check_takes(const struct arguments *args, struct err *err)
{
    const char **pairs = args->values[OPT_TAKE];

    for (; pairs && *pairs; pairs++) {
        struct slots slots;
        const char *file;
        bool found = false;
        if (parse_pair("take", *pairs, &slots, &file, err) < 0)
            return -1;
        for (size_t i = 1; i < args->word_count; i++)
            found |= strcmp(args->words[i], file) == 0;
        if (!found)
            return err_set(err, ERR_USAGE, "'--take %s' does not name one of the files", *pairs);
    }
    return 0;
}

static int read_inputs(struct cut *cut, const struct arguments *args, struct err *err)
{
    for (size_t i = 1; i < args->word_count; i++) {
        const char *word = args->words[i];
        if (i > 1 && rdb_split_next(cut->split, err) < 0)
            return err_wrap(err, "'%s'", args->words[i - 1]);
        rdb_split_name(cut->split, word);
        if (set_take(cut, args->values[OPT_TAKE], word, err) < 0 ||
            read_input(cut, args, word, err) < 0)
            return -1;
    }
    return rdb_split_end(cut->split, err) < 0
               ? err_wrap(err, "'%s'", args->words[args->word_count - 1])
               : 0;
}

static int start_split(struct cut *cut, const struct arguments *args, struct err *err)
{
    const char *shift = argument(args, OPT_RDB_SHIFT_TTL);
    int64_t shift_s = 0;

    if (shift && human_parse_seconds(shift, &shift_s, err) < 0)
        return err_wrap(err, "--shift-ttl");
    struct rdb_split_output *outputs = xcalloc(cut->count, sizeof(*outputs));
    const struct rdb_split_params params = {.outputs = outputs,
        .count = cut->count,
        .stamp = args->given[OPT_STAMP],
        .shift_expiry_ms = shift_s * 1000,
        .write = on_write,
        .patch = on_patch,
        .arg = cut};

    for (size_t i = 0; i < cut->count; i++)
        outputs[i].slots = cut->outs[i].all ? NULL : &cut->outs[i].slots;
    cut->split = rdb_split_new(&params, err);
    free(outputs);
    return cut->split ? 0 : -1;
}

static json_t *document_of(const struct cut *cut)
{
    struct rdb_split_source source;
    json_t *outputs = json_array();

    rdb_split_source(cut->split, &source);
    for (size_t i = 0; i < cut->count; i++) {
        const struct rdb_split_facts *facts = rdb_split_facts(cut->split, i);
        json_t *slots = cut->outs[i].all ? json_pack("[[ii]]", 0, SLOT_COUNT - 1)
                                         : slots_to_json(&cut->outs[i].slots);
        json_t *output = json_pack("{s:s, s:o, s:I, s:I, s:I}", "path", cut->outs[i].path, "slots",
            slots, "bytes", (json_int_t)facts->bytes, "keys", (json_int_t)facts->keys, "expires",
            (json_int_t)facts->expires);
        if (*facts->repl_id)
            json_object_set_new(output, "repl_id", json_string(facts->repl_id));
        json_array_append_new(outputs, output);
    }
    return json_pack("{s:{s:I, s:I, s:I, s:I}, s:o}", "source", "bytes", (json_int_t)source.bytes,
        "keys", (json_int_t)source.keys, "expires", (json_int_t)source.expires, "left_out",
        (json_int_t)source.left_out, "outputs", outputs);
}

/* Removes outputs that are not complete. */
static int on_memory_limit(void *arg, const struct err *err)
{
    release(arg, false);
    print_error(err);
    return err_code_exit_status(err->code);
}

int rdb_cut(const struct arguments *args, bool join, json_t **ret_document, struct err *err)
{
    struct cut cut = {.terminal = isatty(STDERR_FILENO), .started_ms = clock_mono_ms()};
    int rc = check_takes(args, err);

    memory_limit_tell(on_memory_limit, &cut);
    if (rc == 0)
        rc = outputs_check(args, err);
    if (rc == 0)
        rc = take_outs(&cut, args, join, err);
    if (rc == 0)
        rc = start_split(&cut, args, err);
    if (rc == 0)
        rc = open_outs(&cut, err);
    if (rc == 0)
        rc = read_inputs(&cut, args, err);
    if (rc == 0)
        rc = name_outs(&cut, err);
    if (rc == 0)
        *ret_document = document_of(&cut);
    release(&cut, rc == 0);
    return rc;
}

void rdb_cut_text(const json_t *document, bool colour, struct buf *out)
{
    const json_t *source = json_object_get(document, "source");
    const json_t *outputs = json_object_get(document, "outputs");
    char keys[HUMAN_TEXT_MAX], bytes[HUMAN_TEXT_MAX];

    (void)colour;
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *o = json_array_get(outputs, i);
        const char *id = json_text(o, "repl_id", NULL);
        buf_addf(out, "%s: %s keys, %s%s%s\n", json_text(o, "path", NULL),
            human_count((uint64_t)json_int(o, "keys", 0), keys),
            human_bytes((uint64_t)json_int(o, "bytes", 0), bytes), id ? ", repl-id " : "",
            id ? id : "");
    }
    buf_addf(out, "%s keys were read", human_count((uint64_t)json_int(source, "keys", 0), keys));
    if ((uint64_t)json_int(source, "left_out", 0))
        buf_addf(out, "; %s of them are in no output",
            human_count((uint64_t)json_int(source, "left_out", 0), keys));
    buf_adds(out, ".\n");
}
