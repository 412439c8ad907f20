#include "recluster/key_text.h"

#include <stdio.h>
#include <string.h>

#include "recluster/mem.h"

const char *key_text(struct rdb_bytes key, char text[KEY_TEXT_MAX])
{
    enum { SHOWN = 64 };
    const uint8_t *k = key.data;
    size_t len = 0;

    for (size_t i = 0; i < key.len && i < SHOWN; i++) {
        if (k[i] >= ' ' && k[i] < 0x7f && k[i] != '\'' && k[i] != '\\')
            text[len++] = (char)k[i];
        else
            len += (size_t)snprintf(text + len, KEY_TEXT_MAX - len, "\\x%02x", k[i]);
    }
    snprintf(text + len, KEY_TEXT_MAX - len, "%s", key.len > SHOWN ? "..." : "");
    return text;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

char *key_text_of_hex(const char *hex)
{
    size_t len = strlen(hex) / 2;
    AUTO_FREE char *bytes = xmalloc(len + 1);
    char text[KEY_TEXT_MAX];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return xasprintf("'%s'", key_text((struct rdb_bytes){bytes, len}, text));
}
