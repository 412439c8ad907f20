#include "shell_quote.h"

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
