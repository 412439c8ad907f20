#include "aof_copy.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "recluster/aof.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/pull.h"
#include "recluster/repl.h"

enum { PROGRESS_MS = 200 };

struct copy {
    struct agent_call *call;
    const json_t *input;
    const char *const *also; /* of aof_reader_new() */
    const char *path;        /* of the copy */
    int fd;
    struct aof_reader *reader; /* of the present part */
    uint64_t bytes;            /* of the parts before it */
    uint64_t part_bytes, out_bytes;
    struct segment { /* the part, if it is one of an archive */
        bool is, begun;
        struct repl_stream before; /* its SELECT, and the bytes that are left out behind it */
        uint64_t select_bytes;     /* 0: it has not ended yet */
        uint64_t skip, take, all;  /* bytes of the stream behind it */
    } segment;
    uint64_t commands;
    bool preamble;
    int64_t told_ms;
};

static int write_copy(void *arg, const void *data, size_t len, struct err *err)
{
    struct copy *c = arg;

    c->out_bytes += len;
    return file_write_all(c->fd, data, len, c->path, err);
}

static void tell_progress(struct copy *c)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms - c->told_ms < PROGRESS_MS)
        return;
    c->told_ms = now_ms;
    agent_progress(c->call, json_pack("{s:I, s:O}", "bytes", (json_int_t)(c->bytes + c->part_bytes),
                                "total", json_object_get(c->input, "bytes")));
}

static int begin_behind(struct copy *c, struct err *err)
{
    CLEANUP(buf_release) struct buf select = BUF_INIT;
    AUTO_FREE char *db = xasprintf("%" PRId64, c->segment.before.db);

    if (!repl_stream_is_whole(&c->segment.before))
        return err_set(err, ERR_CORRUPT, "no command begins at byte %llu of its stream",
            (unsigned long long)c->segment.skip);
    c->segment.begun = true;
    command_add(&select, (const char *const[]){"SELECT", db, NULL});
    return aof_reader_feed(c->reader, select.data, select.len, err);
}

/*
 * A segment begins with a SELECT of its own. What comes before the wanted bytes says which database
 * is selected there.
 */
static ssize_t take_before(struct copy *c, const char *data, size_t len, struct err *err)
{
    struct segment *s = &c->segment;
    uint64_t left = s->select_bytes + s->skip - c->part_bytes;
    size_t n = !s->select_bytes ? 1 : left < len ? (size_t)left : len;

    if (n && repl_stream_feed(&s->before, data, n, err) < 0)
        return -1;
    c->part_bytes += n;
    if (!s->select_bytes && repl_stream_is_whole(&s->before))
        s->select_bytes = c->part_bytes;
    if (s->select_bytes && c->part_bytes == s->select_bytes + s->skip && begin_behind(c, err) < 0)
        return -1;
    return (ssize_t)n;
}

static int take_segment(struct copy *c, const char *data, size_t len, struct err *err)
{
    struct segment *s = &c->segment;

    while (len && !s->begun) {
        ssize_t n = take_before(c, data, len, err);
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    uint64_t end = s->select_bytes + s->take;
    uint64_t left = s->begun && end > c->part_bytes ? end - c->part_bytes : 0;
    c->part_bytes += len;
    size_t wanted = left < len ? (size_t)left : len;
    return wanted ? aof_reader_feed(c->reader, data, wanted, err) : 0;
}

static int take_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    struct copy *c = arg;

    tell_progress(c);
    if (c->segment.is)
        return take_segment(c, data, len, err);
    c->part_bytes += len;
    return aof_reader_feed(c->reader, data, len, err);
}

static int cut_tail(struct copy *c, uint64_t begin, const struct aof_facts *facts, const char *name,
    json_t **ret_dropped, struct err *err)
{
    off_t end = (off_t)(begin + facts->kept_bytes);

    if (ftruncate(c->fd, end) < 0 || lseek(c->fd, end, SEEK_SET) < 0)
        return err_sys(err, ERR_IO, "cannot cut '%s'", c->path);
    c->out_bytes = (uint64_t)end;
    *ret_dropped = json_pack("{s:s, s:I, s:I}", "file", name, "offset",
        (json_int_t)facts->whole_bytes, "bytes", (json_int_t)(facts->bytes - facts->whole_bytes));
    return 0;
}

static bool is_packed(const char *name)
{
    size_t len = strlen(name);
    return (len > 3 && strcmp(name + len - 3, ".gz") == 0) ||
           (len > 4 && strcmp(name + len - 4, ".zst") == 0);
}

static int check_segment(const struct copy *c, struct err *err)
{
    const struct segment *s = &c->segment;

    if (!s->is || (s->begun && c->part_bytes == s->select_bytes + s->all))
        return 0;
    err_set(err, ERR_CORRUPT, "it has %llu bytes of the stream instead of %llu",
        (unsigned long long)(c->part_bytes - s->select_bytes), (unsigned long long)s->all);
    return err_hint(err, "Recover a moment before it, with --at.");
}

