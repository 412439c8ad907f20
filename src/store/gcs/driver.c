#include <stdlib.h>
#include <string.h>

#include "gcs.h"
#include "recluster/file.h"
#include "recluster/json.h"

/*
 * Google Cloud Storage: "gs://bucket/prefix", or an object with "bucket_name", "subdir" and one of
 *     "client_email", "private_key", "private_key_id"       a service account, as in a CCS
 *     "client_id", "client_secret", "refresh_token"         a person's application
 *     "credentials_file"                                    the path of either's key file
 *     "access_key_id", "secret_access_key"                  HMAC keys (s3/gcs_xml_driver.c)
 * and "endpoint" and "token_uri" for servers other than Google's.
 */

const struct cloud_form gcs_form = {
    .scheme = "gs",
    .words = {"bucket_name"},
    .prefix = "subdir",
    .query = {"endpoint", "token_uri", "credentials_file", "ca_file", "page_size", "timeout",
        "insecure", "storage_class"},
    .endpoints = {"endpoint", "token_uri"},
    .example = "gs://bucket/folder",
};

static const char google_storage[] = "https://storage.googleapis.com";
static const char google_tokens[] = "https://oauth2.googleapis.com/token";

/* --- the list --- */

static void gcs_page_query(const struct cloud *c, const char *token, struct cloud_request *r)
{
    cloud_query(r, "delimiter", "/");
    cloud_query(r, "maxResults", c->page_size);
    cloud_query(r, "pageToken", token);
    cloud_query(r, "prefix", c->prefix);
}

static int add_items(
    const struct cloud *c, const json_t *answer, struct store_list *list, struct err *err)
{
    const json_t *items = json_object_get(answer, "items");
    size_t prefix_len = strlen(c->prefix);

    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *name = cloud_text(item, "name");
        const char *size = cloud_text(item, "size");
        const char *updated = cloud_text(item, "updated");
        if (!name || strncmp(name, c->prefix, prefix_len) != 0)
            return err_set(err, ERR_PROTOCOL, "'%s' gave a list with nameless files", c->label);
        store_list_add(list, name + prefix_len, strlen(name) - prefix_len,
            size ? strtoll(size, NULL, 10) : -1, updated ? cloud_time_ms(updated) : -1);
    }
    return 0;
}

static int gcs_read_page(struct cloud *c, const struct http_reply *reply, struct store_list *list,
    char **ret_next, struct err *err)
{
    json_t *answer = json_read(reply->text.data, reply->text.len, 0, "the list", err);
    int rc = 0;

    if (!answer)
        return err_wrap(err, "'%s'", c->label);
    if (!json_is_object(answer))
        rc = err_set(err, ERR_PROTOCOL, "'%s' gave a list that is not a JSON object", c->label);
    if (rc == 0)
        rc = add_items(c, answer, list, err);
    const char *next = cloud_text(answer, "nextPageToken");
    if (rc == 0 && next)
        *ret_next = xstrdup(next);
    json_decref(answer);
    return rc;
}

/* --- the handle --- */

static void gcs_release(struct cloud *c)
{
    struct gcs_store *g = (struct gcs_store *)c; /* must be first */

    secret_free(g->private_key);
    secret_free(g->client_secret);
    secret_free(g->refresh_token);
    secret_free(g->token);
    free(g->endpoint);
    free(g->token_uri);
    free(g->email);
    free(g->key_id);
    free(g->client_id);
    free(g->storage_class);
}

static const struct cloud_protocol gcs_protocol = {
    .send = gcs_send,
    .error = gcs_error,
    .page_query = gcs_page_query,
    .read_page = gcs_read_page,
    .release = gcs_release,
    .read_query = {"alt", "media"},
};

static char *dup_text(const json_t *location, const char *key)
{
    const char *text = cloud_text(location, key);
    return text ? xstrdup(text) : NULL;
}

static int read_login(struct gcs_store *g, const json_t *location, struct err *err)
{
    const char *token_uri = cloud_text(location, "token_uri");

    g->token_uri = xstrdup(token_uri ? token_uri : google_tokens);
    g->email = dup_text(location, "client_email");
    g->key_id = dup_text(location, "private_key_id");
    g->client_id = dup_text(location, "client_id");
    if (cloud_secret(location, "private_key", &g->private_key, err) < 0 ||
        cloud_secret(location, "client_secret", &g->client_secret, err) < 0 ||
        cloud_secret(location, "refresh_token", &g->refresh_token, err) < 0)
        return -1;
    if (g->private_key && !g->email)
        return err_set(err, ERR_USAGE, "a 'private_key' needs its 'client_email'");
    if (g->refresh_token && !(g->client_id && g->client_secret))
        return err_set(
            err, ERR_USAGE, "a 'refresh_token' needs its 'client_id' and 'client_secret'");
    return 0;
}

