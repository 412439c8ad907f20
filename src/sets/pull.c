#include "recluster/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "part.h"
#include "recluster/clock.h"
#include "recluster/memory_limit.h"
#include "recluster/rdb_split.h"
#include "recluster/transfer.h"
#include "unpack.h"

enum { PROGRESS_MS = 200 };

/* The bytes of a file, from the store to the decompressor. */
struct reading {
    const struct pull_params *params;
    struct store_object object;
    struct unpack *unpack;
    int64_t stored_bytes; /* received so far */
    int64_t before_bytes; /* of files before this one */
    int64_t told_ms;      /* of the last call of progress */
    char *keep_path;      /* of the kept bytes; NULL: they are not kept */
    bool resumed;         /* kept bytes were used */
};

/* One file that is written. */
struct output {
    struct pull_output *to;
    struct part part;
    struct rdb_scan *scan;
};

/* What one pass finds out for the next. */
struct insight {
    struct rdb_suspects **suspects; /* of each output; NULL: none */
    bool false_hints;
    bool helps; /* the next pass will differ from this one */
    bool again; /* the pass failed, and another one may succeed */
};

struct puller {
    const struct pull_params *params;
    const struct insight *known; /* of an earlier pass */
    bool found;                  /* `known` would help: repeat the pass */
    struct pull_params input;    /* the same, for the current one of several files */
    struct reading reading;
    struct output *outputs;
    size_t count;
    struct rdb_split *split; /* NULL: the one file is written unchanged */
    bool stamp_only;         /* the same with a split, but for the end of the file */
    uint64_t end_bytes;      /* of that end, written */
    json_t *files;           /* of the facts' "source" */
    uint64_t keys_before;    /* of files before this one */
    bool counted;            /* all files are counted in `files` */
    bool kept_is_out;        /* the part shares the kept bytes */
};

static const char *label_of(const struct pull_params *params)
{
    return params->label ? params->label : params->name;
}

static int check_size(const struct reading *r, int64_t bytes, struct err *err)
{
    int64_t expected = r->params->expected_bytes;
    if (bytes < 0 || expected < 0 || bytes == expected)
        return 0;
    err_set(err, ERR_CORRUPT, "it has %lld bytes instead of %lld", (long long)bytes,
        (long long)expected);
    return err_hint(err, "The file was changed since the plan was made: plan again.");
}

/* For errors in the bytes. Errors of the store and of the disk already name their files. */
static int name_file(const struct reading *r, struct err *err)
{
    return err_wrap(err, "'%s' in '%s'", label_of(r->params), store_label(r->params->store));
}

/* Bytes as they are stored. */
static int on_stored(void *arg, const void *data, size_t len, struct err *err)
{
    struct reading *r = arg;

    if (r->stored_bytes == 0 && check_size(r, r->object.bytes, err) < 0)
        return name_file(r, err);
    r->stored_bytes += (int64_t)len;
    int64_t now_ms = clock_mono_ms();
    if (r->params->progress && now_ms - r->told_ms >= PROGRESS_MS) {
        r->told_ms = now_ms;
        r->params->progress(r->params->arg, r->before_bytes + r->stored_bytes,
            r->params->more_count ? -1 : r->object.bytes);
    }
    return unpack_feed(r->unpack, data, len, err) < 0 ? name_file(r, err) : 0;
}

/* Reads the whole file into the sink, decompressed. Release with unpack_free(). */
static int read_plain(struct reading *r, store_sink sink, void *arg, struct err *err)
{
    const struct pull_params *params = r->params;

    memory_limit_name("'%s' in '%s'", label_of(params), store_label(params->store));
    r->object.bytes = -1;
    r->unpack = unpack_new(sink, arg);
    unpack_use_key(r->unpack, store_decrypt_key(params->store));
    const struct transfer transfer = {.store = params->store,
        .name = params->name,
        .keep_path = r->keep_path,
        .sha256 = params->sha256,
        .sink = on_stored,
        .arg = r};
    bool resumed;
    int rc = transfer_run(&transfer, &r->object, &resumed, err);
    r->resumed |= resumed;
    if (rc < 0)
        return -1;
    if (unpack_end(r->unpack, err) < 0 || check_size(r, r->stored_bytes, err) < 0)
        return name_file(r, err);
    return 0;
}

