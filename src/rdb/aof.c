#include "recluster/aof.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "aof_command.h"
#include "recluster/buf.h"
#include "recluster/rdb.h"

enum {
    LINE_BYTES_MAX = 1024, /* of an annotation */
    NUMBER_DIGITS_MAX = 18,
    WORD_BYTES = 64, /* of a command's name, and of its first argument */
    MAGIC_BYTES = 5,
};

/* Larger lengths are refused. Servers limit only what clients send further. */
static const uint64_t BULK_BYTES_MAX = (uint64_t)64 << 30, BULKS_MAX = INT32_MAX;

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
    struct rdb_reader *rdb; /* of the preamble; NULL after its end */
    char magic[MAGIC_BYTES];
    size_t magic_len;
    uint64_t number;
    unsigned digits;
    size_t line; /* bytes of the annotation */
    uint64_t bulks_left, bytes_left;
    const char *const *also;
    struct word { /* the command's name, and its first argument */
        char text[WORD_BYTES + 1];
        size_t len;
    } words[2];
    unsigned word;       /* that is being read; 2: a later one */
    uint64_t command_at; /* where the command begins */
    enum aof_verdict verdict;
    struct buf head; /* of an undecided command, from earlier pieces */
    bool in_transaction;
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

static int corrupt(const struct aof_reader *r, const char *p, const char *wanted, struct err *err)
{
    unsigned char c = (unsigned char)*p;

    err_set(err, ERR_CORRUPT, "corrupt at byte %" PRIu64 ": expected %s, found 0x%02x",
        r->facts.bytes, wanted, c);
    return err_hint(err,
        c == 0 ? "Zeros are what a crashed file system leaves: redis-check-aof --fix, on a copy of "
                 "the file, cuts it there."
               : "redis-check-aof --fix, on a copy of the file, cuts it there: all after that "
                 "byte is lost. Or take an older file.");
}

/* "'CONFIG SET'", with unprintable bytes as \xNN. */
static char *shown(const struct aof_reader *r)
{
    struct buf text = BUF_INIT;

    for (unsigned w = 0; w < 2 && r->words[w].len; w++) {
        if (w)
            buf_addc(&text, ' ');
        for (size_t i = 0; i < r->words[w].len; i++) {
            unsigned char c = (unsigned char)r->words[w].text[i];
            if (c < ' ' || c > '~')
                buf_addf(&text, "\\x%02x", c);
            else
                buf_addc(&text, (char)c);
        }
        if (r->verdict != AOF_REFUSED || strcasecmp(r->words[0].text, "function") != 0)
            break;
    }
    return text.data ? buf_take(&text) : xstrdup("");
}

static int refuse(const struct aof_reader *r, struct err *err)
{
    AUTO_FREE char *name = shown(r);

    err_set(err, ERR_CHECK, "the command '%s' at byte %" PRIu64 " is not one that writes data",
        name, r->command_at);
    if (aof_command_is_never(r->words[0].text))
        return err_hint(err,
            "No server writes it to an append-only file: find out who did. Take an "
            "older file of the same slots.");
    return err_hint(err,
        "Nothing of the file was run. If clients of the old servers used that command (a script, or "
        "a module's), start again with --aof-commands %s; else use an older file of the same slots.",
        r->words[0].text);
}

static int not_a_transaction(const struct aof_reader *r, const char *what, struct err *err)
{
    err_set(err, ERR_CORRUPT, "corrupt at byte %" PRIu64 ": %s", r->command_at, what);
    return err_hint(err, "redis-check-aof --fix, on a copy of the file, cuts it there: all after "
                         "that byte is lost. Or take an older file.");
}

static bool is_named(const struct aof_reader *r, const char *name)
{
    return strcasecmp(r->words[0].text, name) == 0 && r->words[0].len == strlen(name);
}

static int end_command(struct aof_reader *r, struct err *err)
{
    bool multi = is_named(r, "multi"), exec = is_named(r, "exec");

    if (r->verdict == AOF_UNDECIDED) {
        r->verdict = AOF_REFUSED;
        return refuse(r, err);
    }
    if (multi && r->in_transaction)
        return not_a_transaction(r, "MULTI in a transaction", err);
    if (exec && !r->in_transaction)
        return not_a_transaction(r, "EXEC without MULTI", err);
    if (multi || exec)
        r->in_transaction = multi;
    r->facts.commands++;
    r->expect = EXPECT_COMMAND;
    return 0;
}

