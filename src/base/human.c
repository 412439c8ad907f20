#include "recluster/human.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/mem.h"

char *human_bytes(uint64_t bytes, char text[HUMAN_TEXT_MAX])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    double n = (double)bytes;
    size_t unit = 0;

    while (n >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
        n /= 1024;
        unit++;
    }
    /* One decimal below ten, unless it is zero. */
    int decimals = unit > 0 && n < 9.95 && fabs(n - round(n)) >= 0.05;
    snprintf(text, HUMAN_TEXT_MAX, "%.*f %s", decimals, n, units[unit]);
    return text;
}

static void two_units(
    char text[HUMAN_TEXT_MAX], long long n, const char *unit, long long rest, const char *rest_unit)
{
    if (rest)
        snprintf(text, HUMAN_TEXT_MAX, "%lld %s %lld %s", n, unit, rest, rest_unit);
    else
        snprintf(text, HUMAN_TEXT_MAX, "%lld %s", n, unit);
}

char *human_duration(int64_t ms, char text[HUMAN_TEXT_MAX])
{
    long long s = (ms + 500) / 1000;

    if (ms < 9950)
        snprintf(text, HUMAN_TEXT_MAX, "%.1f s", (double)ms / 1000);
    else if (s < 120)
        snprintf(text, HUMAN_TEXT_MAX, "%lld s", s);
    else if (s < 3600)
        two_units(text, s / 60, "min", s % 60, "s");
    else if (s < 86400)
        two_units(text, s / 3600, "h", s % 3600 / 60, "min");
    else
        two_units(text, s / 86400, "d", s % 86400 / 3600, "h");
    return text;
}

char *human_count(uint64_t n, char text[HUMAN_TEXT_MAX])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    char *out = text;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return text;
}

int human_parse_bytes(const char *text, uint64_t *ret_bytes, struct err *err)
{
    static const char units[] = "kmgtp";
    char *end;
    double n = strtod(text, &end);
    double scale = 1;

    if (!isdigit((unsigned char)text[0]))
        goto bad;
    while (*end == ' ')
        end++;
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (unit) {
        scale = pow(1024, (double)(unit - units + 1));
        end++;
        if (*end == 'i')
            end++;
    }
    if (*end == 'b' || *end == 'B')
        end++;
    if (*end || !(n * scale < 9e18))
        goto bad;
    *ret_bytes = (uint64_t)(n * scale);
    return 0;
bad:
    err_set(err, ERR_USAGE, "'%s' is not a size", text);
    return err_hint(err, "Write it as bytes or with a unit: 64G, 512M, 1073741824.");
}

int human_parse_seconds(const char *text, int64_t *ret_s, struct err *err)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    static const int64_t max_s = 1000000000;
    int64_t total = 0;
    const char *at = text;

    while (isdigit((unsigned char)*at)) {
        char *end;
        long long n = strtoll(at, &end, 10);
        int64_t scale = *end ? 0 : 1;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
            if (*end == units[i].unit)
                scale = units[i].seconds;
        if (scale == 0 || n > max_s / scale || total > max_s)
            break;
        total += n * scale;
        at = *end ? end + 1 : end;
    }
    if (*at || at == text) {
        err_set(err, ERR_USAGE, "'%s' is not a span of time", text);
        return err_hint(err, "Write it as seconds or with units: 90, 10m, 1h30m.");
    }
    *ret_s = total;
    return 0;
}

unsigned human_distance(const char *a, const char *b)
{
    unsigned row[65];
    size_t la = strlen(a), lb = strlen(b);

    if (la >= ARRAY_SIZE(row) || lb >= ARRAY_SIZE(row))
        return (unsigned)(la > lb ? la : lb);
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = diagonal + (same ? 0 : 1);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

const char *human_nearest(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    unsigned least = (unsigned)strlen(word) / 3 + 2;

    for (; *words; words++) {
        unsigned distance = human_distance(word, *words);
        if (strncasecmp(word, *words, strlen(word)) == 0 && distance > 1)
            distance = 1;
        if (distance < least) {
            least = distance;
            nearest = *words;
        }
    }
    return nearest;
}
