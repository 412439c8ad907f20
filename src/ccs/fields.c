#include "fields.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/secret.h"

/* The first of the fields that has a value. */
static const struct object_item *find(const struct reader *r, const char *names)
{
    for (const char *name = names; *name;) {
        size_t len = strcspn(name, "|");
        const struct object_item *item = object_field(r->object, name, len);
        if (item && item->value.len)
            return item;
        name += len + (name[len] == '|');
    }
    return NULL;
}

static void refuse(const struct reader *r, const struct object_item *item, const char *text)
{
    const char *key = r->object->text, *field = item->field.data;
    json_t *keys = json_pack("[s]", key);

    if (!text)
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, keys,
            "field '%s' of '%s' can't be read: it is not text", field, key);
    else if (secret_is_name(field) || strstr(field, "location"))
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, keys, "field '%s' of '%s' can't be read",
            field, key);
    else
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, keys,
            "field '%s' of '%s' can't be read: '%.80s'", field, key, text);
}

void reader_refuse(const struct reader *r, const char *names, const char *text)
{
    const struct object_item *item = find(r, names);

    if (item)
        refuse(r, item, text);
}

const char *read_text(const struct reader *r, const char *names, const char *missing)
{
    const struct object_item *item = find(r, names);

    if (!item)
        return missing;
    if (bytes_are_text(item->value))
        return item->value.data;
    refuse(r, item, NULL);
    return missing;
}

bool read_bool(const struct reader *r, const char *names, bool missing)
{
    const char *text = read_text(r, names, NULL);
    bool value = missing;

    if (text && !value_bool(text, &value))
        reader_refuse(r, names, text);
    return value;
}

int64_t read_int(
    const struct reader *r, const char *names, int64_t min, int64_t max, int64_t missing)
{
    const char *text = read_text(r, names, NULL);
    int64_t value = missing;

    if (text && !value_int(text, min, max, &value))
        reader_refuse(r, names, text);
    return value;
}

int64_t read_bytes(const struct reader *r, const char *names, int64_t missing)
{
    const char *text = read_text(r, names, NULL);
    int64_t value = missing;

    if (text && !value_bytes(text, &value))
        reader_refuse(r, names, text);
    return value;
}

const char *const *read_list(const struct reader *r, const char *names, size_t *ret_count)
{
    return value_list(r->arena, read_text(r, names, ""), VALUE_IDS, ret_count);
}

const char *read_joined(const struct reader *r, const char *names)
{
    struct buf joined = BUF_INIT;
    size_t count;
    const char *const *items = read_list(r, names, &count);

    for (size_t i = 0; i < count; i++)
        buf_addf(&joined, "%s%s", i ? "," : "", items[i]);
    const char *text = count ? arena_strdup(r->arena, joined.data) : NULL;
    buf_release(&joined);
    return text;
}
