#include "recluster/aof.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "aof_command.h"
#include "recluster/buf.h"
#include "recluster/commands.h"
#include "recluster/rdb.h"

enum {
    LINE_BYTES_MAX = 1024, /* of an annotation */
    MAGIC_BYTES = 5,
};

enum expect {
    EXPECT_MAGIC, /* the first bytes: preamble or commands */
    EXPECT_PREAMBLE,
    EXPECT_COMMANDS,
    EXPECT_ANNOTATION, /* the rest of its line */
};

struct aof_reader {
    aof_sink sink;
    void *arg;
    struct aof_facts facts;
    uint64_t handed_on;
    enum expect expect;
    struct rdb_reader *rdb; /* of the preamble; NULL after its end */
    char magic[MAGIC_BYTES];
    size_t magic_len;
    size_t line; /* bytes of the annotation */
    struct command_reader commands;
    const char *const *also;
    enum aof_verdict verdict; /* on the present command */
    struct buf head;          /* of an undecided command, from earlier pieces */
    struct err failure;
};

struct aof_reader *aof_reader_new(aof_sink sink, void *arg, const char *const *also)
{
    static const struct rdb_events none = {.header = NULL};
    struct aof_reader *r = xcalloc(1, sizeof(*r));

    r->sink = sink;
    r->arg = arg;
    r->also = also;
    r->rdb = rdb_reader_new(&none, NULL, NULL);
    rdb_reader_allow_more(r->rdb);
    command_reader_init(&r->commands);
    return r;
}

void aof_reader_free(struct aof_reader *r)
{
    if (!r)
        return;
    rdb_reader_free(r->rdb);
    buf_release(&r->head);
    free(r);
}

static int emit(struct aof_reader *r, const char *from, size_t len, struct err *err)
{
    r->handed_on += len;
    return len ? r->sink(r->arg, from, len, err) : 0;
}

/* `found`: the byte at which reading stopped. */
static int corrupt(uint64_t at, char found, struct err *err)
{
    struct err reason = *err;

    err_set(err, ERR_CORRUPT, "corrupt at byte %" PRIu64 ": %s", at, reason.message);
    return err_hint(err,
        found == 0 ? "Zeros are what a crashed file system leaves: redis-check-aof --fix, on a "
                     "copy of the file, cuts it there."
                   : "redis-check-aof --fix, on a copy of the file, cuts it there: all after that "
                     "byte is lost. Or take an older file.");
}

static int unexpected(const struct aof_reader *r, char found, const char *wanted, struct err *err)
{
    err_set(err, ERR_CORRUPT, "expected %s, found 0x%02x", wanted, (unsigned char)found);
    return corrupt(r->facts.bytes, found, err);
}

/* "'CONFIG SET'", with unprintable bytes as \xNN. */
static char *shown(const struct aof_reader *r)
{
    struct buf text = BUF_INIT;
    const struct command_word *words = r->commands.words;

    for (unsigned w = 0; w < 2 && words[w].len; w++) {
        if (w)
            buf_addc(&text, ' ');
        for (size_t i = 0; i < words[w].len; i++) {
            unsigned char c = (unsigned char)words[w].text[i];
            if (c < ' ' || c > '~')
                buf_addf(&text, "\\x%02x", c);
            else
                buf_addc(&text, (char)c);
        }
        if (r->verdict != AOF_REFUSED || !command_reader_is(&r->commands, "function"))
            break;
    }
    return text.data ? buf_take(&text) : xstrdup("");
}

static int refuse(const struct aof_reader *r, struct err *err)
{
    AUTO_FREE char *name = shown(r);

    err_set(err, ERR_CHECK, "the command '%s' at byte %" PRIu64 " is not one that writes data",
        name, r->commands.command_at);
    if (aof_command_is_never(r->commands.words[0].text))
        return err_hint(err,
            "No server writes it to an append-only file: find out who did. Take an "
            "older file of the same slots.");
    return err_hint(err,
        "Nothing of the file was run. If clients of the old servers used that command (a script, or "
        "a module's), start again with --aof-commands %s; else use an older file of the same slots.",
        r->commands.words[0].text);
}

