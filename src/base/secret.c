#include "recluster/secret.h"
#include "recluster/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"

struct secret {
    size_t len;
    char plain[];
};

struct secret *secret_new(const char *plain)
{
    if (!plain)
        return NULL;
    size_t len = strlen(plain);
    struct secret *s = xmalloc(sizeof(*s) + len + 1);
    s->len = len;
    memcpy(s->plain, plain, len + 1);
    return s;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    explicit_bzero(s->plain, s->len);
    free(s);
}

const char *secret_reveal(const struct secret *s)
{
    return s ? s->plain : NULL;
}

static struct secret *from_file(const char *path, const char *what, struct err *err)
{
    struct buf b = BUF_INIT;
    AUTO_FREE char *real = path_expand_home(path);

    if (file_read(real, 1 << 20, &b, err) < 0) {
        err_wrap(err, "the secret of '%s'", what);
        buf_release(&b);
        return NULL;
    }
    if (b.len && b.data[b.len - 1] == '\n')
        b.data[--b.len] = '\0';
    struct secret *s = secret_new(b.data);
    explicit_bzero(b.data, b.len);
    buf_release(&b);
    return s;
}

struct secret *secret_from_text(const json_t *value, const char *what, struct err *err)
{
    if (json_is_string(value))
        return secret_new(json_string_value(value));
    err_set(err, ERR_USAGE, "the secret of '%s' is not a text", what);
    return NULL;
}

struct secret *secret_from_json(const json_t *value, const char *what, struct err *err)
{
    if (json_is_string(value))
        return secret_new(json_string_value(value));
    if (json_is_object(value) && json_object_size(value) == 1) {
        const char *env = json_text(value, "env", NULL);
        const char *file = json_text(value, "file", NULL);
        if (env) {
            const char *plain = getenv(env);
            if (plain)
                return secret_new(plain);
            err_set(err, ERR_USAGE, "the secret of '%s': environment variable '%s' is not set",
                what, env);
            return NULL;
        }
        if (file)
            return from_file(file, what, err);
    }
    err_set(err, ERR_USAGE, "the secret of '%s' has an unknown form", what);
    err_hint(err, "Write a string, {\"env\": \"NAME\"} or {\"file\": \"PATH\"}.");
    return NULL;
}

bool secret_is_name(const char *field)
{
    static const char *const parts[] = {"pass", "secret", "private_key", "account_key", "sas_token",
        "token", "credential", "client_certs", "ssl_cert", "api_key", "hash"};
    static const char *const wholes[] = {
        "key", "pwd", "auth", "access_key", "client_key", "bearer", "acl_users"};
    /* Names that contain one of the words above but are not secret. */
    static const char *const harmless[] = {"private_key_id", "hash_slots_policy",
        "password_issue_date", "password_expiration_duration", "password_complexity",
        "pass_through", "token_uri", "credentials_file", "application_credential_id"};

    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
        if (strcmp(field, harmless[i]) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_SIZE(wholes); i++)
        if (strcmp(field, wholes[i]) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (strstr(field, parts[i]))
            return true;
    return false;
}

/* The start of a URL's query, which may hold a signature or a token. */
static size_t open_length(const char *url)
{
    bool web = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
    const char *query = web ? strchr(url, '?') : NULL;
    return query && query[1] ? (size_t)(query + 1 - url) : strlen(url);
}

char *secret_mask_url(const char *url)
{
    const char *scheme_end = strstr(url, "://");
    if (!scheme_end)
        return xstrdup(url);
    const char *authority = scheme_end + 3;
    size_t len = strcspn(authority, "/?#"), open = open_length(url);
    const char *at = memrchr(authority, '@', len);
    const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    const char *rest = at ? at : authority;
    /* A URL in the query may have a query too. */
    AUTO_FREE char *masked_rest =
        url[open] ? xasprintf("%.*s" SECRET_MASK, (int)(url + open - rest), rest)
                  : secret_mask_url(rest);
    if (!colon)
        return xasprintf("%.*s%s", (int)(rest - url), url, masked_rest);
    return xasprintf("%.*s:" SECRET_MASK "%s", (int)(colon - url), url, masked_rest);
}

json_t *secret_mask_json(const json_t *value)
{
    if (json_is_object(value)) {
        json_t *copy = json_object();
        const char *key;
        json_t *item;
        /* jansson's iterator lacks the const; it only reads. */
        json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
            bool hide = secret_is_name(key) && !json_is_object(item);
            json_object_set_new(
                copy, key, hide ? json_string(SECRET_MASK) : secret_mask_json(item));
        }
        return copy;
    }
    if (json_is_array(value)) {
        json_t *copy = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(copy, secret_mask_json(json_array_get(value, i)));
        return copy;
    }
    if (json_is_string(value)) {
        AUTO_FREE char *masked = secret_mask_url(json_string_value(value));
        return json_string(masked);
    }
    return json_deep_copy(value);
}
