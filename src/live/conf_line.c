#include "conf_line.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/buf.h"

static char unescaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

const char *conf_next_word(struct arena *arena, const char **p)
{
    struct buf word = BUF_INIT;
    char quote = **p == '"' || **p == '\'' ? *(*p)++ : '\0';

    while (**p && (quote ? **p != quote : !strchr(" \t\r\n", **p))) {
        if (quote == '"' && **p == '\\' && (*p)[1]) {
            if ((*p)[1] == 'x' && hex_digit((*p)[2]) >= 0 && hex_digit((*p)[3]) >= 0) {
                buf_addc(&word, (char)(hex_digit((*p)[2]) * 16 + hex_digit((*p)[3])));
                *p += 4;
                continue;
            }
            buf_addc(&word, unescaped((*p)[1]));
            *p += 2;
            continue;
        }
        buf_addc(&word, *(*p)++);
    }
    if (quote && **p == quote)
        (*p)++;
    const char *ret = arena_memdup(arena, word.data, word.len);
    buf_release(&word);
    return ret;
}

void conf_line_split(struct arena *arena, const char *text, struct conf_line *ret)
{
    ret->count = 0;
    for (text += strspn(text, " \t\r"); *text && *text != '#' && ret->count < CONF_LINE_WORDS_MAX;
         text += strspn(text, " \t\r"))
        ret->words[ret->count++] = conf_next_word(arena, &text);
}

const char *conf_plain_number(struct arena *arena, const char *value)
{
    static const struct {
        const char *unit;
        int64_t times;
    } units[] = {{"b", 1}, {"k", 1000}, {"kb", 1 << 10}, {"m", 1000000}, {"mb", 1 << 20},
        {"g", 1000000000}, {"gb", 1 << 30}};
    size_t digits = strspn(value, "0123456789");

    for (size_t i = 0; digits && digits < 12 && i < ARRAY_SIZE(units); i++)
        if (strcasecmp(value + digits, units[i].unit) == 0)
            return atoll(value) > INT64_MAX / units[i].times
                       ? value
                       : arena_printf(arena, "%" PRId64, (int64_t)atoll(value) * units[i].times);
    return value;
}

const char *conf_line_join(struct arena *arena, const struct conf_line *line, size_t from)
{
    struct buf text = BUF_INIT;

    for (size_t i = from; i < line->count; i++)
        buf_addf(&text, "%s%s", i > from ? " " : "", line->words[i]);
    const char *ret = arena_strdup(arena, text.data);
    buf_release(&text);
    return ret;
}

bool conf_line_is_setting(const char *raw, const struct conf_line *line)
{
    size_t len = strspn(raw, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    return line->count > 1 && len && !isdigit((unsigned char)*raw) && strchr(" \t", raw[len]);
}
