#include <stdio.h>
#include <string.h>
#include <time.h>

#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/human.h"

static int parse_rule(const char *text, struct capture_rule *ret, struct err *err)
{
    AUTO_FREE char *age = xstrdup(text);
    char *every = strchr(age, ':');

    if (every)
        *every++ = '\0';
    if (!every || human_parse_seconds(age, &ret->age_s, err) < 0 ||
        human_parse_seconds(every, &ret->every_s, err) < 0 || ret->age_s <= 0 ||
        ret->every_s <= 0) {
        err_set(err, ERR_USAGE, "'%s' is not a rule such as 24h:5m", text);
        return err_hint(err, "Write rules as " CAPTURE_KEEP_DEFAULT
                             ": of the last 24 hours a copy for each 5 minutes, of the last 30 "
                             "days one for each day.");
    }
    return 0;
}

int capture_keep_parse(const char *text, struct capture_keep *ret, struct err *err)
{
    AUTO_FREE char *copy = xstrdup(text);
    char *rest = copy;

    ret->count = 0;
    for (const char *word; (word = strsep(&rest, ","));) {
        if (ret->count == CAPTURE_RULES_MAX)
            return err_set(err, ERR_USAGE, "more than %d rules in '%s'", CAPTURE_RULES_MAX, text);
        if (parse_rule(word, &ret->rules[ret->count++], err) < 0)
            return -1;
    }
    return 0;
}

/* Of each piece of time the newest copy is kept. Pieces are counted from 1970, so they stand still. */
static void apply_rule(const struct capture_rule *rule, int64_t now_ms, const int64_t *times_ms,
    size_t count, bool *kept)
{
    int64_t last = -1;

    for (size_t i = 0; i < count && now_ms - times_ms[i] <= rule->age_s * 1000; i++) {
        int64_t piece = times_ms[i] / (rule->every_s * 1000);
        kept[i] |= piece != last;
        last = piece;
    }
}

void capture_keep_choose(const struct capture_keep *keep, int64_t now_ms, const int64_t *times_ms,
    size_t count, bool *ret_kept)
{
    for (size_t i = 0; i < count; i++)
        ret_kept[i] = i == 0;
    for (size_t r = 0; r < keep->count; r++)
        apply_rule(&keep->rules[r], now_ms, times_ms, count, ret_kept);
}

void capture_dated_name(int64_t time_ms, char name[CAPTURE_NAME_MAX])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(name, CAPTURE_NAME_MAX, "ccs-redis-%Y%m%dT%H%M%SZ.rdb", &utc);
}

bool capture_dated_time(const char *name, int64_t *ret_ms)
{
    char again[CAPTURE_NAME_MAX];
    struct tm utc = {.tm_year = 0};
    int year, month;

    if (sscanf(name, "ccs-redis-%4d%2d%2dT%2d%2d%2dZ.rdb", &year, &month, &utc.tm_mday,
            &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
        return false;
    utc.tm_year = year - 1900;
    utc.tm_mon = month - 1;
    *ret_ms = (int64_t)timegm(&utc) * 1000;
    capture_dated_name(*ret_ms, again);
    return strcmp(name, again) == 0;
}
