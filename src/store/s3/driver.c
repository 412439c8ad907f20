#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "credentials.h"
#include "recluster/json.h"
#include "s3.h"

/*
 * Amazon S3 and compatible stores: "s3://bucket/prefix?endpoint=…&region=…", or an object with
 * "bucket_name", "subdir", "access_key_id", "secret_access_key", "session_token", "region_name",
 * "endpoint" (in a CCS "s3_url", its authority "s3_ca_cert"), "style" ("path" or "host": the place
 * of the bucket's name; default "host" at Amazon, else "path"), "anonymous" (true: no login,
 * whatever the environment has), "profile" (of ~/.aws). Of objects that are written:
 * "storage_class", "encryption" ("AES256", "aws:kms"), "encryption_key", "lock_days", "lock_mode".
 */

static const struct cloud_form form = {
    .scheme = "s3",
    .words = {"bucket_name"},
    .prefix = "subdir",
    .query = {"endpoint", "region_name", "region", "style", "ca_file", "profile", "anonymous",
        "page_size", "timeout", "insecure", "storage_class", "encryption", "encryption_key",
        "lock_days", "lock_mode"},
    .endpoints = {"endpoint", "s3_url"},
    .example = "s3://bucket/folder?region=eu-central-1",
};

static bool is_true(const json_t *location, const char *key)
{
    const char *text = cloud_text(location, key);
    return json_flag(location, key) ||
           (text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0));
}

static const char *either(const json_t *location, const char *key, const char *other)
{
    const char *text = cloud_text(location, key);
    return text ? text : cloud_text(location, other);
}

static int read_login(const json_t *location, struct s3_settings *settings, struct err *err)
{
    if (is_true(location, "anonymous"))
        return 0;
    if (cloud_secret(location, "access_key_id", &settings->key_id, err) < 0 ||
        cloud_secret(location, "secret_access_key", &settings->secret, err) < 0 ||
        cloud_secret(location, "session_token", &settings->token, err) < 0)
        return -1;
    if (!settings->key_id == !settings->secret)
        return 0;
    err_set(err, ERR_USAGE, "the location has only one of 'access_key_id' and 'secret_access_key'");
    return err_hint(err, "Give both, or none for a store that anybody may read.");
}

static int read_style(const json_t *location, struct s3_settings *settings, struct err *err)
{
    const char *style = cloud_text(location, "style");

    /* Amazon's certificate does not cover a bucket with dots in its name. */
    settings->host_style = !settings->endpoint && !strchr(settings->bucket, '.');
    if (!style || strcmp(style, "auto") == 0)
        return 0;
    settings->host_style = strcmp(style, "host") == 0 || strcmp(style, "virtual") == 0;
    if (settings->host_style || strcmp(style, "path") == 0)
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not a style of S3 addresses (path, host)", style);
}

static int read_keeping(const json_t *location, struct s3_settings *settings, struct err *err)
{
    enum { DAYS_MAX = 36500 };
    const json_t *days = json_object_get(location, "lock_days");
    const char *text = cloud_text(location, "lock_days");
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : (long)json_integer_value(days);

    if (cloud_word(location, "storage_class", &settings->storage_class, err) < 0 ||
        cloud_word(location, "encryption", &settings->encryption, err) < 0 ||
        cloud_word(location, "encryption_key", &settings->encryption_key, err) < 0 ||
        cloud_word(location, "lock_mode", &settings->lock_mode, err) < 0)
        return -1;
    if (settings->encryption_key && !settings->encryption)
        settings->encryption = "aws:kms";
    if (!days && !text)
        return settings->lock_mode
                   ? err_set(err, ERR_USAGE, "'lock_mode' needs 'lock_days': for how long")
                   : 0;
    if (n < 1 || n > DAYS_MAX || (end && *end))
        return err_set(err, ERR_USAGE, "'lock_days' is not a number of days");
    settings->lock_days = (int)n;
    settings->lock_mode = settings->lock_mode ? settings->lock_mode : "GOVERNANCE";
    return strcmp(settings->lock_mode, "GOVERNANCE") == 0 ||
                   strcmp(settings->lock_mode, "COMPLIANCE") == 0
               ? 0
               : err_set(err, ERR_USAGE, "'lock_mode' is neither GOVERNANCE nor COMPLIANCE");
}

static void *s3_driver_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &form, err);
    struct s3_settings settings;
    void *s = NULL;

    if (!object)
        return NULL;
    AUTO_FREE char *prefix = cloud_prefix(object, "subdir");
    const char *ca_cert = cloud_text(object, "s3_ca_cert");
    if (ca_cert && !json_object_get(object, "ca_cert"))
        json_object_set_new(object, "ca_cert", json_string(ca_cert));
    settings = (struct s3_settings){
        .bucket = cloud_text(object, "bucket_name"),
        .prefix = prefix,
        .endpoint = either(object, "endpoint", "s3_url"),
        .region = either(object, "region_name", "region"),
        .page_size = cloud_page_size(object, 1000),
    };
    if (read_login(object, &settings, err) < 0 || read_style(object, &settings, err) < 0 ||
        read_keeping(object, &settings, err) < 0) {
        secret_free(settings.key_id);
        secret_free(settings.secret);
        secret_free(settings.token);
    } else {
        s = s3_open(&settings, object, ret_label, err);
    }
    json_decref(object);
    return s;
}

static json_t *s3_members(const json_t *location, struct err *err)
{
    return cloud_location(location, &form, err);
}

static int s3_resolve(json_t *location, bool own, struct err *err)
{
    return s3_credentials_find(location, own && !is_true(location, "anonymous"), err);
}

static void s3_logins(const json_t *location, json_t *logins)
{
    const char *endpoint = either(location, "endpoint", "s3_url");
    const char *region = either(location, "region_name", "region");
    AUTO_FREE char *amazon =
        xasprintf("https://s3.%s.amazonaws.com", region ? region : "us-east-1");

    if (!is_true(location, "anonymous") && json_object_get(location, "access_key_id"))
        store_logins_add(logins, endpoint ? endpoint : amazon,
            json_object_get(location, "session_token") != NULL);
}

static const char *const kinds[] = {"s3", NULL};

const struct store_driver store_s3_driver = {
    .kinds = kinds,
    .open = s3_driver_open,
    .close = cloud_close,
    .list = cloud_list,
    .read = cloud_read,
    .retry_after_ms = cloud_retry_after_ms,
    .write_begin = s3_write_begin,
    .write_part = s3_write_part,
    .write_commit = s3_write_commit,
    .write_end = s3_write_end,
    .part_bytes = S3_PART_BYTES,
    .parts_max = S3_PARTS_MAX,
    .remove = cloud_remove,
    .members = s3_members,
    .endpoints = form.endpoints,
    .resolve = s3_resolve,
    .logins = s3_logins,
};
