#include "address.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/secret.h"

static char *part(CURLU *url, CURLUPart which, unsigned flags)
{
    char *text = NULL;

    if (curl_url_get(url, which, &text, flags) != CURLUE_OK)
        return NULL;
    char *copy = xstrdup(text);
    explicit_bzero(text, strlen(text));
    curl_free(text);
    return copy;
}

static void take_parts(CURLU *url, struct address *ret)
{
    ret->user = part(url, CURLUPART_USER, CURLU_URLDECODE);
    ret->password = part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    ret->host = part(url, CURLUPART_HOST, 0);
    ret->port = part(url, CURLUPART_PORT, 0);
    ret->path = part(url, CURLUPART_PATH, CURLU_URLDECODE);
    ret->query = part(url, CURLUPART_QUERY, 0);
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(url, CURLUPART_QUERY, NULL, 0);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    char *rest = part(url, CURLUPART_URL, 0);
    if (rest)
        ret->plain = xasprintf("%s%s", rest, rest[strlen(rest) - 1] == '/' ? "" : "/");
    free(rest);
}

int address_parse(const char *text, const char *scheme, struct address *ret, struct err *err)
{
    AUTO_FREE char *masked = secret_mask_url(text);
    const char *behind = strstr(text, "://");
    char *full = scheme && behind ? xasprintf("%s%s", scheme, behind) : xstrdup(text);
    CURLU *url = curl_url();
    CURLUcode rc = curl_url_set(url, CURLUPART_URL, full, CURLU_NON_SUPPORT_SCHEME);

    explicit_bzero(full, strlen(full));
    free(full);
    *ret = (struct address){.user = NULL};
    if (rc == CURLUE_OK)
        take_parts(url, ret);
    curl_url_cleanup(url);
    if (rc == CURLUE_OK && ret->plain && ret->host && *ret->host && ret->path)
        return 0;
    address_release(ret);
    return err_set(err, ERR_USAGE, "'%s' is not the address of a folder%s%s", masked,
        rc ? ": " : "", rc ? curl_url_strerror(rc) : "");
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void address_release(struct address *a)
{
    free(a->user);
    wipe(a->password);
    free(a->host);
    free(a->port);
    free(a->path);
    wipe(a->query); /* may be a signature */
    free(a->plain);
    *a = (struct address){.user = NULL};
}

void address_login(const struct address *a, CURL *curl)
{
    if (a->user)
        curl_easy_setopt(curl, CURLOPT_USERNAME, a->user);
    if (a->password)
        curl_easy_setopt(curl, CURLOPT_PASSWORD, a->password);
}
