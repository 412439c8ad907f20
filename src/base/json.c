#include "recluster/json.h"

#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* Behind the text in quotes that begins at `at`. */
static size_t pass_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at;
}

/* One more value is begun by each bracket and each comma, whatever else is wrong with the text. */
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
