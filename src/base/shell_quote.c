#include "recluster/shell_quote.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

void shell_quote(struct buf *out, const char *value)
{
    buf_addc(out, '\'');
    for (const char *quote; (quote = strchr(value, '\'')); value = quote + 1) {
        buf_add(out, value, (size_t)(quote - value));
        buf_adds(out, "'\\''");
    }
    buf_adds(out, value);
    buf_addc(out, '\'');
}

/* Whether a terminal and a JSON document can hold it as it is. */
static bool is_printable(const char *value)
{
    json_t *text = json_string(value); /* NULL: it is not UTF-8 */
    bool printable = text != NULL;

    json_decref(text);
    for (const unsigned char *p = (const unsigned char *)value; printable && *p; p++)
        printable = *p >= 0x20 && *p != 0x7f && !(*p == 0xc2 && p[1] < 0xa0);
    return printable;
}

static void quote_bytes(struct buf *out, const char *value)
{
    buf_adds(out, "$'");
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (*p < 0x20 || *p >= 0x7f)
            buf_addf(out, "\\%03o", *p);
        else if (*p == '\'' || *p == '\\')
            buf_addf(out, "\\%c", *p);
        else
            buf_addc(out, (char)*p);
    }
    buf_addc(out, '\'');
}

char *shell_word(const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    struct buf b = BUF_INIT;

    if (value[0] && value[strspn(value, plain)] == '\0')
        return xstrdup(value);
    if (is_printable(value))
        shell_quote(&b, value);
    else
        quote_bytes(&b, value);
    return buf_take(&b);
}

char *shell_path_word(const char *path)
{
    AUTO_FREE char *safe = path[0] == '-' && path[1] ? xasprintf("./%s", path) : NULL;

    return shell_word(safe ? safe : path);
}