static int read_key_file(json_t *location, const char *path, struct err *err)
{
    static const char *const members[] = {"client_email", "private_key", "private_key_id",
        "client_id", "client_secret", "refresh_token", "token_uri"};
    AUTO_FREE char *real = path_expand_home(path);
    struct buf text = BUF_INIT;

    int rc = file_read(real, 1 << 20, &text, err);
    json_t *key = rc == 0 ? json_read_quietly(text.data, text.len, 0) : NULL;
    const char *type = cloud_text(key, "type");
    if (rc == 0 && !json_is_object(key)) {
        rc = err_set(err, ERR_USAGE, "'%s' is not a JSON file of Google credentials", real);
    } else if (rc == 0 && type && strcmp(type, "service_account") != 0 &&
               strcmp(type, "authorized_user") != 0) {
        err_set(err, ERR_UNSUPPORTED, "'%s' holds credentials of the type '%s'", real, type);
        rc = err_hint(err, "Use a key file of a service account.");
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(key, members[i]);
        if (value && !json_object_get(location, members[i]))
            json_object_set(location, members[i], value);
    }
    json_decref(key);
    if (text.alloc)
        explicit_bzero(text.data, text.alloc);
    buf_release(&text);
    return rc;
}

static void *gcs_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &gcs_form, err);
    if (!object)
        return NULL;
    struct gcs_store *g = xcalloc(1, sizeof(*g));
    const char *endpoint = cloud_text(object, "endpoint"), *storage_class = NULL;
    AUTO_FREE char *prefix = cloud_prefix(object, "subdir");
    const struct cloud_names names = {
        .bucket = cloud_text(object, "bucket_name"),
        .prefix = prefix,
        .label = xasprintf("gs://%s/%s", cloud_text(object, "bucket_name"), prefix),
        .page_size = cloud_page_size(object, 1000),
    };
    g->endpoint = cloud_endpoint(endpoint ? endpoint : google_storage);
    bool ok = cloud_set_up(&g->cloud, &gcs_protocol, &names, object, err) == 0 &&
              read_login(g, object, err) == 0 &&
              cloud_word(object, "storage_class", &storage_class, err) == 0;
    g->storage_class = ok && storage_class ? xstrdup(storage_class) : NULL;
    json_decref(object);
    if (!ok) {
        cloud_close(g);
        return NULL;
    }
    *ret_label = xstrdup(g->cloud.label);
    return g;
}

/* --- credentials --- */

static bool has_login(const json_t *location)
{
    return json_object_get(location, "private_key") || json_object_get(location, "refresh_token") ||
           json_object_get(location, "access_key_id");
}

json_t *gcs_members(const json_t *location, struct err *err)
{
    return cloud_location(location, &gcs_form, err);
}

int gcs_resolve(json_t *location, bool own, struct err *err)
{
    static const char usual[] = "~/.config/gcloud/application_default_credentials.json";

    if (!own)
        return 0;
    cloud_from_environment(location, "endpoint", "STORAGE_EMULATOR_HOST");
    if (!has_login(location))
        cloud_from_environment(location, "credentials_file", "GOOGLE_APPLICATION_CREDENTIALS");
    AUTO_FREE char *home = path_expand_home(usual);
    if (!has_login(location) && !json_object_get(location, "credentials_file") && file_exists(home))
        json_object_set_new(location, "credentials_file", json_string(home));
    const char *file = cloud_text(location, "credentials_file");
    if (file && read_key_file(location, file, err) < 0)
        return err_wrap(err, "'%s'", "credentials_file");
    json_object_del(location, "credentials_file");
    return 0;
}

/* A service account signs a claim that is valid for an hour, like a token. */
static void gcs_logins(const json_t *location, json_t *logins)
{
    const char *endpoint = cloud_text(location, "endpoint");
    const char *token_uri = cloud_text(location, "token_uri");

    if (!has_login(location))
        return;
    store_logins_add(logins, token_uri ? token_uri : google_tokens, true);
    store_logins_add(logins, endpoint ? endpoint : google_storage, true);
}

static const char *const kinds[] = {"gs", "gcs", NULL};

const struct store_driver store_gcs_driver = {
    .kinds = kinds,
    .open = gcs_open,
    .close = cloud_close,
    .list = cloud_list,
    .read = cloud_read,
    .retry_after_ms = cloud_retry_after_ms,
    .write_begin = gcs_write_begin,
    .write_part = gcs_write_part,
    .write_commit = gcs_write_commit,
    .write_end = gcs_write_end,
    .part_bytes = 8 << 20, /* must be a multiple of 256 KiB */
    .remove = cloud_remove,
    .members = gcs_members,
    .endpoints = gcs_form.endpoints,
    .resolve = gcs_resolve,
    .logins = gcs_logins,
};