/* Each of the first two words may decide. */
static int decide(struct aof_reader *r, struct err *err)
{
    const struct command_word *name = &r->commands.words[0];
    const struct command_word *sub = r->commands.word == 2 ? &r->commands.words[1] : NULL;

    if (r->verdict == AOF_UNDECIDED)
        r->verdict = aof_command_verdict(
            name->text, name->len, sub ? sub->text : NULL, sub ? sub->len : 0, r->also);
    if (r->verdict == AOF_UNDECIDED && command_reader_is_between(&r->commands))
        r->verdict = AOF_REFUSED;
    return r->verdict == AOF_REFUSED ? refuse(r, err) : 0;
}

/* Takes the bytes of an annotation's line that are here. -1: longer than allowed. */
static ssize_t skip_annotation(struct aof_reader *r, const char *p, size_t len, struct err *err)
{
    const char *end = memchr(p, '\n', len);
    size_t n = end ? (size_t)(end + 1 - p) : len;

    r->line += n;
    if (r->line > LINE_BYTES_MAX)
        return unexpected(r, *p, "the end of an annotation", err);
    if (end)
        r->expect = EXPECT_COMMANDS;
    return (ssize_t)n;
}

/* All is complete up to here; `ahead` bytes of it are not emitted yet. */
static void mark_whole(struct aof_reader *r, size_t ahead)
{
    if (r->commands.in_transaction)
        return;
    r->facts.whole_bytes = r->facts.bytes;
    r->facts.kept_bytes = r->handed_on + ahead;
}

/* The bytes that are being fed. */
struct feeding {
    const char *from;    /* the first byte that is not emitted yet */
    const char *command; /* the start of the current command; NULL: in an earlier piece */
};

/* A command was decided whose beginning was held back. */
static int release_head(struct aof_reader *r, struct err *err)
{
    int rc = r->verdict == AOF_DATA ? emit(r, r->head.data, r->head.len, err) : 0;

    buf_clear(&r->head);
    return rc;
}

/* A command, or what is here of it. */
static ssize_t take_command(
    struct aof_reader *r, struct feeding *f, const char *p, const char *end, struct err *err)
{
    struct command_reader *c = &r->commands;
    enum command_event event;

    if (command_reader_is_between(c)) {
        f->command = p;
        r->verdict = AOF_UNDECIDED;
    }
    c->offset = r->facts.bytes;
    ssize_t n = command_reader_take(c, p, (size_t)(end - p), &event, err);
    if (n < 0)
        return corrupt(command_reader_fault_at(c), p[c->offset - r->facts.bytes], err);
    r->facts.bytes += (uint64_t)n;
    if (event != COMMAND_WORD)
        return n;
    if (decide(r, err) < 0 ||
        (r->verdict != AOF_UNDECIDED && r->head.len && release_head(r, err) < 0))
        return -1;
    if (!command_reader_is_between(c))
        return n;
    r->facts.commands++;
    if (r->verdict == AOF_NOTHING) {
        const char *upto = f->command ? f->command : f->from;
        if (emit(r, f->from, (size_t)(upto - f->from), err) < 0)
            return -1;
        f->from = p + n;
    }
    mark_whole(r, (size_t)(p + n - f->from));
    return n;
}

/* Annotations are not passed on. */
static ssize_t take_annotation(
    struct aof_reader *r, struct feeding *f, const char *p, const char *end, struct err *err)
{
    if (r->expect != EXPECT_ANNOTATION) {
        r->line = 0;
        r->expect = EXPECT_ANNOTATION;
        if (emit(r, f->from, (size_t)(p - f->from), err) < 0)
            return -1;
    }
    ssize_t n = skip_annotation(r, p, (size_t)(end - p), err);
    if (n < 0)
        return -1;
    r->facts.bytes += (uint64_t)n;
    f->from = p + n;
    if (r->expect == EXPECT_COMMANDS)
        mark_whole(r, 0);
    return n;
}

