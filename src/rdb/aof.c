#include "recluster/aof.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "recluster/file.h"
#include "recluster/rdb.h"

enum {
    LINE_BYTES_MAX = 1024, /* of an annotation */
    NUMBER_DIGITS_MAX = 18,
    NAME_BYTES = 8, /* enough to tell MULTI and EXEC */
    MAGIC_BYTES = 5,
};

/* The servers' own limits: above them a length is no length. */
static const uint64_t BULK_BYTES_MAX = (uint64_t)512 << 20, BULKS_MAX = INT32_MAX;

enum expect {
    EXPECT_MAGIC, /* the first bytes: preamble or commands */
    EXPECT_PREAMBLE,
    EXPECT_COMMAND,
    EXPECT_ANNOTATION, /* the rest of its line */
    EXPECT_COUNT,      /* digits of "*3\r\n" */
    EXPECT_COUNT_LF,
    EXPECT_BULK, /* "$" */
    EXPECT_LENGTH,
    EXPECT_LENGTH_LF,
    EXPECT_BYTES,
    EXPECT_BYTES_CR,
    EXPECT_BYTES_LF,
};

struct aof_reader {
    aof_sink sink;
    void *arg;
    struct aof_facts facts;
    uint64_t handed_on;
    enum expect expect;
    struct rdb_reader *rdb; /* of the preamble, until it ends */
    char magic[MAGIC_BYTES];
    size_t magic_len;
    uint64_t number;
    unsigned digits;
    size_t line; /* bytes of the annotation */
    uint64_t bulks_left, bytes_left;
    char name[NAME_BYTES + 1]; /* of the command */
    size_t name_len;
    bool in_name;
    bool in_transaction;
    struct err failure;
};

struct aof_reader *aof_reader_new(aof_sink sink, void *arg)
{
    static const struct rdb_events none = {.header = NULL};
    struct aof_reader *r = xcalloc(1, sizeof(*r));

    r->sink = sink;
    r->arg = arg;
    r->rdb = rdb_reader_new(&none, NULL, NULL);
    rdb_reader_let_more_follow(r->rdb);
    return r;
}

void aof_reader_free(struct aof_reader *r)
{
    if (!r)
        return;
    rdb_reader_free(r->rdb);
    free(r);
}

static int hand_on(struct aof_reader *r, const char *from, size_t len, struct err *err)
{
    r->handed_on += len;
    return len ? r->sink(r->arg, from, len, err) : 0;
}

static int corrupt(const struct aof_reader *r, const char *p, const char *wanted, struct err *err)
{
    unsigned char c = (unsigned char)*p;

    err_set(err, ERR_CORRUPT, "corrupt at byte %" PRIu64 ": %s was expected, 0x%02x is there",
        r->facts.bytes, wanted, c);
    return err_hint(err,
        c == 0 ? "Zeros are what a crashed file system leaves: redis-check-aof --fix, on a copy of "
                 "the file, cuts it there."
               : "redis-check-aof --fix, on a copy of the file, cuts it there: all behind that "
                 "byte is lost. Or take an older file.");
}

static void end_command(struct aof_reader *r)
{
    r->name[r->name_len] = '\0';
    if (strcasecmp(r->name, "multi") == 0)
        r->in_transaction = true;
    else if (strcasecmp(r->name, "exec") == 0)
        r->in_transaction = false;
    r->facts.commands++;
    r->expect = EXPECT_COMMAND;
}

static void begin_number(struct aof_reader *r, enum expect expect)
{
    r->expect = expect;
    r->number = 0;
    r->digits = 0;
}

/* A digit of a number, or the CR behind it. */
static int take_digit(struct aof_reader *r, const char *p, enum expect next, struct err *err)
{
    if (*p == '\r' && r->digits) {
        r->expect = next;
        return 0;
    }
    if (*p < '0' || *p > '9' || r->digits == NUMBER_DIGITS_MAX)
        return corrupt(r, p, "a number", err);
    r->number = 10 * r->number + (uint64_t)(*p - '0');
    r->digits++;
    return 0;
}

static int take_line_end(struct aof_reader *r, const char *p, struct err *err)
{
    return *p == '\n' ? 0 : corrupt(r, p, "the end of a line", err);
}

static int begin_command(struct aof_reader *r, const char *p, struct err *err)
{
    if (*p == '#') {
        r->line = 0;
        r->expect = EXPECT_ANNOTATION;
        return 0;
    }
    if (*p != '*')
        return corrupt(r, p, "the begin of a command", err);
    r->name_len = 0;
    r->in_name = true;
    begin_number(r, EXPECT_COUNT);
    return 0;
}

static int take_count(struct aof_reader *r, const char *p, struct err *err)
{
    if (take_line_end(r, p, err) < 0)
        return -1;
    if (r->number == 0 || r->number > BULKS_MAX)
        return corrupt(r, p, "a possible number of arguments", err);
    r->bulks_left = r->number;
    r->expect = EXPECT_BULK;
    return 0;
}

