#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/human.h"
#include "recluster/json.h"

/* Whether text is one of the words, which end with NULL; ignores case. */
static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0)
            return true;
    return false;
}

bool value_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"enabled", "enable", "yes", "true", "on", "1", NULL};
    static const char *const no[] = {"disabled", "disable", "no", "false", "off", "0", NULL};

    if (!is_one_of(text, yes) && !is_one_of(text, no))
        return false;
    *ret = is_one_of(text, yes);
    return true;
}

bool value_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end;

    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || errno || n < min || n > max)
        return false;
    if (strncmp(end, ".0", 2) == 0) /* a number that went through a float */
        end += 2;
    if (end[strspn(end, " \t\r\n")])
        return false;
    *ret = n;
    return true;
}

bool value_bytes(const char *text, int64_t *ret)
{
    struct err err;
    uint64_t bytes;

    if (value_int(text, 0, INT64_MAX, ret))
        return true;
    if (human_parse_bytes(text, &bytes, &err) < 0)
        return false;
    *ret = (int64_t)bytes;
    return true;
}

/* An item of a JSON list as text; NULL for null and for an object without a name. */
static char *json_item(struct arena *arena, const json_t *item)
{
    static const char *const names[] = {"uid", "name", "module_name", "regex", NULL};

    for (size_t i = 0; json_is_object(item) && names[i]; i++) {
        const json_t *named = json_object_get(item, names[i]);
        if (json_is_string(named) || json_is_integer(named))
            return json_item(arena, named);
    }
    if (json_is_integer(item))
        return arena_printf(arena, "%lld", (long long)json_integer_value(item));
    return arena_strdup(arena, json_string_value(item));
}

static const char *const *json_list(
    struct arena *arena, const json_t *json, enum value_list form, size_t *ret_count)
{
    size_t n = json_array_size(json), count = 0;
    const char **items = arena_alloc(arena, (n + 1) * sizeof(*items));

    for (size_t i = 0; i < n; i++) {
        const char *text = json_item(arena, json_array_get(json, i));
        if ((text && *text) || form == VALUE_PARALLEL)
            items[count++] = text ? text : "";
    }
    *ret_count = count;
    return items;
}

/* Removes brackets and quotes too, for lists that another program printed. */
static const char *const *id_list(struct arena *arena, const char *text, size_t *ret_count)
{
    const char **items = arena_alloc(arena, (strlen(text) / 2 + 2) * sizeof(*items));
    char *copy = arena_strdup(arena, text), *save = NULL;
    size_t count = 0;

    for (char *s = strtok_r(copy, VALUE_BETWEEN, &save); s;
         s = strtok_r(NULL, VALUE_BETWEEN, &save))
        items[count++] = s;
    *ret_count = count;
    return items;
}

static const char *const *parallel_list(struct arena *arena, const char *text, size_t *ret_count)
{
    char *copy = arena_strdup(arena, text);
    size_t count = *text != '\0', at = 0;

    for (const char *s = text; *s; s++)
        count += *s == ',';
    const char **items = arena_alloc(arena, (count + 1) * sizeof(*items));
    while (at < count)
        items[at++] = strsep(&copy, ",");
    *ret_count = count;
    return items;
}

const char *const *value_list(
    struct arena *arena, const char *text, enum value_list form, size_t *ret_count)
{
    size_t count;
    json_t *json = *text == '[' ? json_read_quietly(text, strlen(text), 0) : NULL;
    const char *const *items = json_is_array(json) ? json_list(arena, json, form, &count)
                               : form == VALUE_IDS ? id_list(arena, text, &count)
                                                   : parallel_list(arena, text, &count);

    json_decref(json);
    if (ret_count)
        *ret_count = count;
    return items;
}

/* The end of `count` characters (of one or more bytes each) from s; NULL: there are fewer. */
static const char *skip_characters(const char *s, size_t count)
{
    while (count && *s) {
        s++;
        count -= ((unsigned char)*s & 0xc0) != 0x80;
    }
    return count ? NULL : s;
}

static bool prefixed_list(
    struct arena *arena, const char *text, bool in_bytes, const char ***ret, size_t *ret_count)
{
    const char **items = arena_alloc(arena, (strlen(text) / 3 + 2) * sizeof(*items));
    size_t count = 0;