/* The remaining bytes: those of an undecided command are held back. */
static int end_feeding(
    struct aof_reader *r, const struct feeding *f, const char *end, struct err *err)
{
    const char *upto = end;

    if (!command_reader_is_between(&r->commands) && r->verdict != AOF_DATA) {
        upto = f->command ? f->command : f->from;
        if (r->verdict == AOF_UNDECIDED)
            buf_add(&r->head, upto, (size_t)(end - upto));
    }
    return emit(r, f->from, (size_t)(upto - f->from), err);
}

static int take_commands(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    struct feeding f = {.from = data};
    const char *p = data, *end = data + len;

    while (p < end) {
        bool annotation = r->expect == EXPECT_ANNOTATION ||
                          (*p == '#' && command_reader_is_between(&r->commands));
        ssize_t n =
            annotation ? take_annotation(r, &f, p, end, err) : take_command(r, &f, p, end, err);
        if (n < 0)
            return -1;
        p += n;
    }
    return end_feeding(r, &f, end, err);
}

/* --- the preamble --- */

/* How many of the bytes belong to the preamble. */
static ssize_t take_preamble(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    uint64_t before = rdb_reader_offset(r->rdb);

    if (rdb_reader_feed(r->rdb, data, len, err) < 0)
        return -1;
    uint64_t end = rdb_reader_end_offset(r->rdb);
    if (end && rdb_reader_end(r->rdb, err) < 0)
        return -1;
    size_t n = end ? (size_t)(end - before) : len;
    if (emit(r, data, n, err) < 0)
        return -1;
    r->facts.bytes += n;
    if (end) {
        r->expect = EXPECT_COMMANDS;
        mark_whole(r, 0);
    }
    return (ssize_t)n;
}

/* The first bytes tell the kind of the file. -1: neither an RDB file nor commands. */
static ssize_t take_magic(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    static const char *const magics[] = {"REDIS", "VALKE"};
    size_t room = MAGIC_BYTES - r->magic_len, n = len < room ? len : room;
    bool possible = false;

    memcpy(r->magic + r->magic_len, data, n);
    r->magic_len += n;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        possible |= memcmp(r->magic, magics[i], r->magic_len) == 0;
    if (r->magic[0] == '*' || r->magic[0] == '#')
        r->expect = EXPECT_COMMANDS;
    else if (!possible)
        return unexpected(r, r->magic[0], "the start of a command or of an RDB file", err);
    else if (r->magic_len == MAGIC_BYTES)
        r->expect = EXPECT_PREAMBLE;
    r->facts.preamble = r->expect == EXPECT_PREAMBLE;
    return (ssize_t)n;
}

static int feed(struct aof_reader *r, const char *data, size_t len, struct err *err)
{
    if (r->expect == EXPECT_MAGIC) {
        ssize_t n = take_magic(r, data, len, err);
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
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

bool aof_reader_in_preamble(const struct aof_reader *r)
{
    return r->expect == EXPECT_PREAMBLE;
}

int aof_reader_end(struct aof_reader *r, struct aof_facts *ret, struct err *err)
{
    if (!r->failure.code && r->expect == EXPECT_PREAMBLE && rdb_reader_end(r->rdb, &r->failure) < 0)
        err_wrap(&r->failure, "the RDB part that it begins with");
    if (!r->failure.code && r->expect == EXPECT_MAGIC && r->magic_len)
        err_set(&r->failure, ERR_CORRUPT, "it is not an append-only file");
    if (r->failure.code) {
        *err = r->failure;
        return -1;
    }
    *ret = r->facts;
    return 0;
}
