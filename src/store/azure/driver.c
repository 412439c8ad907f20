#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "../cloud/xml.h"
#include "azure.h"

/*
 * Azure Blob Storage: "azure://account/container/prefix", or an object of the type "abs" (as a CCS
 * has it) or "azure" with "account_name", "container", "subdir", "account_key" or "sas_token", and
 * "endpoint" for other places than Azure's own.
 */

static const struct cloud_form form = {
    .scheme = "azure",
    .words = {"account_name", "container"},
    .prefix = "subdir",
    .query = {"endpoint", "ca_file", "page_size", "timeout", "insecure"},
    .endpoints = {"endpoint"},
    .example = "azure://account/container/folder",
};

/* --- the list --- */

struct listing {
    struct azure_store *a;
    struct store_list *list;
    char *name, *marker;
    int64_t bytes, modified_ms;
};

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

static void on_element(void *arg, const char *path, const char *text)
{
    struct listing *l = arg;
    static const char entry[] = "EnumerationResults/Blobs/Blob";
    size_t prefix_len = strlen(l->a->prefix);

    if (strcmp(path, "EnumerationResults/NextMarker") == 0)
        set_text(&l->marker, text);
    if (strncmp(path, entry, sizeof(entry) - 1) != 0)
        return;
    const char *member = path + sizeof(entry) - 1;
    if (strcmp(member, "/Name") == 0) {
        set_text(&l->name, text);
    } else if (strcmp(member, "/Properties/Content-Length") == 0) {
        l->bytes = strtoll(text, NULL, 10);
    } else if (strcmp(member, "/Properties/Last-Modified") == 0) {
        time_t seconds = curl_getdate(text, NULL);
        l->modified_ms = seconds < 0 ? -1 : (int64_t)seconds * 1000;
    } else if (!*member) {
        if (l->name && strncmp(l->name, l->a->prefix, prefix_len) == 0)
            store_list_add(l->list, l->name + prefix_len, strlen(l->name) - prefix_len, l->bytes,
                l->modified_ms);
        set_text(&l->name, "");
        l->bytes = l->modified_ms = -1;
    }
}

static int list_page(struct listing *l, struct http_reply *reply, struct err *err)
{
    struct azure_request request = {.query = {{"comp", "list"}, {"delimiter", "/"}}};
    CLEANUP(free_ptr) char *size = xasprintf("%d", l->a->page_size);
    CLEANUP(free_ptr) char *marker = l->marker;
    size_t n = 2;

    l->marker = NULL;
    if (marker) {
        request.query[n][0] = "marker";
        request.query[n++][1] = marker;
    }
    request.query[n][0] = "maxresults";
    request.query[n++][1] = size;
    request.query[n][0] = "prefix";
    request.query[n++][1] = l->a->prefix;
    request.query[n][0] = "restype";
    request.query[n++][1] = "container";
    if (azure_send(l->a, &request, reply, err) < 0)
        return -1;
    if (reply->status != 200)
        return azure_error(l->a, &request, reply, err);
    return xml_walk(reply->text.data, reply->text.len, l->a->label, on_element, l, err);
}

static int azure_list(void *handle, struct store_list *list, struct err *err)
{
    struct listing l = {.a = handle, .list = list, .bytes = -1, .modified_ms = -1};
    struct http_reply reply = HTTP_REPLY_INIT;
    int rc;

    struct store_pages pages = {.list = list};

    do {
        rc = list_page(&l, &reply, err);
        if (rc == 0 && l.marker && *l.marker)
            rc = store_pages_next(&pages, l.marker, l.a->label, err);
    } while (rc == 0 && l.marker && *l.marker);
    store_pages_release(&pages);
    free(l.name);
    free(l.marker);
    http_reply_release(&reply);
    return rc;
}

/* --- objects --- */

static int azure_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    const struct azure_request request = {
        .name = name, .to = receiver, .offset = offset, .length = length};
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = azure_send(handle, &request, &reply, err);
    if (rc == 0 && !http_status_is_object(reply.status))
        rc = azure_error(handle, &request, &reply, err);
    http_reply_release(&reply);
    return rc;
}

static int azure_remove(void *handle, const char *name, struct err *err)
{
    return azure_do(handle, &(struct azure_request){.method = "DELETE", .name = name}, err);
}

static int64_t azure_retry_after_ms(const void *handle)
{
    const struct azure_store *a = handle;
    return http_retry_after_ms(a->client);
}

/* --- the handle --- */

static void azure_close(void *handle)
{
    struct azure_store *a = handle;

    http_client_free(a->client);
    secret_free(a->key);
    secret_free(a->sas);
    free(a->account);
    free(a->container);
    free(a->prefix);
    free(a->label);
    free(a->endpoint);
    free(a);
}

/* The account becomes a part of the host's name. */
static int check_account(const char *account, struct err *err)
{
    if (strspn(account, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(account))
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is no name of a storage account", account);
}

static int set_up(struct azure_store *a, const json_t *location, struct err *err)
{
    const char *endpoint = cloud_text(location, "endpoint");

    a->account = xstrdup(cloud_text(location, "account_name"));
    a->container = xstrdup(cloud_text(location, "container"));
    a->prefix = cloud_prefix(location, "subdir");
    a->label = xasprintf("azure://%s/%s/%s", a->account, a->container, a->prefix);
    a->endpoint = endpoint ? cloud_endpoint(endpoint)
                           : xasprintf("https://%s.blob.core.windows.net", a->account);
    a->page_size = cloud_page_size(location, 5000);
    a->client = http_client_new(location, err);
    if (!a->client || check_account(a->account, err) < 0 ||
        cloud_secret(location, "account_key", &a->key, err) < 0 ||
        (!a->key && cloud_secret(location, "sas_token", &a->sas, err) < 0))
        return -1;
    /* A signature, and a token, are good for one place only. */
    http_client_stay(a->client);
    return 0;
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
        azure_close(a);
        return NULL;
    }
    *ret_label = xstrdup(a->label);
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
 * Keys in the environment are of one account: other locations do without them. Where the
 * environment does not name the account, an account of a CCS file may be anybody's.
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
    CLEANUP(free_ptr)
    char *provider =
        xasprintf("https://%s.blob.core.windows.net", cloud_text(location, "account_name"));
    bool key = json_object_get(location, "account_key") != NULL;

    if (key || json_object_get(location, "sas_token"))
        store_logins_add(logins, endpoint ? endpoint : provider, !key);
}

static const char *const kinds[] = {"abs", "azure", NULL};

const struct store_driver store_azure_driver = {
    .kinds = kinds,
    .open = azure_open,
    .close = azure_close,
    .list = azure_list,
    .read = azure_read,
    .retry_after_ms = azure_retry_after_ms,
    .write_begin = azure_write_begin,
    .write_part = azure_write_part,
    .write_commit = azure_write_commit,
    .write_end = azure_write_end,
    .part_bytes = 8 << 20,
    .parts_max = 50000,
    .remove = azure_remove,
    .members = azure_members,
    .endpoints = form.endpoints,
    .resolve = azure_resolve,
    .logins = azure_logins,
};
