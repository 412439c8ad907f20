/*
 * Which members of a location are trusted, and who gets a login. A location of the operator (hosts
 * file, command line) may read files and variables and use the logins of the environment. A
 * location of a CCS file is foreign data: see store_location_of_ccs() in recluster/store.h.
 */

#include <curl/curl.h>
#include <string.h>

#include "handle.h"
#include "recluster/json.h"
#include "recluster/secret.h"

/* Marks locations of a CCS file, which cannot contain it: their members are taken from a list. */
static const char source_member[] = "from", ccs_word[] = "ccs";

/* Members that refer to the operator's machine. */
static const char *const own_members[] = {
    "credentials_file", "profile", "ca_file", "known_hosts", "identity"};

/* The members that a location of a CCS file may have, as text. Certificates must be texts too. */
static const char *const ccs_members[] = {"type", "url", "path", "user", "password", "bearer",
    "auth", "timeout", "sftp_url", "key", "key_password", "bucket_name", "subdir", "access_key_id",
    "secret_access_key", "session_token", "region_name", "region", "endpoint", "s3_url",
    "s3_ca_cert", "style", "anonymous", "client_id", "client_email", "client_secret",
    "private_key_id", "private_key", "refresh_token", "token_uri", "container", "account_name",
    "account_key", "sas_token", "prefix", "auth_url", "auth_version", "user_id", "project",
    "project_id", "user_domain", "project_domain", "application_credential_id",
    "application_credential_secret", "storage_url", "token", "page_size", "ca_cert", "client_cert",
    "client_key", "client_key_password"};
static const char *const pem_members[] = {"s3_ca_cert", "ca_cert", "client_cert", "client_key"};

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

/* --- endpoints --- */

/* "scheme://host:port" of an address; NULL: it names no host. The caller frees it. */
static char *origin_of(const char *text)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *origin = NULL;
    AUTO_FREE char *full = xasprintf("%s%s", strstr(text, "://") ? "" : "https://", text);

    if (curl_url_set(url, CURLUPART_URL, full, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && *host) {
        bool known = curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
        origin = xasprintf("%s://%s%s%s", scheme, host, known ? ":" : "", known ? port : "");
    }
    explicit_bzero(full, strlen(full));
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    return origin;
}

