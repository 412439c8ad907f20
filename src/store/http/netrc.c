#include "netrc.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../address.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { NETRC_BYTES_MAX = 1 << 20 };

/* Takes the next word, unquoted in place; NULL: none. */
static char *next_word(char **at)
{
    char *p = *at;

    while (isspace((unsigned char)*p) || *p == '#')
        p += *p == '#' ? strcspn(p, "\n") : 1;
    if (!*p)
        return NULL;
    char *word = p, *to = p;
    bool quoted = *p == '"';
    for (p += quoted; *p && (quoted ? *p != '"' : !isspace((unsigned char)*p)); p++) {
        if (*p == '\\' && quoted && p[1])
            p++;
        *to++ = *p;
    }
    *at = *p ? p + 1 : p;
    *to = '\0';
    return word;
}

/* "macdef NAME" ends at an empty line. */
static void skip_macro(char **at)
{
    char *end = strstr(*at, "\n\n");
    *at = end ? end + 2 : *at + strlen(*at);
}

/* The login of a host, or the default one; both point into the text. */
static void find_login(
    char *text, const char *host, const char **ret_user, const char **ret_password)
{
    bool ours = false;
    char *word;

    while ((word = next_word(&text)) != NULL) {
        bool machine = strcmp(word, "machine") == 0;
        if (machine || strcmp(word, "default") == 0) {
            if (*ret_user || *ret_password)
                return;
            const char *name = machine ? next_word(&text) : NULL;
            ours = !machine || (name && strcasecmp(name, host) == 0);
        } else if (strcmp(word, "macdef") == 0) {
            skip_macro(&text);
        } else {
            const char *value = next_word(&text);
            if (ours && strcmp(word, "login") == 0)
                *ret_user = value;
            else if (ours && strcmp(word, "password") == 0)
                *ret_password = value;
        }
    }
}

int netrc_resolve(json_t *location, bool own, struct err *err)
{
    const char *named = getenv("NETRC"), *url = json_text(location, "url", NULL);
    const char *user = NULL, *password = NULL;
    AUTO_FREE char *path = path_expand_home(named ? named : "~/.netrc");
    struct address address;
    struct buf text = BUF_INIT;

    if (!own || !url || json_object_get(location, "user") || json_object_get(location, "bearer") ||
        !file_exists(path))
        return 0;
    if (address_parse(url, NULL, &address, err) < 0)
        return -1;
    int rc = address.user ? 0 : file_read(path, NETRC_BYTES_MAX, &text, err);
    if (rc == 0)
        find_login(text.data, address.host, &user, &password);
    if (user)
        json_object_set_new(location, "user", json_string(user));
    if (password)
        json_object_set_new(location, "password", json_string(password));
    address_release(&address);
    explicit_bzero(text.data, text.len);
    buf_release(&text);
    return rc;
}