static void tell_end(const struct reading *r)
{
    int64_t bytes = r->before_bytes + r->stored_bytes;

    if (r->params->progress)
        r->params->progress(r->params->arg, bytes, bytes);
}

int pull_plain(const struct pull_params *params, store_sink sink, void *arg, struct err *err)
{
    struct reading r = {.params = params};
    int rc = read_plain(&r, sink, arg, err);

    if (rc == 0)
        tell_end(&r);
    unpack_free(r.unpack);
    return rc;
}

/* The path where the stored bytes of a file are kept. */
static char *keep_path(const struct puller *p, size_t file)
{
    return p->params->resume ? xasprintf("%s.fetch%zu", p->outputs[0].to->out_path, file) : NULL;
}

static void forget_kept(const struct puller *p)
{
    for (size_t i = 0; p->params->resume && i <= p->params->more_count; i++) {
        AUTO_FREE char *path = keep_path(p, i);
        transfer_forget(path);
    }
}

/* Takes decompressed bytes: scans them and writes them into the file. */
static int on_plain(void *arg, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;
    struct part *part = &p->outputs[0].part;

    int rc = p->split ? rdb_split_feed(p->split, data, len, err)
                      : rdb_scan_feed(p->outputs[0].scan, data, len, err);
    if (rc < 0 || (p->split && !p->stamp_only))
        return rc;
    /* The kept bytes are already the file, so the part becomes a hard link of them. */
    if (!p->kept_is_out && p->reading.keep_path &&
        strcmp(unpack_compression(p->reading.unpack), "none") == 0) {
        p->kept_is_out = true;
        if (part_share(part, p->reading.keep_path, err) < 0)
            return -1;
    }
    return p->kept_is_out ? 0 : part_add(part, data, len, err);
}

/* Bytes of a changed file. */
static int on_split(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;
    struct part *part = &p->outputs[output].part;

    if (!p->stamp_only)
        return part_add(part, data, len, err);
    uint64_t offset = rdb_split_facts(p->split, output)->end_offset + p->end_bytes;
    p->end_bytes += len;
    return part_patch(part, offset, data, len, err);
}

static int on_split_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;
    return part_patch(&p->outputs[output].part, offset, data, len, err);
}

static int start_split(struct puller *p, struct err *err)
{
    struct rdb_split_output *outputs = xcalloc(p->count, sizeof(*outputs));
    p->stamp_only = p->params->stamp && p->count == 1 && !p->outputs[0].to->keep &&
                    !p->params->more_count && !p->params->take && !p->params->without &&
                    !p->params->shift_expiry_ms && !p->known->false_hints;
    const struct rdb_split_params split = {
        .outputs = outputs,
        .count = p->count,
        .stamp = p->params->stamp,
        .stamp_only = p->stamp_only,
        .one_input = !p->params->more_count && !p->params->prefer,
        .shift_expiry_ms = p->params->shift_expiry_ms,
        .without = p->params->without,
        .limits = p->outputs[0].to->scan.limits,
        .write = on_split,
        .patch = on_split_patch,
        .arg = p,
    };

    for (size_t i = 0; i < p->count; i++)
        outputs[i] =
            (struct rdb_split_output){.slots = p->outputs[i].to->keep, .scan = p->outputs[i].scan};
    p->split = rdb_split_new(&split, err);
    free(outputs);
    if (!p->split)
        return -1;
    rdb_split_take(p->split, p->params->take);
    rdb_split_prefer(p->split, p->params->prefer);
    rdb_split_name(p->split, label_of(p->params));
    return 0;
}

