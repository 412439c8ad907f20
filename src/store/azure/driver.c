#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "../cloud/xml_list.h"
#include "azure.h"

/*
 * Azure Blob Storage: "azure://account/container/prefix", or an object of the type "abs" (as in a
 * CCS) or "azure" with "account_name", "container", "subdir", "account_key" or "sas_token", and
 * "endpoint" for servers other than Azure's.
 */

static const struct cloud_form form = {
    .scheme = "azure",
    .words = {"account_name", "container"},
    .prefix = "subdir",
    .query = {"endpoint", "ca_file", "page_size", "timeout", "insecure", "storage_class"},
    .endpoints = {"endpoint"},
    .example = "azure://account/container/folder",
};

/* --- the list --- */

static void azure_page_query(const struct cloud *c, const char *token, struct cloud_request *r)
{
    cloud_query(r, "comp", "list");
    cloud_query(r, "delimiter", "/");
    cloud_query(r, "marker", token);
    cloud_query(r, "maxresults", c->page_size);
    cloud_query(r, "prefix", c->prefix);
    cloud_query(r, "restype", "container");
}

/* "Wed, 09 Sep 2009 09:20:02 GMT" */
static int64_t date_ms(const char *text)
{
    time_t seconds = curl_getdate(text, NULL);

    return seconds < 0 ? -1 : (int64_t)seconds * 1000;
}

static int azure_read_page(struct cloud *c, const struct http_reply *reply, struct store_list *list,
    char **ret_next, struct err *err)
{
    static const struct xml_list_form list_form = {
        .entry = "EnumerationResults/Blobs/Blob",
        .name = "/Name",
        .bytes = "/Properties/Content-Length",
        .modified = "/Properties/Last-Modified",
        .next = "EnumerationResults/NextMarker",
        .time_ms = date_ms,
    };

    return xml_list_read(&list_form, c, reply, list, ret_next, err);
}

/* --- the handle --- */

static void azure_release(struct cloud *c)
{
    struct azure_store *a = (struct azure_store *)c; /* must be first */

    secret_free(a->key);
    secret_free(a->sas);
    free(a->account);
    free(a->endpoint);
    free(a->tier);
}

static const struct cloud_protocol azure_protocol = {
    .send = azure_send,
    .error = azure_error,
    .page_query = azure_page_query,
    .read_page = azure_read_page,
    .release = azure_release,
};

/* The account becomes a part of the host name. */
static int check_account(const char *account, struct err *err)
{
    if (strspn(account, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(account))
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not the name of a storage account", account);
}

static int set_up(struct azure_store *a, const json_t *location, struct err *err)
{
    const char *endpoint = cloud_text(location, "endpoint");
    const char *container = cloud_text(location, "container"), *tier;
    AUTO_FREE char *prefix = cloud_prefix(location, "subdir");

    a->account = xstrdup(cloud_text(location, "account_name"));
    a->endpoint = endpoint ? cloud_endpoint(endpoint)
                           : xasprintf("https://%s.blob.core.windows.net", a->account);
    const struct cloud_names names = {
        .bucket = container,
        .prefix = prefix,
        .label = xasprintf("azure://%s/%s/%s", a->account, container, prefix),
        .page_size = cloud_page_size(location, 5000),
    };
    if (cloud_set_up(&a->cloud, &azure_protocol, &names, location, err) < 0 ||
        check_account(a->account, err) < 0 ||
        cloud_secret(location, "account_key", &a->key, err) < 0 ||
        cloud_word(location, "storage_class", &tier, err) < 0)
        return -1;
    a->tier = tier ? xasprintf("x-ms-access-tier:%s", tier) : NULL;
    return a->key ? 0 : cloud_secret(location, "sas_token", &a->sas, err);
}

static void *azure_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &form, err);
    if (!object)
        return NULL;
    struct azure_store *a = xcalloc(1, sizeof(*a));
    int rc = set_up(a, object, err);
    json_decref(object);
    if (rc < 0) {
        cloud_close(a);
        return NULL;
    }
    *ret_label = xstrdup(a->cloud.label);
    return a;
}

/* --- credentials --- */

/* A part of "AccountName=…;AccountKey=…;BlobEndpoint=…", a string or NULL. */
static json_t *connection_part(const char *text, const char *name)
{
    size_t name_len = strlen(name);

    for (; text && *text; text += strcspn(text, ";"), text += *text == ';')
        if (strncasecmp(text, name, name_len) == 0 && text[name_len] == '=')
            return json_stringn(text + name_len + 1, strcspn(text + name_len + 1, ";"));
    return NULL;
}

/*
 * Keys in the environment belong to one account; locations of other accounts do not get them. If
 * the environment does not name the account, a CCS file could name any.
 */
static bool is_account(const json_t *location, const char *account)
{
    if (!account || !*account)
        return !store_location_is_of_ccs(location);
    return strcmp(account, cloud_text(location, "account_name")) == 0;
}

static void take_connection_string(json_t *location, bool login)
{
    const char *text = getenv("AZURE_STORAGE_CONNECTION_STRING");
    json_t *account = connection_part(text, "AccountName");
    static const char *const parts[][2] = {{"endpoint", "BlobEndpoint"},
        {"account_key", "AccountKey"}, {"sas_token", "SharedAccessSignature"}};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        json_t *value = connection_part(text, parts[i][1]);
        bool wanted = is_account(location, json_string_value(account)) && (login || i == 0);
        if (value && wanted && !json_object_get(location, parts[i][0]))
            json_object_set(location, parts[i][0], value);
        json_decref(value);
    }
    json_decref(account);
}

static json_t *azure_members(const json_t *location, struct err *err)
{
    return cloud_location(location, &form, err);
}

static int azure_resolve(json_t *location, bool own, struct err *err)
{
    (void)err;
    if (!own)
        return 0;
    bool login =
        !json_object_get(location, "account_key") && !json_object_get(location, "sas_token");
    if (login && is_account(location, getenv("AZURE_STORAGE_ACCOUNT"))) {
        cloud_from_environment(location, "account_key", "AZURE_STORAGE_KEY");
        cloud_from_environment(location, "sas_token", "AZURE_STORAGE_SAS_TOKEN");
    }
    take_connection_string(location, login);
    return 0;
}

static void azure_logins(const json_t *location, json_t *logins)
{
    const char *endpoint = cloud_text(location, "endpoint");
    AUTO_FREE char *provider =
        xasprintf("https://%s.blob.core.windows.net", cloud_text(location, "account_name"));
    bool key = json_object_get(location, "account_key") != NULL;

    if (key || json_object_get(location, "sas_token"))
        store_logins_add(logins, endpoint ? endpoint : provider, !key);
}

static const char *const kinds[] = {"abs", "azure", NULL};

const struct store_driver store_azure_driver = {
    .kinds = kinds,
    .open = azure_open,
    .close = cloud_close,
    .list = cloud_list,
    .read = cloud_read,
    .retry_after_ms = cloud_retry_after_ms,
    .write_begin = azure_write_begin,
    .write_part = azure_write_part,
    .write_commit = azure_write_commit,
    .write_end = azure_write_end,
    .part_bytes = 8 << 20,
    .parts_max = 50000,
    .remove = cloud_remove,
    .members = azure_members,
    .endpoints = form.endpoints,
    .resolve = azure_resolve,
    .logins = azure_logins,
};
