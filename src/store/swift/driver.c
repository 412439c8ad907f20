#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "recluster/json.h"
#include "swift.h"

/*
 * OpenStack Swift: "swift://container/prefix", or an object with "container", "prefix", "auth_url"
 * and how to log in there:
 *     "user", "key"                     TempAuth, as a CCS has it ("account:user")
 *     "user", "key", "project", "user_domain", "project_domain", "region_name"
 *                                       Keystone; "user_id" and "project_id" do too
 *     "application_credential_id", "application_credential_secret"        Keystone
 *     "storage_url", "token"            no login at all
 * "auth_version" ("1" or "3") decides where the address and the rest leave it open.
 */

static const struct cloud_form form = {
    .scheme = "swift",
    .words = {"container"},
    .prefix = "prefix",
    .query = {"auth_url", "auth_version", "user", "project", "user_domain", "project_domain",
        "region_name", "storage_url", "ca_file", "page_size", "timeout", "insecure"},
    .endpoints = {"auth_url", "storage_url"},
    .example = "swift://container/folder?auth_url=https://keystone:5000/v3",
};

/* --- the list --- */

static int add_files(const struct swift_store *s, const json_t *page, struct store_list *list,
    char **ret_last, struct err *err)
{
    size_t prefix_len = strlen(s->prefix);

    for (size_t i = 0; i < json_array_size(page); i++) {
        const json_t *item = json_array_get(page, i);
        const char *name = cloud_text(item, "name"), *subdir = cloud_text(item, "subdir");
        const char *modified = cloud_text(item, "last_modified");
        json_int_t bytes = json_integer_value(json_object_get(item, "bytes"));
        if (!name && !subdir)
            return err_set(err, ERR_PROTOCOL, "'%s' gave a list with nameless files", s->label);
        free(*ret_last);
        *ret_last = xstrdup(name ? name : subdir);
        /* The list has 0 for an object that is in segments by their common prefix. */
        if (name && strncmp(name, s->prefix, prefix_len) == 0)
            store_list_add(list, name + prefix_len, strlen(name) - prefix_len,
                bytes > 0 ? bytes : -1, modified ? cloud_time_ms(modified) : -1);
    }
    return 0;
}

/* *marker: the last name of the page before; on return of this one, NULL if there was none. */
static int list_page(struct swift_store *s, struct store_list *list, char **marker, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    struct buf query = BUF_INIT;

    buf_addf(&query, "format=json&delimiter=%%2F&limit=%d&prefix=", s->page_size);
    http_encode(&query, s->prefix, false);
    if (*marker) {
        buf_adds(&query, "&marker=");
        http_encode(&query, *marker, false);
    }
    const struct swift_request request = {.query = query.data};
    free(*marker);
    *marker = NULL;
    int rc = swift_send(s, &request, &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status))
        rc = swift_error(s, &request, &reply, err);
    if (rc == 0 && reply.status != 204) {
        json_t *page = json_read(reply.text.data, reply.text.len, 0, "the list", err);
        if (!page)
            rc = err_wrap(err, "'%s'", s->label);
        else
            rc = json_is_array(page) ? add_files(s, page, list, marker, err)
                                     : err_set(err, ERR_PROTOCOL,
                                           "'%s' gave a list that is not a JSON array", s->label);
        json_decref(page);
    }
    buf_release(&query);
    http_reply_release(&reply);
    return rc;
}

/* A page may be shorter than asked for: only an empty one is the end. */
static int swift_list(void *handle, struct store_list *list, struct err *err)
{
    struct swift_store *s = handle;
    struct store_pages pages = {.list = list};
    char *marker = NULL;
    int rc;

    do {
        rc = list_page(s, list, &marker, err);
        if (rc == 0 && marker)
            rc = store_pages_next(&pages, marker, s->label, err);
    } while (rc == 0 && marker);
    store_pages_release(&pages);
    free(marker);
    return rc;
}

/* --- objects --- */

static int swift_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct swift_store *s = handle;
    CLEANUP(free_ptr) char *path = xasprintf("%s%s", s->prefix, name);
    const struct swift_request request = {
        .path = path, .to = receiver, .offset = offset, .length = length};
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = swift_send(s, &request, &reply, err);
    if (rc == 0 && !http_status_is_object(reply.status))
        rc = swift_error(s, &request, &reply, err);
    http_reply_release(&reply);
    return rc;
}