static int start_reading(struct puller *p, struct err *err)
{
    const struct pull_params *params = p->params;
    bool changed = p->count > 1 || p->outputs[0].to->keep || params->stamp || params->more_count ||
                   params->take || params->without || params->shift_expiry_ms ||
                   p->known->false_hints;

    for (size_t i = 0; i < p->count; i++) {
        struct rdb_scan_options options = p->outputs[i].to->scan;
        options.sha256 = options.sha256 && !changed;
        options.suspects = p->known->suspects[i];
        p->outputs[i].scan = rdb_scan_new(&options);
    }
    return changed ? start_split(p, err) : 0;
}

static int end_reading(struct puller *p, struct err *err)
{
    if (!p->split)
        return rdb_scan_end(p->outputs[0].scan, err);
    if (rdb_split_end(p->split, err) < 0)
        return -1;
    /* The new end may be before the old end of the file. */
    const struct rdb_split_facts *facts = rdb_split_facts(p->split, 0);
    return p->stamp_only ? part_truncate(&p->outputs[0].part, facts->end_offset + p->end_bytes, err)
                         : 0;
}

static json_t *source_json(const struct puller *p)
{
    struct rdb_split_source source;

    rdb_split_source(p->split, &source);
    return json_pack("{s:O, s:I, s:I, s:I, s:I, s:I, s:s, s:{s:i, s:o}}", "files", p->files,
        "bytes", (json_int_t)source.bytes, "keys", (json_int_t)source.keys, "expires",
        (json_int_t)source.expires, "left_out", (json_int_t)source.left_out, "importing",
        (json_int_t)source.importing, "checksum", rdb_checksum_name(source.checksum), "slots",
        "covered", (int)slots_count(&source.slots), "ranges", slots_to_json(&source.slots));
}

static void add_doubles(const struct rdb_split_facts *split, json_t *facts)
{
    if (split->doubles)
        json_object_set_new(facts, "doubles",
            json_pack("{s:I, s:{s:s, s:i, s:s, s:s}}", "keys", (json_int_t)split->doubles, "first",
                "key", split->double_key, "slot", (int)split->double_slot, "kept",
                split->double_kept, "dropped", split->double_dropped));
}

static json_t *facts_of(const struct puller *p, size_t output)
{
    const struct reading *r = &p->reading;
    int64_t last_bytes = r->object.bytes >= 0 ? r->object.bytes : r->stored_bytes;
    int64_t bytes = r->before_bytes + last_bytes;
    json_t *facts = rdb_scan_json(p->outputs[output].scan);

    json_object_set_new(facts, "compressed", json_string(unpack_compression(r->unpack)));
    json_object_set_new(facts, "stored_bytes", json_integer(bytes));
    if (p->split) {
        const char *id = rdb_split_facts(p->split, output)->repl_id;
        json_object_set_new(facts, "source", source_json(p));
        add_doubles(rdb_split_facts(p->split, output), facts);
        if (json_array_size(rdb_split_modules_left_out(p->split)))
            json_object_set_new(
                facts, "modules_left_out", json_deep_copy(rdb_split_modules_left_out(p->split)));
        if (*id)
            json_object_set_new(facts, "repl_id", json_string(id));
    }
    return facts;
}

static void count_file(struct puller *p)
{
    struct rdb_split_source source;

    if (!p->split)
        return;
    rdb_split_source(p->split, &source);
    json_array_append_new(p->files, json_pack("{s:s, s:I}", "name", label_of(p->reading.params),
                                        "keys", (json_int_t)(source.keys - p->keys_before)));
    p->keys_before = source.keys;
}

