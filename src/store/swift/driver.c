#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "recluster/json.h"
#include "swift.h"

/*
 * OpenStack Swift: "swift://container/prefix", or an object with "container", "prefix", "auth_url"
 * and a login:
 *     "user", "key"                     TempAuth, as in a CCS ("account:user")
 *     "user", "key", "project", "user_domain", "project_domain", "region_name"
 *                                       Keystone; "user_id" and "project_id" are allowed too
 *     "application_credential_id", "application_credential_secret"        Keystone
 *     "storage_url", "token"            no login at all
 * "auth_version" ("1" or "3") decides if the address and the other members do not.
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

static void swift_page_query(const struct cloud *c, const char *token, struct cloud_request *r)
{
    cloud_query(r, "delimiter", "/");
    cloud_query(r, "format", "json");
    cloud_query(r, "limit", c->page_size);
    cloud_query(r, "marker", token);
    cloud_query(r, "prefix", c->prefix);
}

/* *ret_last: the last name of the page, after which the next one begins. */
static int add_files(const struct cloud *c, const json_t *page, struct store_list *list,
    char **ret_last, struct err *err)
{
    size_t prefix_len = strlen(c->prefix);

    for (size_t i = 0; i < json_array_size(page); i++) {
        const json_t *item = json_array_get(page, i);
        const char *name = cloud_text(item, "name"), *subdir = cloud_text(item, "subdir");
        const char *modified = cloud_text(item, "last_modified");
        json_int_t bytes = json_int(item, "bytes", 0);
        if (!name && !subdir)
            return err_set(err, ERR_PROTOCOL, "'%s' gave a list with nameless files", c->label);
        free(*ret_last);
        *ret_last = xstrdup(name ? name : subdir);
        /* The list shows size 0 for an object whose segments have a common prefix. */
        if (name && strncmp(name, c->prefix, prefix_len) == 0)
            store_list_add(list, name + prefix_len, strlen(name) - prefix_len,
                bytes > 0 ? bytes : -1, modified ? cloud_time_ms(modified) : -1);
    }
    return 0;
}

/* A page may be shorter than requested: only an empty one is the end. */
static int swift_read_page(struct cloud *c, const struct http_reply *reply, struct store_list *list,
    char **ret_next, struct err *err)
{
    if (reply->status == 204)
        return 0;
    json_t *page = json_read(reply->text.data, reply->text.len, 0, "the list", err);
    if (!page)
        return err_wrap(err, "'%s'", c->label);
    int rc = json_is_array(page) ? add_files(c, page, list, ret_next, err)
                                 : err_set(err, ERR_PROTOCOL,
                                       "'%s' gave a list that is not a JSON array", c->label);
    json_decref(page);
    return rc;
}

/* --- the handle --- */

static void swift_release(struct cloud *c)
{
    struct swift_store *s = (struct swift_store *)c; /* must be first */

    json_decref(s->login);
    secret_free(s->token);
    free(s->storage_url);
}

static const struct cloud_protocol swift_protocol = {
    .send = swift_send,
    .error = swift_error,
    .page_query = swift_page_query,
    .read_page = swift_read_page,
    .release = swift_release,
};

static void *swift_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &form, err);
    if (!object)
        return NULL;
    struct swift_store *s = xcalloc(1, sizeof(*s));
    const char *storage_url = cloud_text(object, "storage_url");
    AUTO_FREE char *prefix = cloud_prefix(object, "prefix");
    const struct cloud_names names = {
        .bucket = cloud_text(object, "container"),
        .prefix = prefix,
        .label = xasprintf("swift://%s/%s", cloud_text(object, "container"), prefix),
        .page_size = cloud_page_size(object, 10000),
    };
    if (cloud_set_up(&s->cloud, &swift_protocol, &names, object, err) < 0 ||
        cloud_secret(object, "token", &s->token, err) < 0) {
        json_decref(object);
        cloud_close(s);
        return NULL;
    }
    if (storage_url && !cloud_text(object, "auth_url")) {
        s->storage_url = cloud_endpoint(storage_url);
        json_decref(object);
    } else {
        s->login = object;
        s->insecure = store_location_is_insecure(object);
    }
    *ret_label = xstrdup(s->cloud.label);
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
    /* A location with a login of its own gets no part of another. */
    bool complete = json_object_get(location, "key") || json_object_get(location, "token") ||
                    json_object_get(location, "application_credential_secret");
    for (size_t i = 0; i < ARRAY_SIZE(variables) && !complete; i++)
        cloud_from_environment(location, variables[i].key, variables[i].variable);
    return 0;
}

/* The address in the login's answer is checked when it arrives: login.c. */
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
    .close = cloud_close,
    .list = cloud_list,
    .read = cloud_read,
    .retry_after_ms = cloud_retry_after_ms,
    .write_begin = swift_write_begin,
    .write_part = swift_write_part,
    .write_commit = swift_write_commit,
    .write_end = swift_write_end,
    .part_bytes = 32 << 20,
    .parts_max = 1000, /* in a manifest, by Swift's default */
    .remove = swift_remove,
    .members = swift_members,
    .endpoints = form.endpoints,
    .resolve = swift_resolve,
    .logins = swift_logins,
};
