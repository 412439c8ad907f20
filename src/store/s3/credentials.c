#include "credentials.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "recluster/file.h"

enum { FILE_BYTES_MAX = 1 << 20 };

/* A section of a file, with its lines "key = value" as members; NULL: no such section. */
static json_t *read_section(char *text, const char *section)
{
    json_t *members = NULL;
    char *rest = NULL;
    bool inside = false;

    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, " \t");
        size_t len = strlen(line);
        while (len && isspace((unsigned char)line[len - 1]))
            line[--len] = '\0';
        if (*line == '[') {
            size_t name_len = strlen(section);
            inside =
                strncmp(line + 1, section, name_len) == 0 && strcmp(line + 1 + name_len, "]") == 0;
            if (inside && !members)
                members = json_object();
            continue;
        }
        char *equals = strchr(line, '=');
        if (!inside || *line == '#' || *line == ';' || !equals)
            continue;
        const char *value = equals + 1 + strspn(equals + 1, " \t");
        for (*equals = '\0'; equals > line && isspace((unsigned char)equals[-1]);)
            *--equals = '\0';
        json_object_set_new(members, line, json_string(value));
    }
    return members;
}

/* *ret stays NULL if there is no such file or section. */
static int read_profile(
    const char *variable, const char *usual, const char *section, json_t **ret, struct err *err)
{
    const char *named = getenv(variable);
    AUTO_FREE char *path = path_expand_home(named && *named ? named : usual);
    struct buf text = BUF_INIT;

    if (!file_exists(path))
        return 0;
    int rc = file_read(path, FILE_BYTES_MAX, &text, err);
    if (rc == 0)
        *ret = read_section(text.data, section);
    if (text.alloc)
        explicit_bzero(text.data, text.alloc);
    buf_release(&text);
    return rc;
}

/* Copies a member that the location lacks. */
static void take(json_t *location, const char *key, const json_t *profile, const char *name)
{
    const char *value = cloud_text(profile, name);
    if (value && !json_object_get(location, key))
        json_object_set_new(location, key, json_string(value));
}

static void take_keys(json_t *location, const json_t *profile)
{
    if (json_object_get(location, "access_key_id"))
        return;
    take(location, "access_key_id", profile, "aws_access_key_id");
    take(location, "secret_access_key", profile, "aws_secret_access_key");
    take(location, "session_token", profile, "aws_session_token");
}

static void take_settings(json_t *location, const json_t *profile)
{
    if (!json_object_get(location, "region"))
        take(location, "region_name", profile, "region");
    if (!json_object_get(location, "s3_url"))
        take(location, "endpoint", profile, "endpoint_url");
    if (!json_object_get(location, "s3_ca_cert") && !json_object_get(location, "ca_file"))
        take(location, "ca_cert", profile, "ca_bundle");
    take(location, "style", profile, "addressing_style");
}

static json_t *environment(void)
{
    static const struct {
        const char *name, *variable;
    } variables[] = {
        {"aws_access_key_id", "AWS_ACCESS_KEY_ID"},
        {"aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"},
        {"aws_session_token", "AWS_SESSION_TOKEN"},
        {"region", "AWS_REGION"},
        {"region", "AWS_DEFAULT_REGION"},
        {"endpoint_url", "AWS_ENDPOINT_URL_S3"},
        {"endpoint_url", "AWS_ENDPOINT_URL"},
        {"ca_bundle", "AWS_CA_BUNDLE"},
    };
    json_t *found = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        cloud_from_environment(found, variables[i].name, variables[i].variable);
    return found;
}

int s3_credentials_find(json_t *location, bool keys, struct err *err)
{
    const char *chosen = cloud_text(location, "profile");
    const char *named = chosen ? chosen : getenv("AWS_PROFILE");
    AUTO_FREE char *profile = xstrdup(named && *named ? named : "default");
    AUTO_FREE char *section =
        strcmp(profile, "default") == 0 ? xstrdup(profile) : xasprintf("profile %s", profile);
    json_t *env = environment(), *credentials = NULL, *config = NULL;

    int rc = read_profile(
        "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", profile, &credentials, err);
    if (rc == 0)
        rc = read_profile("AWS_CONFIG_FILE", "~/.aws/config", section, &config, err);
    if (rc == 0 && chosen && !credentials && !config) {
        rc = err_set(err, ERR_USAGE, "there is no profile '%s' in ~/.aws", chosen);
        err_hint(err, "Check \"profile\", or AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE.");
    }
    if (rc == 0 && keys) {
        if (!chosen)
            take_keys(location, env);
        take_keys(location, credentials);
        take_keys(location, config);
        take_keys(location, env);
    }
    if (rc == 0) {
        take_settings(location, env);
        take_settings(location, credentials);
        take_settings(location, config);
    }
    json_decref(env);
    json_decref(credentials);
    json_decref(config);
    return rc;
}