    while (*text) {
        size_t len = 0;
        for (int i = 0; i < 3; i++, text++) {
            if (!isxdigit((unsigned char)*text))
                return false;
            const int c = tolower((unsigned char)*text);
            len = len * 16 + (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        const char *end = !in_bytes                   ? skip_characters(text, len)
                          : strnlen(text, len) == len ? text + len
                                                      : NULL;
        if (!end)
            return false;
        items[count++] = arena_memdup(arena, text, (size_t)(end - text));
        text = end;
    }
    *ret = items;
    *ret_count = count;
    return true;
}

bool value_prefixed_list(
    struct arena *arena, const char *text, const char *const **ret, size_t *ret_count)
{
    const char **items;
    size_t count;

    /* Only text that is not ASCII shows whether lengths count characters or bytes. */
    if (!prefixed_list(arena, text, false, &items, &count) &&
        !prefixed_list(arena, text, true, &items, &count))
        return false;
    *ret = items;
    *ret_count = count;
    return true;
}

bool value_slots(const char *text, enum ccs_slots_policy policy, struct slots *ret)
{
    struct err err;
    struct slots slots;

    slots_clear(&slots);
    int rc = policy == CCS_SLOTS_LEGACY ? slots_parse_legacy(text, &slots, &err)
                                        : slots_parse(text, &slots, &err);
    if (rc < 0)
        return false;
    *ret = slots;
    return true;
}

bool value_role(const char *text, bool *ret_primary)
{
    static const char *const primary[] = {"master", "primary", NULL};
    static const char *const replica[] = {"slave", "replica", NULL};

    if (!is_one_of(text, primary) && !is_one_of(text, replica))
        return false;
    *ret_primary = is_one_of(text, primary);
    return true;
}

/* Removes the differences between writers: case, '-', '_' and spaces. */
static void squeeze(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; *text && n + 1 < size; text++)
        if (!strchr("-_ ", *text))
            out[n++] = (char)tolower((unsigned char)*text);
    out[n] = '\0';
}

const char *value_eviction_policy(const char *text)
{
    static const char *const policies[] = {"noeviction", "allkeys-lru", "allkeys-lfu",
        "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"};
    char given[32], known[32];

    squeeze(text, given, sizeof(given));
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        squeeze(policies[i], known, sizeof(known));
        if (strcmp(given, known) == 0)
            return policies[i];
    }
    return NULL;
}

bool value_persistence(const char *text, enum ccs_persistence *ret)
{
    static const char *const none[] = {"disabled", "none", "no", "off", "false", "0", NULL};
    static const char *const snapshot[] = {"snapshot", "snapshots", "rdb", NULL};
    bool always;

    if (is_one_of(text, none))
        *ret = CCS_PERSIST_NONE;
    else if (is_one_of(text, snapshot))
        *ret = CCS_PERSIST_SNAPSHOT;
    else if (strcasecmp(text, "aof") == 0 || value_fsync(text, &always))
        *ret = CCS_PERSIST_AOF;
    else
        return false;
    return true;
}

bool value_fsync(const char *text, bool *ret_always)
{
    static const char prefix[] = "appendfsync";
    char word[48];

    squeeze(text, word, sizeof(word));
    const char *policy = word;
    if (strncmp(word, "aof", 3) == 0)
        policy += 3;
    if (strncmp(policy, prefix, strlen(prefix)) == 0)
        policy += strlen(prefix);
    bool always = strcmp(policy, "always") == 0 || strcmp(policy, "everywrite") == 0;
    if (!always && strcmp(policy, "everysec") != 0 && strcmp(policy, "everysecond") != 0 &&
        strcmp(policy, "every1second") != 0)
        return false;
    *ret_always = always;
    return true;
}

struct save_points {
    struct ccs_save_point *items;
    size_t count, alloc;
};

static bool add_save_point(struct save_points *points, int64_t seconds, int64_t changes)
{
    if (seconds < 1 || changes < 1 || seconds > INT_MAX || changes > INT_MAX)
        return false;
    GROW(points->items, points->count, points->alloc);
    points->items[points->count++] = (struct ccs_save_point){seconds, changes};
    return true;
}