static int take_length(struct aof_reader *r, const char *p, struct err *err)
{
    if (take_line_end(r, p, err) < 0)
        return -1;
    if (r->number > BULK_BYTES_MAX)
        return corrupt(r, p, "a possible length", err);
    r->bytes_left = r->number;
    r->expect = r->bytes_left ? EXPECT_BYTES : EXPECT_BYTES_CR;
    return 0;
}

static int end_argument(struct aof_reader *r, const char *p, struct err *err)
{
    if (take_line_end(r, p, err) < 0)
        return -1;
    r->in_name = false;
    r->expect = EXPECT_BULK;
    if (--r->bulks_left == 0)
        end_command(r);
    return 0;
}

/* One byte of a command that isn't an argument's. */
static int take_byte(struct aof_reader *r, const char *p, struct err *err)
{
    switch (r->expect) {
    case EXPECT_COMMAND:
        return begin_command(r, p, err);
    case EXPECT_COUNT:
        return take_digit(r, p, EXPECT_COUNT_LF, err);
    case EXPECT_COUNT_LF:
        return take_count(r, p, err);
    case EXPECT_BULK:
        if (*p != '$')
            return corrupt(r, p, "an argument", err);
        begin_number(r, EXPECT_LENGTH);
        return 0;
    case EXPECT_LENGTH:
        return take_digit(r, p, EXPECT_LENGTH_LF, err);
    case EXPECT_LENGTH_LF:
        return take_length(r, p, err);
    case EXPECT_BYTES_CR:
        r->expect = EXPECT_BYTES_LF;
        return *p == '\r' ? 0 : corrupt(r, p, "the end of an argument", err);
    case EXPECT_BYTES_LF:
        return end_argument(r, p, err);
    case EXPECT_MAGIC:
    case EXPECT_PREAMBLE:
    case EXPECT_ANNOTATION:
    case EXPECT_BYTES:
        break;
    }
    return err_set(err, ERR_BUG, "a byte of an append-only file was taken out of turn");
}

/* Bytes of an argument, as many as are here. */
static size_t skip_bytes(struct aof_reader *r, const char *p, size_t len)
{
    size_t n = r->bytes_left < len ? (size_t)r->bytes_left : len;

    for (size_t i = 0; r->in_name && i < n && r->name_len < NAME_BYTES; i++)
        r->name[r->name_len++] = p[i];
    r->bytes_left -= n;
    if (!r->bytes_left)
        r->expect = EXPECT_BYTES_CR;
    return n;
}

/* The rest of an annotation's line, as much as is here. -1: longer than one can be. */
static ssize_t skip_annotation(struct aof_reader *r, const char *p, size_t len, struct err *err)
{
    const char *end = memchr(p, '\n', len);
    size_t n = end ? (size_t)(end + 1 - p) : len;

    r->line += n;
    if (r->line > LINE_BYTES_MAX)
        return corrupt(r, p, "the end of an annotation", err);
    if (end)
        r->expect = EXPECT_COMMAND;
    return (ssize_t)n;
}

/* Everything up to here is whole; `ahead` bytes of it are still to be handed on. */
static void mark_whole(struct aof_reader *r, size_t ahead)
{
    if (r->in_transaction)
        return;
    r->facts.whole_bytes = r->facts.bytes;
    r->facts.kept_bytes = r->handed_on + ahead;
}

/* `from` is the first byte that is still to be handed on. */
static int take_commands(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    const char *from = data, *p = data, *end = data + len;

    while (p < end) {
        ssize_t n = 1;
        bool annotation = r->expect == EXPECT_ANNOTATION;
        if (annotation)
            n = skip_annotation(r, p, (size_t)(end - p), err);
        else if (r->expect == EXPECT_BYTES)
            n = (ssize_t)skip_bytes(r, p, (size_t)(end - p));
        else if (take_byte(r, p, err) < 0)
            return -1;
        else if (r->expect == EXPECT_ANNOTATION && hand_on(r, from, (size_t)(p - from), err) < 0)
            return -1;
        if (n < 0)
            return -1;
        p += n;
        r->facts.bytes += (uint64_t)n;
        if (annotation || r->expect == EXPECT_ANNOTATION)
            from = p;
        if (r->expect == EXPECT_COMMAND)
            mark_whole(r, (size_t)(p - from));
    }
    return hand_on(r, from, (size_t)(end - from), err);
}

/* --- the preamble --- */

