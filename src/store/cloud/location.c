#include "location.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "../driver.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/json.h"

static int bad_url(const struct cloud_form *form, const char *url, const char *why, struct err *err)
{
    /* The message omits the query, and all with a login: they may be secrets. */
    size_t len = strcspn(url, "?@");
    if (url[len] == '@')
        len = (size_t)(strstr(url, "://") + 3 - url);
    err_set(err, ERR_USAGE, "'%.*s%s' %s", (int)len, url, url[len] ? "..." : "", why);
    return err_hint(err, "Write for example %s.", form->example);
}

/* Sets a member from a part of a URL. */
static int set_decoded(
    json_t *object, const char *key, const char *text, size_t len, bool plus_is_space)
{
    AUTO_FREE char *copy = xstrndup(text, len);
    int decoded_len = 0;

    for (char *p = copy; plus_is_space && (p = strchr(p, '+'));)
        *p = ' ';
    char *decoded = curl_easy_unescape(NULL, copy, (int)len, &decoded_len);
    int rc =
        decoded ? json_object_set_new(object, key, json_stringn(decoded, (size_t)decoded_len)) : -1;
    curl_free(decoded);
    return rc;
}

static bool is_one_of(const char *const *words, const char *word, size_t len)
{
    for (; *words; words++)
        if (strlen(*words) == len && memcmp(*words, word, len) == 0)
            return true;
    return false;
}

static int read_query(json_t *object, const struct cloud_form *form, const char *url,
    const char *query, struct err *err)
{
    while (*query) {
        size_t len = strcspn(query, "&");
        const char *equals = memchr(query, '=', len);
        size_t key_len = equals ? (size_t)(equals - query) : len;
        if (!equals || !is_one_of(form->query, query, key_len)) {
            struct buf known = BUF_INIT;
            for (const char *const *word = form->query; *word; word++)
                buf_addf(&known, "%s%s", known.len ? ", " : "", *word);
            AUTO_FREE char *why =
                xasprintf("has '%.*s' in its query, where only these are allowed: %s",
                    (int)(key_len < 40 ? key_len : 40), query, known.data);
            buf_release(&known);
            return bad_url(form, url, why, err);
        }
        AUTO_FREE char *key = xstrndup(query, key_len);
        if (set_decoded(object, key, equals + 1, len - key_len - 1, true) < 0)
            return bad_url(form, url, "is not a proper URL", err);
        query += len + (query[len] == '&');
    }
    return 0;
}

static int read_url(json_t *object, const struct cloud_form *form, const char *url, struct err *err)
{
    const char *p = strstr(url, "://");

    if (!p || strpbrk(p, "#@"))
        return bad_url(form, url, "is not the address of a location of this kind", err);
    p += 3;
    const char *end = p + strcspn(p, "?");
    for (const char *const *word = form->words; *word; word++) {
        size_t len = strcspn(p, "/?");
        if (!len || set_decoded(object, *word, p, len, false) < 0) {
            AUTO_FREE char *why = xasprintf("lacks its '%s'", *word);
            return bad_url(form, url, why, err);
        }
        p += len + (p[len] == '/');
    }
    if (end > p && set_decoded(object, form->prefix, p, (size_t)(end - p), false) < 0)
        return bad_url(form, url, "is not a proper URL", err);
    return *end ? read_query(object, form, url, end + 1, err) : 0;
}

json_t *cloud_location(const json_t *location, const struct cloud_form *form, struct err *err)
{
    const char *url = store_location_text(location, "url");
    json_t *object = json_is_object(location) ? json_deep_copy(location) : json_object();

    json_object_set_new(object, "type", json_string(form->scheme));
    json_object_del(object, "url");
    if (url && read_url(object, form, url, err) < 0)
        goto fail;
    for (const char *const *word = form->words; *word; word++) {
        if (cloud_text(object, *word))
            continue;
        err_set(err, ERR_USAGE, "a backup location of the type '%s' needs its '%s'", form->scheme,
            *word);
        err_hint(err, "Write for example %s.", form->example);
        goto fail;
    }
    for (const char *const *word = form->endpoints; *word; word++) {
        const char *text = cloud_text(object, *word);
        if (text && cloud_check_endpoint(text, *word, err) < 0)
            goto fail;
    }
    return object;
fail:
    json_decref(object);
    return NULL;
}

const char *cloud_text(const json_t *location, const char *key)
{
    const char *text = json_text(location, key, NULL);
    return text && *text ? text : NULL;
}

int cloud_word(const json_t *location, const char *key, const char **ret, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/_.-";

    *ret = cloud_text(location, key);
    if (!*ret || (**ret && strspn(*ret, allowed) == strlen(*ret)))
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not a value of '%s'", *ret, key);
}

char *cloud_prefix(const json_t *location, const char *key)
{
    const char *text = cloud_text(location, key);

    if (!text)
        return xstrdup("");
    text += strspn(text, "/");
    size_t len = strlen(text);
    while (len && text[len - 1] == '/')
        len--;
    return len ? xasprintf("%.*s/", (int)len, text) : xstrdup("");
}

int cloud_secret(const json_t *location, const char *key, struct secret **ret, struct err *err)
{
    const json_t *value = json_object_get(location, key);

    if (!value || json_is_null(value) || (json_is_string(value) && !cloud_text(location, key)))
        return 0;
    *ret = secret_from_text(value, key, err);
    return *ret ? 0 : -1;
}

int cloud_page_size(const json_t *location, int most)
{
    const json_t *value = json_object_get(location, "page_size");
    long long size = json_is_string(value) ? strtoll(json_string_value(value), NULL, 10)
                                           : json_integer_value(value);
    return size > 0 && size < most ? (int)size : most;
}

int cloud_check_endpoint(const char *text, const char *what, struct err *err)
{
    AUTO_FREE char *full = xasprintf("%s%s", strstr(text, "://") ? "" : "https://", text);
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;
    bool good = curl_url_set(url, CURLUPART_URL, full, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && *host &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_OK;

    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(url);
    if (good)
        return 0;
    AUTO_FREE char *masked = secret_mask_url(text);
    err_set(err, ERR_USAGE, "'%s' of a backup location is not the address of a server: '%s'", what,
        masked);
    return err_hint(err, "Write for example \"%s\": \"https://storage.example.com\".", what);
}

char *cloud_endpoint(const char *text)
{
    size_t len = strlen(text);

    while (len && text[len - 1] == '/')
        len--;
    return xasprintf("%s%.*s", strstr(text, "://") ? "" : "https://", (int)len, text);
}

int64_t cloud_time_ms(const char *text)
{
    struct err unknown = ERR_INIT;
    int64_t ms = -1;

    return clock_parse(text, &ms, &unknown) < 0 ? -1 : ms;
}

void cloud_from_environment(json_t *location, const char *key, const char *variable)
{
    const char *value = getenv(variable);

    if (value && *value && !json_object_get(location, key))
        json_object_set_new(location, key, json_string(value));
}