static int64_t swift_retry_after_ms(const void *handle)
{
    const struct swift_store *s = handle;
    return http_retry_after_ms(s->client);
}

/* --- the handle --- */

static void swift_close(void *handle)
{
    struct swift_store *s = handle;

    http_client_free(s->client);
    json_decref(s->login);
    secret_free(s->token);
    free(s->container);
    free(s->prefix);
    free(s->label);
    free(s->storage_url);
    free(s);
}

static void *swift_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &form, err);
    if (!object)
        return NULL;
    struct swift_store *s = xcalloc(1, sizeof(*s));
    const char *storage_url = cloud_text(object, "storage_url");
    s->container = xstrdup(cloud_text(object, "container"));
    s->prefix = cloud_prefix(object, "prefix");
    s->label = xasprintf("swift://%s/%s", s->container, s->prefix);
    s->page_size = cloud_page_size(object, 10000);
    s->client = http_client_new(object, err);
    if (!s->client || cloud_secret(object, "token", &s->token, err) < 0) {
        json_decref(object);
        swift_close(s);
        return NULL;
    }
    /* A token goes to nobody else. */
    http_client_stay(s->client);
    if (storage_url && !cloud_text(object, "auth_url")) {
        s->storage_url = cloud_endpoint(storage_url);
        json_decref(object);
    } else {
        s->login = object;
        s->insecure = store_location_is_insecure(object);
    }
    *ret_label = xstrdup(s->label);
    return s;
}

/* --- credentials --- */

static json_t *swift_members(const json_t *location, struct err *err)
{
    return cloud_location(location, &form, err);
}

static int swift_resolve(json_t *location, bool own, struct err *err)
{
    static const struct {
        const char *key, *variable;
    } variables[] = {
        {"auth_url", "OS_AUTH_URL"},
        {"auth_url", "ST_AUTH"},
        {"auth_version", "OS_IDENTITY_API_VERSION"},
        {"user_id", "OS_USER_ID"},
        {"user", "OS_USERNAME"},
        {"user", "ST_USER"},
        {"key", "OS_PASSWORD"},
        {"key", "ST_KEY"},
        {"project", "OS_PROJECT_NAME"},
        {"project", "OS_TENANT_NAME"},
        {"project_id", "OS_PROJECT_ID"},
        {"user_domain", "OS_USER_DOMAIN_NAME"},
        {"project_domain", "OS_PROJECT_DOMAIN_NAME"},
        {"application_credential_id", "OS_APPLICATION_CREDENTIAL_ID"},
        {"application_credential_secret", "OS_APPLICATION_CREDENTIAL_SECRET"},
        {"region_name", "OS_REGION_NAME"},
        {"storage_url", "OS_STORAGE_URL"},
        {"token", "OS_AUTH_TOKEN"},
        {"ca_file", "OS_CACERT"},
    };

    (void)err;
    if (!own)
        return 0;
    /* A location that has a login of its own isn't mixed with another. */
    bool complete = json_object_get(location, "key") || json_object_get(location, "token") ||
                    json_object_get(location, "application_credential_secret");
    for (size_t i = 0; i < ARRAY_SIZE(variables) && !complete; i++)
        cloud_from_environment(location, variables[i].key, variables[i].variable);
    return 0;
}

/* The address that the login's answer names is looked at when it is there: swift_login.c. */
static void swift_logins(const json_t *location, json_t *logins)
{
    const char *auth_url = cloud_text(location, "auth_url");
    const char *storage_url = cloud_text(location, "storage_url");

    if (auth_url)
        store_logins_add(logins, auth_url, true);
    if (storage_url && (auth_url || json_object_get(location, "token")))
        store_logins_add(logins, storage_url, true);
}

static const char *const kinds[] = {"swift", NULL};

const struct store_driver store_swift_driver = {
    .kinds = kinds,
    .open = swift_open,
    .close = swift_close,
    .list = swift_list,
    .read = swift_read,
    .retry_after_ms = swift_retry_after_ms,
    .write_begin = swift_write_begin,
    .write_part = swift_write_part,
    .write_commit = swift_write_commit,
    .write_end = swift_write_end,
    .part_bytes = 32 << 20,
    .parts_max = 1000, /* in a manifest, as Swift is set up */
    .remove = swift_remove,
    .members = swift_members,
    .endpoints = form.endpoints,
    .resolve = swift_resolve,
    .logins = swift_logins,
};
