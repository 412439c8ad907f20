#include "recluster/shell_quote.h"

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

char *shell_word(const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    struct buf b = BUF_INIT;

    if (value[0] && value[strspn(value, plain)] == '\0')
        return xstrdup(value);
    shell_quote(&b, value);
    return buf_take(&b);
}
