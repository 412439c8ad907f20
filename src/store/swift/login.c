#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "recluster/json.h"
#include "swift.h"

/*
 * Two ways to a token: a GET with user and key in headers (TempAuth, "v1"), or Keystone's API
 * version 3 (docs.openstack.org/api-ref/identity/v3), which also names the store's address.
 */

static int take_login(
    struct swift_store *s, const char *url, const char *token, const char *from, struct err *err)
{
    if (!url || !token)
        return err_set(err, ERR_PROTOCOL, "'%s' accepted the login but gave no %s", from,
            token ? "address of the store" : "token");
    if (cloud_check_endpoint(url, "storage_url", err) < 0)
        return err_wrap(err, "the answer of '%s'", from);
    if (!s->insecure && strncasecmp(url, "http:", 5) == 0) {
        err_set(err, ERR_CHECK,
            "'%s' names the store '%s', which would get the token in clear text", from, url);
        return err_hint(err,
            "If its network is safe, add \"insecure\": true to the location in the "
            "hosts file.");
    }
    free(s->storage_url);
    s->storage_url = cloud_endpoint(url);
    secret_free(s->token);
    s->token = secret_new(token);
    return 0;
}

static int refused(const struct http_reply *reply, const char *url, struct err *err)
{
    http_status_error(reply->status, url, err);
    if (err->code == ERR_DENIED) {
        err_set(err, ERR_DENIED, "'%s' refuses the login (HTTP status %ld)", url, reply->status);
        err_hint(err, "Check \"user\" and \"key\", and for Keystone \"project\" and the domains.");
    } else if (err->code == ERR_NOT_FOUND) {
        err_hint(err, "Check \"auth_url\"; \"auth_version\" says whether it is of TempAuth (\"1\") "
                      "or Keystone (\"3\").");
    }
    return -1;
}

static int login_v1(struct swift_store *s, const char *url, struct err *err)
{
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct http_reply reply = HTTP_REPLY_INIT;
    struct secret *key = NULL;

    if (cloud_secret(s->login, "key", &key, err) < 0)
        return -1;
    if (!key)
        return err_set(err, ERR_USAGE, "a login at '%s' needs its 'key'", url);
    http_add_header(&headers, "X-Auth-User: %s", cloud_text(s->login, "user"));
    http_add_header(&headers, "X-Auth-Key: %s", secret_reveal(key));
    secret_free(key);
    int rc = http_send(s->cloud.client,
        &(struct http_request){.url = url, .what = url, .headers = headers}, &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status))
        rc = refused(&reply, url, err);
    if (rc == 0)
        rc = take_login(s, http_header(s->cloud.client, "X-Storage-Url"),
            http_header(s->cloud.client, "X-Auth-Token"), url, err);
    http_reply_release(&reply);
    return rc;
}

/* {"name": …, "domain": {"name": …}} or {"id": …}; a new reference. */
static json_t *named(const json_t *login, const char *name, const char *id, const char *domain)
{
    const char *domain_name = cloud_text(login, domain);

    if (cloud_text(login, id))
        return json_pack("{s:s}", "id", cloud_text(login, id));
    return json_pack("{s:s*, s:{s:s}}", "name", cloud_text(login, name), "domain",
        domain_name && strcmp(domain_name, "default") == 0 ? "id" : "name",
        domain_name ? domain_name : "Default");
}

/* The body for Keystone; NULL on failure. The caller frees it. */
static json_t *keystone_request(const json_t *login, struct err *err)
{
    struct secret *application = NULL, *key = NULL;
    json_t *body = NULL;

    if (cloud_secret(login, "application_credential_secret", &application, err) < 0 ||
        cloud_secret(login, "key", &key, err) < 0)
        goto out;
    if (application) {
        body = json_pack("{s:{s:{s:[s], s:{s:s*, s:s}}}}", "auth", "identity", "methods",
            "application_credential", "application_credential", "id",
            cloud_text(login, "application_credential_id"), "secret", secret_reveal(application));
        goto out;
    }
    if (!key || !(cloud_text(login, "user") || cloud_text(login, "user_id"))) {
        err_set(err, ERR_USAGE, "a login at Keystone needs 'user' and 'key'");
        goto out;
    }
    json_t *user = named(login, "user", "user_id", "user_domain");
    json_object_set_new(user, "password", json_string(secret_reveal(key)));
    body = json_pack("{s:{s:{s:[s], s:{s:o}}}}", "auth", "identity", "methods", "password",
        "password", "user", user);
    if (cloud_text(login, "project") || cloud_text(login, "project_id"))
        json_object_set_new(json_object_get(body, "auth"), "scope",
            json_pack("{s:o}", "project", named(login, "project", "project_id", "project_domain")));
out:
    secret_free(application);
    secret_free(key);
    return body;
}