/* Each of the first two words may decide. */
static int decide(struct aof_reader *r, struct err *err)
{
    const struct word *sub = r->word == 1 ? &r->words[1] : NULL;

    if (r->verdict != AOF_UNDECIDED)
        return 0;
    r->verdict = aof_command_verdict(
        r->words[0].text, r->words[0].len, sub ? sub->text : NULL, sub ? sub->len : 0, r->also);
    return r->verdict == AOF_REFUSED ? refuse(r, err) : 0;
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
        return corrupt(r, p, "the start of a command", err);
    r->words[0] = r->words[1] = (struct word){.len = 0};
    r->word = 0;
    r->command_at = r->facts.bytes;
    r->verdict = AOF_UNDECIDED;
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
    if (r->word == 0 && r->number > WORD_BYTES)
        return corrupt(r, p, "the length of a command's name", err);
    r->bytes_left = r->number;
    r->expect = r->bytes_left ? EXPECT_BYTES : EXPECT_BYTES_CR;
    return 0;
}

static int end_argument(struct aof_reader *r, const char *p, struct err *err)
{
    if (take_line_end(r, p, err) < 0)
        return -1;
    if (r->word < 2 && decide(r, err) < 0)
        return -1;
    r->word += r->word < 2;
    r->expect = EXPECT_BULK;
    return --r->bulks_left == 0 ? end_command(r, err) : 0;
}

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

/* Takes the bytes of an argument that are here. */
static size_t skip_bytes(struct aof_reader *r, const char *p, size_t len)
{
    size_t n = r->bytes_left < len ? (size_t)r->bytes_left : len;

    if (r->word < 2) {
        struct word *w = &r->words[r->word];
        for (size_t i = 0; i < n && w->len < WORD_BYTES; i++)
            w->text[w->len++] = p[i];
    }
    r->bytes_left -= n;
    if (!r->bytes_left)
        r->expect = EXPECT_BYTES_CR;
    return n;
}

/* Takes the bytes of an annotation's line that are here. -1: longer than allowed. */
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

/* All is complete up to here; `ahead` bytes of it are not emitted yet. */
static void mark_whole(struct aof_reader *r, size_t ahead)
{
    if (r->in_transaction)
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

/* After a step: emits decided bytes and notes the end of a command. `p`: after the bytes taken. */
static int follow(
    struct aof_reader *r, struct feeding *f, const char *p, enum expect before, struct err *err)
{
    if (before == EXPECT_ANNOTATION || r->expect == EXPECT_ANNOTATION) {
        f->from = p;
    } else if (before == EXPECT_COMMAND) {
        f->command = p - 1;
    } else if (r->verdict != AOF_UNDECIDED && r->head.len && release_head(r, err) < 0) {
        return -1;
    }
    if (r->expect != EXPECT_COMMAND)
        return 0;
    if (r->verdict == AOF_NOTHING && before != EXPECT_ANNOTATION) {
        const char *end = f->command ? f->command : f->from;
        if (emit(r, f->from, (size_t)(end - f->from), err) < 0)
            return -1;
        f->from = p;
    }
    mark_whole(r, (size_t)(p - f->from));
    return 0;
}

/* The remaining bytes: those of an undecided command are held back. */
static int end_feeding(
    struct aof_reader *r, const struct feeding *f, const char *end, struct err *err)
{
    const char *upto = end;

    if (r->expect != EXPECT_COMMAND && r->expect != EXPECT_ANNOTATION && r->verdict != AOF_DATA) {
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
        enum expect before = r->expect;
        ssize_t n = 1;
        if (before == EXPECT_ANNOTATION)
            n = skip_annotation(r, p, (size_t)(end - p), err);
        else if (before == EXPECT_BYTES)
            n = (ssize_t)skip_bytes(r, p, (size_t)(end - p));
        else if (take_byte(r, p, err) < 0)
            return -1;
        else if (r->expect == EXPECT_ANNOTATION && emit(r, f.from, (size_t)(p - f.from), err) < 0)
            return -1;
        if (n < 0)
            return -1;
        p += n;
        r->facts.bytes += (uint64_t)n;
        if (follow(r, &f, p, before, err) < 0)
            return -1;
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
        r->expect = EXPECT_COMMAND;
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
        r->expect = EXPECT_COMMAND;
    else if (!possible)
        return corrupt(r, r->magic, "the start of a command or of an RDB file", err);
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
