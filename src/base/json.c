#include "recluster/json.h"

#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* The end of the quoted text that begins at `at`. */
static size_t pass_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at;
}

/* Each bracket and each comma begins one more value, even in invalid text. */
static int check_size(const char *text, size_t len, const char *what, struct err *err)
{
    size_t values = 1, depth = 0;

    for (size_t at = 0; at < len; at++) {
        char c = text[at];
        if (c == '"')
            at = pass_string(text, len, at);
        else if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth)
            depth--;
        values += c == '[' || c == '{' || c == ',';
        if (depth > JSON_DEPTH_MAX)
            return err_set(err, ERR_LIMIT, "%s is nested more than %d deep, at byte %zu", what,
                JSON_DEPTH_MAX, at);
        if (values > JSON_VALUES_MAX)
            return err_set(err, ERR_LIMIT,
                "%s has more than %d values, the last of them at byte %zu", what, JSON_VALUES_MAX,
                at);
    }
    return 0;
}

json_t *json_read(const char *text, size_t len, size_t flags, const char *what, struct err *err)
{
    json_error_t where;
    size_t mark = strlen(byte_order_mark);

    if (len >= mark && memcmp(text, byte_order_mark, mark) == 0) {
        text += mark;
        len -= mark;
    }
    if (check_size(text, len, what, err) < 0)
        return NULL;
    json_t *root = json_loadb(text, len, flags, &where);
    if (!root)
        err_set(err, ERR_CORRUPT, "%s is not JSON: line %d, column %d: %s", what, where.line,
            where.column, where.text);
    return root;
}

json_t *json_read_quietly(const char *text, size_t len, size_t flags)
{
    struct err unsaid = ERR_INIT;
    return json_read(text, len, flags, "the text", &unsaid);
}

bool json_has_text(const json_t *texts, const char *text)
{
    const json_t *one;
    size_t i;

    json_array_foreach (texts, i, one)
        if (json_is_string(one) && strcmp(json_string_value(one), text) == 0)
            return true;
    return false;
}

const char *json_text(const json_t *o, const char *field, const char *missing)
{
    const json_t *value = json_object_get(o, field);

    return json_is_string(value) ? json_string_value(value) : missing;
}

json_int_t json_int(const json_t *o, const char *field, json_int_t missing)
{
    static const double limit = 9.2e18;
    const json_t *value = json_object_get(o, field);
    double real = json_real_value(value); /* 0 for other types */

    if (json_is_integer(value))
        return json_integer_value(value);
    if (json_is_real(value) && real > -limit && real < limit)
        return (json_int_t)real;
    return json_is_boolean(value) ? json_is_true(value) : missing;
}

double json_number(const json_t *o, const char *field, double missing)
{
    const json_t *value = json_object_get(o, field);

    return json_is_number(value) ? json_number_value(value) : missing;
}

bool json_flag(const json_t *o, const char *field)
{
    return json_is_true(json_object_get(o, field));
}

bool json_has(const json_t *o, const char *field)
{
    const json_t *value = json_object_get(o, field);

    return value && !json_is_null(value);
}

size_t json_count(const json_t *o, const char *field)
{
    return json_array_size(json_object_get(o, field));
}

json_t *json_text_of(const char *text)
{
    json_t *value = json_string(text);

    if (value)
        return value;
    char *ascii = xstrdup(text); /* a file name, a server's text, or a character that was cut */
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    value = json_string(ascii);
    free(ascii);
    return value;
}