static bool is_clear(const char *endpoint)
{
    static const char *const schemes[] = {"http:", "ftp:", "webdav:", "dav:"};

    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (strncasecmp(endpoint, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

void store_logins_add(json_t *logins, const char *endpoint, bool secret)
{
    AUTO_FREE char *origin = origin_of(endpoint);

    if (origin)
        json_array_append_new(logins,
            json_pack("{s:s, s:b}", "endpoint", origin, "clear", secret && is_clear(origin)));
}

/* The next member that names an endpoint; NULL: no more. */
static const char *next_endpoint(
    const struct store_driver *driver, const json_t *location, size_t *at)
{
    while (driver->endpoints && driver->endpoints[*at]) {
        const char *text = store_location_text(location, driver->endpoints[(*at)++]);
        if (text && *text && !json_is_string(location))
            return text;
    }
    return NULL;
}

/* The operator's entry for an endpoint; NULL: none. */
static const json_t *trusted_entry(const json_t *trusted, const char *endpoint)
{
    AUTO_FREE char *origin = origin_of(endpoint);
    const json_t *entry;
    size_t i;

    json_array_foreach (trusted, i, entry) {
        const char *url = store_location_text(entry, "url");
        AUTO_FREE char *its = url ? origin_of(url) : NULL;
        if (its && origin && strcasecmp(its, origin) == 0)
            return entry;
    }
    return NULL;
}

/* A location whose endpoints the operator has all named is trusted like the operator's own. */
static void apply_trusted(
    const struct store_driver *driver, json_t *location, const json_t *trusted)
{
    bool all = true, insecure = false;
    const char *endpoint;
    size_t at = 0, count = 0;

    while ((endpoint = next_endpoint(driver, location, &at)) != NULL) {
        const json_t *word = trusted_entry(trusted, endpoint);
        count++;
        all = all && word;
        insecure = insecure || json_flag(word, "insecure");
    }
    if (!count || !all)
        return;
    json_object_del(location, source_member);
    if (insecure)
        json_object_set_new(location, "insecure", json_true());
}

/* --- locations of a CCS file --- */

static int check_member(const char *key, const json_t *value, struct err *err)
{
    const char *text = json_string_value(value);

    if (is_one_of(key, own_members, ARRAY_SIZE(own_members))) {
        err_set(err, ERR_CHECK,
            "the CCS file has '%s', which refers to this machine, in a backup location", key);
        return err_hint(err, "Only the hosts file may have it: give the location in its "
                             "\"sources\", or with --source.");
    }
    if (json_is_object(value) || json_is_array(value)) {
        err_set(err, ERR_CHECK, "'%s' of a backup location in the CCS file is not a text", key);
        return err_hint(err,
            "{\"env\": …} and {\"file\": …} count only in the hosts file: give the "
            "location in its \"sources\", or with --source.");
    }
    if (!is_one_of(key, pem_members, ARRAY_SIZE(pem_members)) || !text || !*text ||
        strstr(text, "-----BEGIN "))
        return 0;
    err_set(err, ERR_CHECK, "'%s' of a backup location in the CCS file is not a certificate in PEM",
        key);
    return err_hint(err, "The path of a file counts only in the hosts file: give the location in "
                         "its \"sources\".");
}

json_t *store_location_of_ccs(const json_t *location, const json_t *trusted, struct err *err)
{
    const struct store_driver *driver = store_driver_of(location, err);
    json_t *kept = json_object(), *members, *value;
    const char *key;

    if (!driver)
        goto fail;
    if (driver->members)
        members = driver->members(location, err);
    else
        members = json_is_object(location)
                      ? json_deep_copy(location)
                      : json_pack("{s:O}", driver == &store_file_driver ? "path" : "url", location);
    if (!members)
        goto fail;
    json_object_foreach (members, key, value) {
        if (check_member(key, value, err) < 0) {
            json_decref(members);
            goto fail;
        }
        if (is_one_of(key, ccs_members, ARRAY_SIZE(ccs_members)))
            json_object_set(kept, key, value);
    }
    json_decref(members);
    if (!json_object_get(kept, "type") && json_object_get(kept, "path"))
        json_object_set_new(kept, "type", json_string("mount_point"));
    json_object_set_new(kept, source_member, json_string(ccs_word));
    apply_trusted(driver, kept, trusted);
    return kept;
fail:
    json_decref(kept);
    return NULL;
}

bool store_location_is_of_ccs(const json_t *location)
{
    const char *from = json_text(location, source_member, NULL);
    return from && strcmp(from, ccs_word) == 0;
}

bool store_location_is_insecure(const json_t *location)
{
    const json_t *value = json_object_get(location, "insecure");
    const char *text = json_string_value(value);
    return json_is_true(value) || (text && strcmp(text, "true") == 0);
}

/* --- logins --- */

/* Resolves {"env": …} and {"file": …}. */
static int read_secrets(json_t *location, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach (location, key, value) {
        if (!json_is_object(value))
            continue;
        struct secret *secret = secret_from_json(value, key, err);
        if (!secret)
            return -1;
        json_object_set_new(location, key, json_string(secret_reveal(secret)));
        secret_free(secret);
    }
    return 0;
}

json_t *store_logins(const json_t *resolved)
{
    struct err unknown = ERR_INIT;
    const struct store_driver *driver = store_driver_of(resolved, &unknown);
    json_t *logins = json_array();

    if (driver && driver->logins)
        driver->logins(resolved, logins);
    return logins;
}

static int refuse_clear(const json_t *resolved, const char *endpoint, struct err *err)
{
    err_set(err, ERR_CHECK, "'%s' would get the login in clear text", endpoint);
    if (store_location_is_of_ccs(resolved))
        return err_hint(err,
            "Only the CCS file names it. If its network is safe, write in the hosts file: "
            "\"trusted_endpoints\": [{\"url\": \"%s\", \"insecure\": true}].",
            endpoint);
    return err_hint(err,
        "Use TLS (https, ftps, sftp). If its network is safe, add \"insecure\": true "
        "to the location in the hosts file, or --insecure.");
}

static int check_clear(const json_t *resolved, struct err *err)
{
    json_t *logins = store_logins(resolved), *login;
    int rc = 0;
    size_t i;

    json_array_foreach (logins, i, login)
        if (rc == 0 && json_flag(login, "clear") && !store_location_is_insecure(resolved))
            rc = refuse_clear(resolved, json_text(login, "endpoint", NULL), err);
    json_decref(logins);
    return rc;
}

/* An operator's private key stays on this machine, which relays the files, unless shared. */
static void keep_keys_here(json_t *location)
{
    bool key = json_object_get(location, "client_key") ||
               json_object_get(location, "key_password") ||
               (store_location_text(location, "key") &&
                   strstr(store_location_text(location, "key"), "PRIVATE KEY"));

    if (key && !store_location_is_of_ccs(location) && !json_flag(location, "share_login"))
        json_object_set_new(location, "relay", json_true());
}

static char *operators_key;

void store_resolve_with_key(const char *text)
{
    free(operators_key);
    operators_key = xstrdup(text);
}

static json_t *add_key(json_t *resolved)
{
    if (!operators_key || !resolved)
        return resolved;
    if (!json_is_object(resolved)) {
        json_t *object = json_pack("{s:o}", "url", resolved);
        resolved = object;
    }
    json_object_set_new(resolved, STORE_DECRYPT_KEY, json_string(operators_key));
    return resolved;
}

json_t *store_resolve_location(const json_t *location, struct err *err)
{
    const struct store_driver *driver = store_driver_of(location, err);
    size_t at = 0;

    if (!driver)
        return NULL;
    if (!json_is_object(location) && !driver->resolve)
        return add_key(json_deep_copy(location));
    json_t *resolved = driver->members            ? driver->members(location, err)
                       : json_is_object(location) ? json_deep_copy(location)
                                                  : json_pack("{s:O}", "url", location);
    if (!resolved)
        return NULL;
    bool own = !store_location_is_of_ccs(resolved) || !next_endpoint(driver, resolved, &at);
    if ((!store_location_is_of_ccs(resolved) && read_secrets(resolved, err) < 0) ||
        (driver->resolve && driver->resolve(resolved, own, err) < 0) ||
        check_clear(resolved, err) < 0) {
        json_decref(resolved);
        return NULL;
    }
    keep_keys_here(resolved);
    return add_key(resolved);
}

struct store *store_open_resolved(const json_t *location, struct err *err)
{
    json_t *resolved = store_resolve_location(location, err);
    struct store *s = resolved ? store_open(resolved, err) : NULL;

    json_decref(resolved);
    return s;
}

char *store_location_shown(const json_t *location)
{
    json_t *masked = secret_mask_json(location);

    if (json_is_object(masked))
        json_object_del(masked, source_member);
    char *text = json_is_string(masked) ? xstrdup(json_string_value(masked))
                                        : json_dumps(masked, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(masked);
    return text;
}