/* Pairs of numbers, whatever is between them. */
static bool save_points_of_text(const char *text, struct save_points *points)
{
    static const char between[] = " \t\r\n,;:/";

    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        long long pair[2];
        for (int i = 0; i < 2; i++) {
            char *end;
            text += strspn(text, between);
            if (!isdigit((unsigned char)*text))
                return false;
            pair[i] = strtoll(text, &end, 10);
            text = end;
        }
        if (!add_save_point(points, pair[0], pair[1]))
            return false;
    }
    return true;
}

static bool number_of_json(const json_t *json, int64_t *ret)
{
    if (json_is_integer(json)) {
        *ret = json_integer_value(json);
        return true;
    }
    return json_is_string(json) && value_int(json_string_value(json), 1, INT_MAX, ret);
}

/* The first of three names that the object has. */
static const json_t *member(const json_t *object, const char *a, const char *b, const char *c)
{
    const json_t *json = json_object_get(object, a);

    if (!json)
        json = json_object_get(object, b);
    return json ? json : json_object_get(object, c);
}

static bool save_points_of_json(const json_t *json, struct save_points *points)
{
    if (json_is_object(json)) {
        int64_t seconds, changes;
        return number_of_json(member(json, "secs", "seconds", "sec"), &seconds) &&
               number_of_json(member(json, "writes", "changes", "keys"), &changes) &&
               add_save_point(points, seconds, changes);
    }
    if (json_is_string(json))
        return save_points_of_text(json_string_value(json), points);
    int64_t seconds, changes;
    if (json_array_size(json) == 2 && number_of_json(json_array_get(json, 0), &seconds) &&
        number_of_json(json_array_get(json, 1), &changes))
        return add_save_point(points, seconds, changes);
    for (size_t i = 0; i < json_array_size(json); i++)
        if (!save_points_of_json(json_array_get(json, i), points))
            return false;
    return json_is_array(json);
}

bool value_save_points(
    struct arena *arena, const char *text, struct ccs_save_point **ret, size_t *ret_count)
{
    struct save_points points = {NULL, 0, 0};
    json_t *json = json_read_quietly(text, strlen(text), 0);
    bool ok = json ? save_points_of_json(json, &points) : save_points_of_text(text, &points);

    json_decref(json);
    if (ok && points.count) {
        *ret = arena_memdup(arena, points.items, points.count * sizeof(*points.items));
        *ret_count = points.count;
    }
    free(points.items);
    return ok && points.count;
}

bool value_location_complete(json_t *location)
{
    static const struct {
        const char *type, *needs, *also;
    } kinds[] = {
        {"sftp", "sftp_url", "sftp_url"},
        {"url", "url", "url"},
        {"s3", "bucket_name", "access_key_id"},
        {"gs", "bucket_name", "client_email"},
        {"abs", "container", "account_name"},
        {"swift", "container", "auth_url"},
        {"mount_point", "path", "path"},
    };
    const char *type = json_text(location, "type", NULL);

    if (type && *type)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (json_object_get(location, kinds[i].needs) && json_object_get(location, kinds[i].also)) {
            json_object_set_new(location, "type", json_string(kinds[i].type));
            return true;
        }
    }
    return false;
}

json_t *value_location(const char *text)
{
    json_t *json = json_read_quietly(text, strlen(text), JSON_REJECT_DUPLICATES);

    if (json_is_object(json) && value_location_complete(json))
        return json;
    json_decref(json);
    if (json)
        return NULL;
    if (*text == '/')
        return json_pack("{s:s, s:s}", "type", "mount_point", "path", text);
    if (strncasecmp(text, "sftp://", 7) == 0)
        return json_pack("{s:s, s:s}", "type", "sftp", "sftp_url", text);
    if (strncasecmp(text, "ftp://", 6) == 0 || strncasecmp(text, "ftps://", 7) == 0)
        return json_pack("{s:s, s:s}", "type", "url", "url", text);
    if (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0)
        return json_pack("{s:s, s:s}", "type", "http", "url", text);
    return NULL;
}
