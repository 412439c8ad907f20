#include "recluster/commands.h"

#include <string.h>
#include <strings.h>

#include "recluster/mem.h"

/* Room for all of it at once: a buffer that grows leaves a copy of what it held, as a password. */
void command_add(struct buf *out, const char *const *argv)
{
    size_t argc = 0, room = 32;

    for (; argv[argc]; argc++)
        room += strlen(argv[argc]) + 32;
    buf_reserve(out, room);
    buf_addf(out, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++)
        buf_addf(out, "$%zu\r\n%s\r\n", strlen(argv[i]), argv[i]);
}

/* --- the reader --- */

enum { NUMBER_DIGITS_MAX = 18 };

/* Larger ones are refused. Servers limit only what clients send further. */
static const uint64_t BULK_BYTES_MAX = (uint64_t)64 << 30, BULKS_MAX = INT32_MAX;

enum expect {
    EXPECT_COMMAND,
    EXPECT_COUNT, /* digits of "*3\r\n" */
    EXPECT_COUNT_LF,
    EXPECT_BULK, /* "$" */
    EXPECT_LENGTH,
    EXPECT_LENGTH_LF,
    EXPECT_BYTES,
    EXPECT_BYTES_CR,
    EXPECT_BYTES_LF,
};

void command_reader_init(struct command_reader *r)
{
    *r = (struct command_reader){.expect = EXPECT_COMMAND};
}

bool command_reader_is_between(const struct command_reader *r)
{
    return r->expect == EXPECT_COMMAND;
}

bool command_reader_is(const struct command_reader *r, const char *name)
{
    return strcasecmp(r->words[0].text, name) == 0 && r->words[0].len == strlen(name);
}

uint64_t command_reader_fault_at(const struct command_reader *r)
{
    return r->misplaced ? r->command_at : r->offset;
}

static int unexpected(char found, const char *wanted, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "expected %s, found 0x%02x", wanted, (unsigned char)found);
}

static int end_command(struct command_reader *r, struct err *err)
{
    bool multi = command_reader_is(r, "multi"), exec = command_reader_is(r, "exec");

    r->misplaced = (multi && r->in_transaction) || (exec && !r->in_transaction);
    if (r->misplaced)
        return err_set(
            err, ERR_CORRUPT, "%s", multi ? "MULTI in a transaction" : "EXEC without MULTI");
    if (multi || exec)
        r->in_transaction = multi;
    r->commands++;
    r->expect = EXPECT_COMMAND;
    return 0;
}

/* --- single bytes: those around the arguments --- */

static void begin_number(struct command_reader *r, enum expect expect)
{
    r->expect = (int)expect;
    r->number = 0;
    r->digits = 0;
}

/* A digit of a number, or the CR behind it. */
static int take_digit(struct command_reader *r, char c, enum expect next, struct err *err)
{
    if (c == '\r' && r->digits) {
        r->expect = (int)next;
        return 0;
    }
    if (c < '0' || c > '9' || r->digits == NUMBER_DIGITS_MAX)
        return unexpected(c, "a number", err);
    r->number = 10 * r->number + (uint64_t)(c - '0');
    r->digits++;
    return 0;
}

static int take_line_end(char c, struct err *err)
{
    return c == '\n' ? 0 : unexpected(c, "the end of a line", err);
}

static int begin_command(struct command_reader *r, char c, struct err *err)
{
    if (c != '*')
        return unexpected(c, "the start of a command", err);
    for (size_t i = 0; i < ARRAY_SIZE(r->words); i++) {
        r->words[i].text[0] = '\0';
        r->words[i].len = 0;
    }
    r->word = 0;
    r->command_at = r->offset;
    begin_number(r, EXPECT_COUNT);
    return 0;
}

static int take_count(struct command_reader *r, char c, struct err *err)
{
    if (take_line_end(c, err) < 0)
        return -1;
    if (r->number == 0 || r->number > BULKS_MAX)
        return unexpected(c, "a possible number of arguments", err);
    r->words_left = r->number;
    r->expect = EXPECT_BULK;
    return 0;
}

static int take_length(struct command_reader *r, char c, struct err *err)
{
    if (take_line_end(c, err) < 0)
        return -1;
    if (r->number > BULK_BYTES_MAX)
        return unexpected(c, "a possible length", err);
    if (r->word == 0 && r->number > COMMAND_WORD_BYTES)
        return unexpected(c, "the length of a command's name", err);
    r->bytes_left = r->number;
    r->expect = r->bytes_left ? EXPECT_BYTES : EXPECT_BYTES_CR;
    return 0;
}

static int end_word(struct command_reader *r, char c, enum command_event *ret, struct err *err)
{
    if (take_line_end(c, err) < 0)
        return -1;
    if (r->word < ARRAY_SIZE(r->words)) {
        r->words[r->word].text[r->words[r->word].len] = '\0';
        r->word++;
        *ret = COMMAND_WORD;
    }
    r->expect = EXPECT_BULK;
    if (--r->words_left)
        return 0;
    *ret = COMMAND_WORD;
    return end_command(r, err);
}

static int take_byte(struct command_reader *r, char c, enum command_event *ret, struct err *err)
{
    switch ((enum expect)r->expect) {
    case EXPECT_COMMAND:
        return begin_command(r, c, err);
    case EXPECT_COUNT:
        return take_digit(r, c, EXPECT_COUNT_LF, err);
    case EXPECT_COUNT_LF:
        return take_count(r, c, err);
    case EXPECT_BULK:
        if (c != '$')
            return unexpected(c, "an argument", err);
        begin_number(r, EXPECT_LENGTH);
        return 0;
    case EXPECT_LENGTH:
        return take_digit(r, c, EXPECT_LENGTH_LF, err);
    case EXPECT_LENGTH_LF:
        return take_length(r, c, err);
    case EXPECT_BYTES_CR:
        r->expect = EXPECT_BYTES_LF;
        return c == '\r' ? 0 : unexpected(c, "the end of an argument", err);
    case EXPECT_BYTES_LF:
        return end_word(r, c, ret, err);
    case EXPECT_BYTES:
        break;
    }
    return err_set(err, ERR_BUG, "a byte of a command was taken out of turn");
}

/* --- the bytes of arguments --- */

static size_t take_bytes(struct command_reader *r, const char *data, size_t len)
{
    size_t n = r->bytes_left < len ? (size_t)r->bytes_left : len;

    if (r->word < ARRAY_SIZE(r->words)) {
        struct command_word *w = &r->words[r->word];
        size_t room = COMMAND_WORD_BYTES - w->len, kept = n < room ? n : room;
        memcpy(w->text + w->len, data, kept);
        w->len += kept;
    }
    r->bytes_left -= n;
    if (!r->bytes_left)
        r->expect = EXPECT_BYTES_CR;
    return n;
}

ssize_t command_reader_take(struct command_reader *r, const char *data, size_t len,
    enum command_event *ret, struct err *err)
{
    const char *p = data, *end = data + len;

    *ret = COMMAND_MORE;
    while (p < end && *ret == COMMAND_MORE) {
        size_t n = 1;
        if (r->expect == EXPECT_BYTES)
            n = take_bytes(r, p, (size_t)(end - p));
        else if (take_byte(r, *p, ret, err) < 0)
            return -1;
        p += n;
        r->offset += n;
    }
    return p - data;
}