/* How many of the bytes are its own. */
static ssize_t take_preamble(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    uint64_t before = rdb_reader_offset(r->rdb);

    if (rdb_reader_feed(r->rdb, data, len, err) < 0)
        return -1;
    uint64_t end = rdb_reader_end_offset(r->rdb);
    if (end && rdb_reader_end(r->rdb, err) < 0)
        return -1;
    size_t n = end ? (size_t)(end - before) : len;
    if (hand_on(r, data, n, err) < 0)
        return -1;
    r->facts.bytes += n;
    if (end) {
        r->expect = EXPECT_COMMAND;
        mark_whole(r, 0);
    }
    return (ssize_t)n;
}

/* The first bytes tell what the file is. */
static size_t take_magic(struct aof_reader *r, const char *data, size_t len)
{
    size_t room = MAGIC_BYTES - r->magic_len, n = len < room ? len : room;

    memcpy(r->magic + r->magic_len, data, n);
    r->magic_len += n;
    if (r->magic[0] == '*' || r->magic[0] == '#')
        r->expect = EXPECT_COMMAND;
    else if (r->magic_len == MAGIC_BYTES)
        r->expect = EXPECT_PREAMBLE;
    r->facts.preamble = r->expect == EXPECT_PREAMBLE;
    return n;
}

static int feed(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    if (r->expect == EXPECT_MAGIC) {
        size_t n = take_magic(r, data, len);
        data += n;
        len -= n;
        if (r->expect != EXPECT_MAGIC && feed(r, r->magic, r->magic_len, err) < 0)
            return -1;
    }
    if (r->expect == EXPECT_PREAMBLE && len) {
        ssize_t n = take_preamble(r, data, len, err);
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return len ? take_commands(r, data, len, err) : 0;
}

int aof_reader_feed(struct aof_reader *r, const void *data, size_t len, struct err *err)
{
    if (!r->failure.code && feed(r, data, len, &r->failure) == 0)
        return 0;
    *err = r->failure;
    return -1;
}

int aof_reader_end(struct aof_reader *r, struct aof_facts *ret, struct err *err)
{
    if (!r->failure.code && r->expect == EXPECT_PREAMBLE && rdb_reader_end(r->rdb, &r->failure) < 0)
        err_wrap(&r->failure, "the RDB part that it begins with");
    if (!r->failure.code && r->expect == EXPECT_MAGIC && r->magic_len)
        err_set(&r->failure, ERR_CORRUPT, "it is no append-only file");
    if (r->failure.code) {
        *err = r->failure;
        return -1;
    }
    *ret = r->facts;
    return 0;
}

/* --- the manifest --- */

static bool is_plain_name(const char *name)
{
    return *name && name[0] != '.' && !strchr(name, '/') && !strpbrk(name, "\"'\\");
}

/* "file NAME seq 1 type b", then fields of later versions. Splits the line. */
static int take_manifest_line(char *line, const char **ret_name, char *ret_type, struct err *err)
{
    const char *name = NULL, *type = NULL;
    char *rest, *key = strtok_r(line, " \t\r", &rest), *value;

    for (; key && (value = strtok_r(NULL, " \t\r", &rest)); key = strtok_r(NULL, " \t\r", &rest)) {
        if (strcasecmp(key, "file") == 0)
            name = value;
        else if (strcasecmp(key, "type") == 0)
            type = value;
    }
    if (!name || !type || !strchr("bih", type[0]) || type[1])
        return err_set(err, ERR_CORRUPT, "a line of the manifest names no file, or no type of it");
    if (!is_plain_name(name))
        return err_set(
            err, ERR_CORRUPT, "the manifest names '%s', which is no file beside it", name);
    *ret_name = name;
    *ret_type = type[0];
    return 0;
}

int aof_manifest_parse(const char *text, size_t len, struct aof_manifest *ret, struct err *err)
{
    CLEANUP(free_ptr) char *copy = xmemdup(text, len);
    struct aof_manifest m = {.names = NULL};
    size_t alloc = 0;
    bool has_base = false;
    char *rest = copy;

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *name = NULL;
        char type = 0;
        if (!*line || *line == '#')
            continue;
        if (take_manifest_line(line, &name, &type, err) < 0)
            goto fail;
        if (type == 'h')
            continue;
        GROW(m.names, m.count, alloc);
        m.names[m.count++] = xstrdup(name);
        if (type == 'b' && has_base) {
            err_set(err, ERR_CORRUPT, "the manifest names two base files");
            goto fail;
        }
        if (type == 'b') { /* it is loaded first, wherever its line stands */
            char *base = m.names[m.count - 1];
            memmove(m.names + 1, m.names, (m.count - 1) * sizeof(*m.names));
            m.names[0] = base;
            has_base = true;
        }
    }
    if (m.count) {
        *ret = m;
        return 0;
    }
    err_set(err, ERR_CORRUPT, "the manifest names no file");
fail:
    aof_manifest_release(&m);
    return -1;
}

void aof_manifest_release(struct aof_manifest *m)
{
    strv_free(m->names, m->count);
    *m = (struct aof_manifest){.names = NULL};
}