static int check_part(const struct copy *c, const json_t *part, bool last,
    const struct aof_facts *facts, struct err *err)
{
    json_int_t expected = json_int(part, "bytes", 0);
    bool strict = c->segment.is || json_object_get(part, "sha256") != NULL;

    if (check_segment(c, err) < 0)
        return -1;
    if (!strict && !is_packed(json_text(part, "name", "")) && expected >= 0 &&
        (uint64_t)expected != c->part_bytes) {
        err_set(err, ERR_CORRUPT, "it has %llu bytes instead of %lld",
            (unsigned long long)c->part_bytes, (long long)expected);
        return err_hint(err, "The file was changed since the plan was made: plan again.");
    }
    if ((last && !strict) || facts->whole_bytes == facts->bytes)
        return 0;
    if (last) {
        err_set(err, ERR_CORRUPT, "it does not end where a command ends");
        return err_hint(err, "Take another backup set.");
    }
    err_set(err, ERR_CORRUPT,
        "it is cut off: its last whole command ends at byte %llu of %llu, but other files follow it",
        (unsigned long long)facts->whole_bytes, (unsigned long long)facts->bytes);
    return err_hint(err, "Take an older file of the same slots.");
}

/* Of a packed file, or one with a digest, the stored bytes are checked, and else the plain ones. */
static int read_part(struct copy *c, struct store *store, const json_t *part, struct err *err)
{
    const struct pull_params params = {
        .store = store,
        .name = json_text(part, "name", NULL),
        .expected_bytes = json_int(part, "bytes", -1),
        .sha256 = json_text(part, "sha256", NULL),
    };

    if (params.sha256 || is_packed(params.name))
        return pull_plain(&params, take_bytes, c, err);
    return store_read(store, &(struct store_range){params.name, 0, -1}, take_bytes, c, NULL, err);
}

static void begin_segment(struct copy *c, const json_t *part)
{
    json_int_t all = json_int(part, "stream_bytes", -1), take = json_int(part, "take", all);

    c->segment = (struct segment){.is = all >= 0,
        .all = (uint64_t)all,
        .take = (uint64_t)take,
        .skip = (uint64_t)json_int(part, "skip", 0)};
    repl_stream_init(&c->segment.before, 0, 0);
}

static int copy_part(struct copy *c, struct store *store, const json_t *part, bool last,
    json_t **ret_dropped, struct err *err)
{
    const char *name = json_text(part, "name", NULL);
    uint64_t begin = c->out_bytes;
    struct aof_facts facts = {.bytes = 0};

    if (!name)
        return err_set(err, ERR_PROTOCOL, "a part of an append-only file has no name");
    c->part_bytes = 0;
    begin_segment(c, part);
    c->reader = aof_reader_new(write_copy, c, c->also);
    int rc = read_part(c, store, part, err);
    if (rc == 0)
        rc = aof_reader_end(c->reader, &facts, err);
    if (rc == 0)
        rc = check_part(c, part, last, &facts, err);
    aof_reader_free(c->reader);
    c->reader = NULL;
    if (rc < 0)
        return err_wrap(err, "'%s' in '%s'", name, store_label(store));
    c->bytes += c->part_bytes;
    c->commands += facts.commands;
    if (begin == 0)
        c->preamble = facts.preamble;
    return facts.whole_bytes < facts.bytes ? cut_tail(c, begin, &facts, name, ret_dropped, err) : 0;
}

/* Each file of a folder begins in database 0. Before 7.0 servers know one file only. */
static int begin_part(struct copy *c, struct err *err)
{
    static const char select_0[] = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

    return c->out_bytes ? write_copy(c, select_0, sizeof(select_0) - 1, err) : 0;
}

static int copy_parts(
    struct copy *c, struct store *store, json_t *parts, json_t **ret_dropped, struct err *err)
{
    size_t count = json_array_size(parts);

    for (size_t i = 0; i < count; i++)
        if (begin_part(c, err) < 0 ||
            copy_part(c, store, json_array_get(parts, i), i + 1 == count, ret_dropped, err) < 0)
            return -1;
    return 0;
}

static json_t *copy_facts(const struct copy *c, json_t *dropped)
{
    return json_pack("{s:O, s:I, s:I, s:b, s:o}", "name", json_object_get(c->input, "name"),
        "bytes", (json_int_t)c->bytes, "commands", (json_int_t)c->commands, "preamble", c->preamble,
        "dropped", dropped ? dropped : json_null());
}

int aof_copy(
    struct agent_call *call, const struct aof_input *in, json_t **ret_facts, struct err *err)
{
    struct copy c = {
        .call = call, .input = in->file, .also = in->wishes.also, .path = AOF_COPY_NAME, .fd = -1};
    json_t *parts = json_object_get(in->file, "parts"), *dropped = NULL;
    int rc = 0;

    parts = parts ? json_incref(parts) : json_pack("[O]", in->file);
    if ((c.fd = open(c.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = err_sys(err, ERR_IO, "cannot create '%s'", c.path);
    if (rc == 0)
        rc = copy_parts(&c, in->store, parts, &dropped, err);
    if (c.fd >= 0 && close(c.fd) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot close '%s'", c.path);
    if (rc == 0)
        *ret_facts = copy_facts(&c, dropped);
    else
        json_decref(dropped);
    json_decref(parts);
    return rc;
}