/* The public address of the object store in the catalogue of an answer; NULL: none. */
static const char *find_endpoint(const json_t *answer, const char *region)
{
    const json_t *catalog = json_object_get(json_object_get(answer, "token"), "catalog");

    for (size_t i = 0; i < json_array_size(catalog); i++) {
        const json_t *service = json_array_get(catalog, i);
        const json_t *endpoints = json_object_get(service, "endpoints");
        const char *type = cloud_text(service, "type");
        if (!type || strcmp(type, "object-store") != 0)
            continue;
        for (size_t j = 0; j < json_array_size(endpoints); j++) {
            const json_t *e = json_array_get(endpoints, j);
            const char *interface = cloud_text(e, "interface"), *its = cloud_text(e, "region");
            if (interface && strcmp(interface, "public") == 0 &&
                (!region || (its && strcmp(region, its) == 0)))
                return cloud_text(e, "url");
        }
    }
    return NULL;
}

static int take_keystone_answer(
    struct swift_store *s, const char *url, const struct http_reply *reply, struct err *err)
{
    const char *fixed = cloud_text(s->login, "storage_url");
    const char *region = cloud_text(s->login, "region_name");
    json_t *answer = json_read_quietly(reply->text.data, reply->text.len, 0);
    const char *endpoint = fixed ? fixed : find_endpoint(answer, region);

    int rc = take_login(s, endpoint, http_header(s->cloud.client, "X-Subject-Token"), url, err);
    if (rc < 0 && !endpoint)
        err_hint(err,
            "Its catalogue has no public object store%s%s: check \"project\" and "
            "\"region_name\", or give \"storage_url\".",
            region ? " in the region " : "", region ? region : "");
    json_decref(answer);
    return rc;
}

static int login_v3(struct swift_store *s, const char *auth_url, struct err *err)
{
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    AUTO_FREE char *base = cloud_endpoint(auth_url);
    AUTO_FREE char *url = xasprintf("%s%s/auth/tokens", base, strstr(base, "/v3") ? "" : "/v3");
    struct http_reply reply = HTTP_REPLY_INIT;
    json_t *request = keystone_request(s->login, err);

    if (!request)
        return -1;
    char *body = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    http_add_header(&headers, "Content-Type: application/json");
    int rc = http_send(s->cloud.client,
        &(struct http_request){
            .method = "POST",
            .url = url,
            .what = url,
            .headers = headers,
            .body = body,
            .body_len = strlen(body),
        },
        &reply, err);
    explicit_bzero(body, strlen(body));
    free(body);
    if (rc == 0)
        rc = http_status_is_fine(reply.status) ? take_keystone_answer(s, url, &reply, err)
                                               : refused(&reply, url, err);
    http_reply_release(&reply);
    return rc;
}

static bool is_keystone(const json_t *login, const char *auth_url)
{
    const char *version = cloud_text(login, "auth_version");

    if (version)
        return version[0] == '3';
    return strstr(auth_url, "/v3") || cloud_text(login, "project") ||
           cloud_text(login, "project_id") ||
           json_object_get(login, "application_credential_secret");
}

int swift_login(struct swift_store *s, struct err *err)
{
    const char *auth_url = cloud_text(s->login, "auth_url");

    if (!auth_url) {
        err_set(err, ERR_USAGE, "'%s' has no 'auth_url' to log in at", s->cloud.label);
        return err_hint(err, "Give it with the location, or set OS_AUTH_URL.");
    }
    if (is_keystone(s->login, auth_url))
        return login_v3(s, auth_url, err);
    if (strstr(auth_url, "/v2.0")) {
        err_set(err, ERR_UNSUPPORTED, "'%s' is version 2 of Keystone, which is not supported",
            auth_url);
        return err_hint(err, "Use the address that ends with /v3.");
    }
    if (!cloud_text(s->login, "user"))
        return err_set(err, ERR_USAGE, "a login at '%s' needs its 'user'", auth_url);
    return login_v1(s, auth_url, err);
}
