/* Finds the driver of a location, and the logins that it uses. */

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "recluster/json.h"

enum { SILENCE_MAX_S = 3600 };

/* Of two drivers of a kind, the first one that serves the location. */
static const struct store_driver *const drivers[] = {
    &store_file_driver,
    &store_http_driver,
    &store_ftp_driver,
    &store_sftp_driver,
    &store_s3_driver,
    &store_azure_driver,
    &store_gcs_xml_driver,
    &store_gcs_driver,
    &store_swift_driver,
    &store_command_driver,
};

const char *store_location_text(const json_t *location, const char *key)
{
    return json_string_value(json_is_string(location) ? location : json_object_get(location, key));
}

int store_location_timeout(const json_t *location, long *ret_seconds, struct err *err)
{
    const json_t *value = json_object_get(location, "timeout");
    const char *text = json_string_value(value);
    char *end = NULL;
    long seconds = text ? strtol(text, &end, 10) : (long)json_integer_value(value);

    *ret_seconds = STORE_SILENCE_S;
    if (!value)
        return 0;
    if ((text && *end) || (!text && !json_is_integer(value)) || seconds < 1 ||
        seconds > SILENCE_MAX_S)
        return err_set(err, ERR_USAGE,
            "the 'timeout' of a backup location must be a number of seconds from 1 to %d",
            SILENCE_MAX_S);
    *ret_seconds = seconds;
    return 0;
}

long store_connect_timeout(long silence_s)
{
    return silence_s < STORE_CONNECT_S ? silence_s : STORE_CONNECT_S;
}

/* "https" for "https://…"; "file" for a text without a scheme. The caller frees it. */
static char *scheme_of(const char *text)
{
    const char *end = strstr(text, "://");
    if (!end || end == text)
        return xstrdup("file");
    char *scheme = xstrndup(text, (size_t)(end - text));
    for (char *p = scheme; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return scheme;
}

static char *kind_of(const json_t *location)
{
    const char *type = json_text(location, "type", NULL);
    if (type && strcmp(type, "url") != 0)
        return xstrdup(type);
    const char *url = store_location_text(location, "url");
    return url ? scheme_of(url) : NULL;
}

static bool serves(const struct store_driver *driver, const char *kind, const json_t *location)
{
    for (const char *const *k = driver->kinds; *k; k++)
        if (strcmp(*k, kind) == 0)
            return !driver->serves || driver->serves(location);
    return false;
}

const struct store_driver *store_driver_of(const json_t *location, struct err *err)
{
    AUTO_FREE char *kind = kind_of(location);

    if (!kind) {
        err_set(err, ERR_USAGE, "a backup location must be a text, or an object with a type");
        err_hint(err, "Write \"/folder\", \"http://host/folder/\" or {\"type\": \"mount_point\", "
                      "\"path\": \"/folder\"}.");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
        if (serves(drivers[i], kind, location))
            return drivers[i];
    err_set(err, ERR_UNSUPPORTED, "backup locations of the kind '%s' cannot be read", kind);
    err_hint(err, "Copy the files to a mounted folder or an HTTP server and name that with "
                  "--source db:N=URL.");
    return NULL;
}

bool store_location_is_folder(const json_t *location)
{
    struct err unknown = ERR_INIT;
    return store_driver_of(location, &unknown) == &store_file_driver;
}