/* Continues with this file; 0 is the first. */
static int read_file(struct puller *p, size_t file, struct err *err)
{
    const struct pull_input *in = file ? &p->params->more[file - 1] : NULL;

    unpack_free(p->reading.unpack);
    p->reading.unpack = NULL;
    p->reading.stored_bytes = 0;
    p->input = *p->params;
    if (in && in->store)
        p->input.store = in->store;
    if (in) {
        p->input.name = in->name;
        p->input.label = in->label;
        p->input.expected_bytes = in->expected_bytes;
        p->input.sha256 = in->sha256;
    }
    rdb_split_take(p->split, in ? in->take : p->params->take);
    free(p->reading.keep_path);
    p->reading.keep_path = keep_path(p, file);
    p->reading.params = &p->input;
    return read_plain(&p->reading, on_plain, p, err);
}

/* Reads the files after the first one. */
static int read_more(struct puller *p, struct err *err)
{
    for (size_t i = 1; i <= p->params->more_count; i++) {
        if (rdb_split_next(p->split, err) < 0)
            return name_file(&p->reading, err);
        count_file(p);
        p->reading.before_bytes += p->reading.stored_bytes;
        rdb_split_prefer(p->split, p->params->more[i - 1].prefer);
        const struct pull_input *in = &p->params->more[i - 1];
        rdb_split_name(p->split, in->label ? in->label : in->name);
        if (read_file(p, i, err) < 0)
            return -1;
    }
    return 0;
}

/* Reads files again for the keys that were left to a file with priority, which lacked them. */
static int read_rest(struct puller *p, struct err *err)
{
    int64_t last_bytes = p->reading.stored_bytes;

    for (size_t i = 0; p->split && i <= p->params->more_count; i++) {
        if (!rdb_split_waiting(p->split, i))
            continue;
        if (rdb_split_again(p->split, i, err) < 0)
            return name_file(&p->reading, err);
        if (!p->counted)
            count_file(p);
        p->counted = true;
        if (read_file(p, i, err) < 0)
            return -1;
    }
    p->reading.stored_bytes = last_bytes;
    return 0;
}

/* Runs the caller's check and syncs the file. */
static void finish_output(struct puller *p, size_t output)
{
    struct pull_output *to = p->outputs[output].to;

    if (to->check) {
        json_t *facts = facts_of(p, output);
        int rc = to->check(to->arg, facts, &to->failure);
        json_decref(facts);
        if (rc < 0) {
            (void)!name_file(&p->reading, &to->failure);
            return;
        }
    }
    (void)!part_sync(&p->outputs[output].part, &to->failure);
}

/* Whether a retry may succeed, so the received bytes are kept. */
static bool may_pass(enum err_code code)
{
    return err_code_is_retried(code) || code == ERR_CANCELLED || code == ERR_SERVER;
}

/* Gives the files their names, once all of them are on the disk. */
static void finish(struct puller *p)
{
    bool keep = true;

    for (size_t i = 0; i < p->count; i++) {
        finish_output(p, i);
        keep = keep && may_pass(p->outputs[i].to->failure.code);
    }
    tell_end(&p->reading);
    if (!keep)
        forget_kept(p);
    for (size_t i = 0; i < p->count; i++)
        if (p->outputs[i].to->failure.code == ERR_NONE)
            (void)!part_name(&p->outputs[i].part, &p->outputs[i].to->failure);
}

/* A server allocates room for as many keys as the file announces. */
static bool has_false_hints(const struct puller *p)
{
    return (!p->split || p->stamp_only) && p->outputs[0].to->out_path &&
           rdb_scan_hints_are_false(p->outputs[0].scan);
}

static int pull_all(struct puller *p, struct err *err)
{
    for (size_t i = 0; i < p->count; i++)
        if (part_open(&p->outputs[i].part, p->outputs[i].to->out_path, err) < 0)
            return -1;
    p->reading.keep_path = keep_path(p, 0);
    if (start_reading(p, err) < 0)
        return -1;
    int rc = read_plain(&p->reading, on_plain, p, err);
    if (rc == 0)
        rc = read_more(p, err);
    if (rc == 0)
        rc = read_rest(p, err);
    if (rc == 0 && end_reading(p, err) < 0)
        rc = name_file(&p->reading, err);
    if (rc == 0 && has_false_hints(p)) {
        p->found = true;
        rc = err_set(err, ERR_CHANGED, "its size hints are corrected");
    }
    if (rc < 0) {
        if (!may_pass(err->code) && !p->found)
            forget_kept(p);
        return -1;
    }
    if (!p->counted)
        count_file(p);
    finish(p);
    return 0;
}

