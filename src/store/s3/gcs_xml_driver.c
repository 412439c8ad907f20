#include <stdlib.h>

#include "../gcs/gcs.h"
#include "s3.h"

/* Google Cloud Storage with HMAC keys: its XML API speaks S3's protocol. */

static const char google[] = "https://storage.googleapis.com";

static bool has_hmac_keys(const json_t *location)
{
    return json_object_get(location, "access_key_id") &&
           json_object_get(location, "secret_access_key");
}

static void *gcs_xml_open(const json_t *location, char **ret_label, struct err *err)
{
    json_t *object = cloud_location(location, &gcs_form, err);
    void *s = NULL;

    if (!object)
        return NULL;
    AUTO_FREE char *prefix = cloud_prefix(object, "subdir");
    const char *endpoint = cloud_text(object, "endpoint");
    struct s3_settings settings = {
        .bucket = cloud_text(object, "bucket_name"),
        .prefix = prefix,
        .endpoint = endpoint ? endpoint : google,
        .region = "auto",
        .page_size = cloud_page_size(object, 1000),
    };
    if (cloud_secret(object, "access_key_id", &settings.key_id, err) < 0 ||
        cloud_secret(object, "secret_access_key", &settings.secret, err) < 0) {
        secret_free(settings.key_id);
    } else {
        s = s3_open(&settings, object, ret_label, err);
    }
    json_decref(object);
    return s;
}

static void gcs_xml_logins(const json_t *location, json_t *logins)
{
    const char *endpoint = cloud_text(location, "endpoint");
    store_logins_add(logins, endpoint ? endpoint : google, false);
}

static const char *const kinds[] = {"gs", "gcs", NULL};

const struct store_driver store_gcs_xml_driver = {
    .kinds = kinds,
    .serves = has_hmac_keys,
    .open = gcs_xml_open,
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
    .members = gcs_members,
    .endpoints = gcs_form.endpoints,
    .resolve = gcs_resolve,
    .logins = gcs_xml_logins,
};
