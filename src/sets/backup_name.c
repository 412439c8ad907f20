#include "recluster/backup_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "recluster/mem.h"
#include "recluster/slots.h"

enum { STAMP_LEN = 15, DATABASE_NAME_CHARS = 30, NUMBER_MAX = 1 << 20 };

/* "20201130-223654", if that moment exists. */
static bool parse_stamp(const char *p, const char *end, int64_t *ret_ms)
{
    struct tm tm = {0}, real;
    char text[STAMP_LEN + 1];
    int used = 0;

    if (end - p < STAMP_LEN)
        return false;
    memcpy(text, p, STAMP_LEN);
    text[STAMP_LEN] = '\0';
    for (int i = 0; i < STAMP_LEN; i++)
        if (i == 8 ? text[i] != '-' : !isdigit((unsigned char)text[i]))
            return false;
    if (sscanf(text, "%4d%2d%2d-%2d%2d%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
            &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        used != STAMP_LEN)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    real = tm;
    time_t t = timegm(&real);
    /* timegm() turns 30 February into 1 March, so the fields must be unchanged. */
    if (t < 0 || real.tm_mon != tm.tm_mon || real.tm_mday != tm.tm_mday ||
        real.tm_hour != tm.tm_hour || real.tm_min != tm.tm_min)
        return false;
    *ret_ms = (int64_t)t * 1000;
    return true;
}

static bool parse_number(const char *p, const char *end, unsigned *ret)
{
    unsigned n = 0;

    if (p == end)
        return false;
    for (; p < end; p++) {
        if (!isdigit((unsigned char)*p))
            return false;
        n = n * 10 + (unsigned)(*p - '0');
        if (n > NUMBER_MAX)
            return false;
    }
    *ret = n;
    return true;
}

static bool parse_uid(const char *p, const char *end, char ret[BACKUP_NAME_WORD_MAX])
{
    size_t len = (size_t)(end - p);

    if (!len || len >= BACKUP_NAME_WORD_MAX)
        return false;
    for (const char *c = p; c < end; c++)
        if (!isalnum((unsigned char)*c))
            return false;
    memcpy(ret, p, len);
    ret[len] = '\0';
    return true;
}

/* The longest beginning that fits and does not cut a UTF-8 character. */
static size_t cut_text(const char *p, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max && ((unsigned char)p[max] & 0xc0) == 0x80)
        max--;
    return max;
}

/* Cuts the last "-word" off [p, *end): returns the start of the word, NULL if there is no '-'. */
static const char *last_word(const char *p, const char **end, const char **ret_word_end)
{
    const char *dash = memrchr(p, '-', (size_t)(*end - p));
    if (!dash)
        return NULL;
    *ret_word_end = *end;
    *end = dash;
    return dash + 1;
}

static bool parse_part(const char *p, const char *end, unsigned *ret_index, unsigned *ret_total)
{
    const char *of = memmem(p, (size_t)(end - p), "_of_", 4);
    return of && parse_number(p, of, ret_index) && parse_number(of + 4, end, ret_total) &&
           *ret_index >= 1 && *ret_index <= *ret_total;
}

/* Parses [p, end), the part between "bk" and ".rdb". */
static bool parse_words(const char *p, const char *end, struct backup_name *ret)
{
    struct backup_name n = {0};
    const char *word, *word_end;

    if (!parse_stamp(p, end, &n.time_ms))
        return false;
    memcpy(n.stamp, p, STAMP_LEN);
    p += STAMP_LEN;
    if (!(word = last_word(p, &end, &word_end)) || !parse_number(word, word_end, &n.last_slot) ||
        !(word = last_word(p, &end, &word_end)) || !parse_number(word, word_end, &n.first_slot) ||
        !(word = last_word(p, &end, &word_end)) || !parse_uid(word, word_end, n.shard_uid) ||
        !(word = last_word(p, &end, &word_end)) || !parse_part(word, word_end, &n.index, &n.total))
        return false;
    if (n.first_slot > n.last_slot || n.last_slot >= SLOT_COUNT)
        return false;
    /* "-<bdb uid>-<database name>" is left. */
    if (p == end || *p != '-')
        return false;
    const char *dash = memchr(p + 1, '-', (size_t)(end - p - 1));
    if (!dash || !parse_uid(p + 1, dash, n.database_uid))
        return false;
    size_t len = cut_text(dash + 1, (size_t)(end - dash - 1), BACKUP_NAME_WORD_MAX - 1);
    memcpy(n.database_name, dash + 1, len);
    *ret = n;
    return true;
}

static bool strip_ending(const char *name, const char **end, const char *ending)
{
    size_t len = strlen(ending);
    if ((size_t)(*end - name) < len || memcmp(*end - len, ending, len) != 0)
        return false;
    *end -= len;
    return true;
}

static bool ends_in(const char *name, const char *ending)
{
    const char *end = name + strlen(name);

    if (!strip_ending(name, &end, ".gz"))
        strip_ending(name, &end, ".zst");
    return strip_ending(name, &end, ending) && end > name;
}

bool backup_name_is_rdb(const char *name)
{
    return ends_in(name, ".rdb");
}

bool backup_name_is_aof(const char *name)
{
    return ends_in(name, ".aof");
}

bool backup_name_is_unfinished(const char *name)
{
    return strncmp(name, "temp-", 5) == 0 && backup_name_is_rdb(name);
}

bool backup_name_parse(const char *name, struct backup_name *ret)
{
    const char *end = name + strlen(name);

    if (!strip_ending(name, &end, ".gz"))
        strip_ending(name, &end, ".zst");
    if (!strip_ending(name, &end, ".rdb"))
        return false;
    for (const char *p = name; (p = strstr(p, "bk")) != NULL && p + 2 < end; p++)
        if (parse_words(p + 2, end, ret))
            return true;
    return false;
}

char *backup_name_format(const struct backup_name *name, const char *ending)
{
    const char *text = name->database_name;
    time_t t = (time_t)(name->time_ms / 1000);
    struct tm tm;
    char stamp[32];
    size_t chars = 0, len = 0;

    gmtime_r(&t, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    for (; text[len]; len++) {
        chars += ((unsigned char)text[len] & 0xc0) != 0x80;
        if (chars > DATABASE_NAME_CHARS)
            break;
    }
    return xasprintf("bk%s-%s-%.*s-%u_of_%u-%s-%u-%u%s", stamp, name->database_uid, (int)len, text,
        name->index, name->total, name->shard_uid, name->first_slot, name->last_slot, ending);
}