/*
 * Whether a second try from the first byte makes sense: the kept bytes may be bad, the object may
 * have changed, or the connection broke and the store has no validator to continue with.
 */
static bool is_worth_another(const struct reading *r, enum err_code code)
{
    return code == ERR_CHANGED || (code == ERR_CORRUPT && r->resumed) ||
           (err_code_is_retried(code) && r->stored_bytes && !r->object.validator[0]);
}

/* Keys that seem to be duplicates: the next pass names them. */
static void take_suspects(struct puller *p, struct insight *ret)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->known->suspects[i] || !p->outputs[i].scan)
            continue;
        ret->suspects[i] = rdb_scan_suspects(p->outputs[i].scan);
        p->found |= ret->suspects[i] != NULL;
    }
}

static int pull_once(const struct pull_params *params, struct pull_output *outputs, size_t count,
    const struct insight *known, struct insight *ret_found, struct err *err)
{
    struct puller p = {.params = params,
        .known = known,
        .reading.params = params,
        .outputs = xcalloc(count, sizeof(*p.outputs)),
        .count = count,
        .files = json_array()};

    for (size_t i = 0; i < count; i++) {
        json_decref(outputs[i].facts);
        outputs[i].facts = NULL;
        outputs[i].failure = (struct err)ERR_INIT;
        p.outputs[i] = (struct output){.to = &outputs[i], .part.fd = -1};
    }
    int rc = pull_all(&p, err);
    ret_found->false_hints = p.found || known->false_hints;
    if (rc < 0)
        take_suspects(&p, ret_found);
    ret_found->helps = p.found;
    ret_found->again = rc < 0 && (p.found || is_worth_another(&p.reading, err->code));
    if (ret_found->again && !p.found)
        forget_kept(&p);
    for (size_t i = 0; i < count; i++) {
        if (p.reading.before_bytes + p.reading.stored_bytes)
            outputs[i].facts = facts_of(&p, i);
        part_release(&p.outputs[i].part);
    }
    unpack_free(p.reading.unpack);
    rdb_split_free(p.split);
    for (size_t i = 0; i < count; i++)
        rdb_scan_free(p.outputs[i].scan);
    json_decref(p.files);
    free(p.reading.keep_path);
    free(p.outputs);
    return rc;
}

static struct insight insight_new(size_t count)
{
    return (struct insight){.suspects = xcalloc(count, sizeof(struct rdb_suspects *))};
}

static void insight_release(struct insight *insight, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rdb_suspects_free(insight->suspects[i]);
    free(insight->suspects);
}

int pull_cut(
    const struct pull_params *params, struct pull_output *outputs, size_t count, struct err *err)
{
    struct insight known = insight_new(count);
    int rc = -1;

    /* One more pass besides those that a finding calls for. */
    known.again = true;
    for (int more = 1; known.again; more -= !known.helps) {
        struct insight found = insight_new(count);
        struct err failure = ERR_INIT;
        rc = pull_once(params, outputs, count, &known, &found, &failure);
        if (rc < 0)
            *err = failure;
        insight_release(&known, count);
        known = found;
        known.again = found.again && (found.helps || more > 0);
    }
    insight_release(&known, count);
    return rc;
}

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err)
{
    struct pull_output output = {.out_path = params->out_path,
        .keep = params->keep,
        .scan = params->scan,
        .check = params->check,
        .arg = params->arg};
    int rc = pull_cut(params, &output, 1, err);

    if (rc == 0 && output.failure.code != ERR_NONE) {
        *err = output.failure;
        rc = -1;
    }
    *ret_facts = output.facts;
    return rc;
}
