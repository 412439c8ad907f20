#include "recluster/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

char *clock_format(int64_t wall_ms, char text[CLOCK_TEXT_MAX])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!gmtime_r(&s, &tm) || !strftime(text, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(text, CLOCK_TEXT_MAX, "%lld", (long long)s);
    return text;
}

/* Reads exactly `digits` digits within [min, max]; moves *p after them. */
static bool number(const char **p, int digits, int min, int max, int *ret)
{
    int n = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*p)[i]))
            return false;
        n = n * 10 + ((*p)[i] - '0');
    }
    *p += digits;
    *ret = n;
    return n >= min && n <= max;
}

static bool parse_offset(const char **p, int *ret_minutes)
{
    int hours, minutes = 0;
    *ret_minutes = 0;
    if (**p == 'Z' || **p == 'z') {
        (*p)++;
        return true;
    }
    if (**p != '+' && **p != '-')
        return true;
    int sign = *(*p)++ == '-' ? -1 : 1;
    if (!number(p, 2, 0, 14, &hours))
        return false;
    if (**p == ':')
        (*p)++;
    if (**p && !number(p, 2, 0, 59, &minutes))
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool parse_civil(const char *p, int64_t *ret_ms)
{
    struct tm tm = {0};
    int year, month, ms = 0, offset = 0;

    if (!number(&p, 4, 1970, 9999, &year) || *p++ != '-' || !number(&p, 2, 1, 12, &month) ||
        *p++ != '-' || !number(&p, 2, 1, 31, &tm.tm_mday))
        return false;
    if (*p == 'T' || *p == ' ') {
        p++;
        if (!number(&p, 2, 0, 23, &tm.tm_hour) || *p++ != ':' || !number(&p, 2, 0, 59, &tm.tm_min))
            return false;
        if (*p == ':' && (p++, !number(&p, 2, 0, 60, &tm.tm_sec)))
            return false;
        if (*p == '.') {
            int scale = 100;
            for (p++; isdigit((unsigned char)*p); p++, scale /= 10)
                ms += (*p - '0') * scale;
        }
        if (!parse_offset(&p, &offset))
            return false;
    }
    if (*p)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    *ret_ms = ((int64_t)timegm(&tm) - offset * 60) * 1000 + ms;
    return true;
}

int clock_parse(const char *text, int64_t *ret_wall_ms, struct err *err)
{
    char *end;
    double seconds = strtod(text, &end);

    if (parse_civil(text, ret_wall_ms))
        return 0;
    /* A small number is more likely a year or a typo than a moment in 1970. */
    if (isdigit((unsigned char)text[0]) && *end == '\0' && seconds >= 1e8 && seconds < 1e11) {
        *ret_wall_ms = (int64_t)(seconds * 1000);
        return 0;
    }
    err_set(err, ERR_USAGE, "'%s' is not a time", text);
    return err_hint(err, "Write it as 2026-01-31T13:05:09Z (UTC), or as seconds since 1970.");
}
