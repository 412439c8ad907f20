#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "azure/sign.h"
#include "cloud/xml.h"
#include "http_script.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/secret.h"
#include "recluster/store.h"
#include "s3/sign.h"
#include "temp_dir.h"

/* Object stores: where their logins come from, and answers that real servers don't give on demand. */

/* --- logins and settings --- */

/* All that a login could come from; each test sets what it needs. */
static const char *const variables[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST",
    "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_NAME",
    "ST_AUTH", "ST_USER", "ST_KEY", "A_SECRET"};

static char *home;

static const char credentials[] = "# comment\n[default]\naws_access_key_id = default-id\n"
                                  "aws_secret_access_key=default-secret\n\n[other]\n"
                                  "aws_access_key_id = other-id\naws_secret_access_key = a=b#c\n"
                                  "aws_session_token = other-token\n";
static const char config[] = "[default]\nregion = r-default\n[profile other]\nregion = r-other\n"
                             "endpoint_url = http://other:9000/\ns3 =\n  addressing_style = path\n";
static const char key_file[] =
    "{\"type\": \"service_account\", \"client_email\": \"e@x\", \"private_key\": \"pem\","
    " \"token_uri\": \"https://t/\"}";

static int make_home(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        unsetenv(variables[i]);
    home = temp_dir_make();
    setenv("HOME", home, 1);
    return 0;
}

static int remove_home(void **state)
{
    (void)state;
    temp_dir_remove(home);
    return 0;
}

static void write_aws_files(void)
{
    AUTO_FREE char *dir = path_join(home, ".aws");
    struct err err = ERR_INIT;

    assert_int_equal(dir_make(dir, 0700, &err), 0);
    temp_file(dir, "credentials", credentials, strlen(credentials));
    temp_file(dir, "config", config, strlen(config));
}

struct login_case {
    const char *location;
    const char *environment; /* "A=1 B=2" */
    const char *resolved;    /* members that must be there with this value; null: must not be */
};

static void set_environment(const char *text)
{
    AUTO_FREE char *copy = xstrdup(text);
    char *rest = NULL;

    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        setenv(word, equals + 1, 1);
    }
}

static void check_login(const struct login_case *c)
{
    struct err err = ERR_INIT;
    json_t *location = json_loads(c->location, JSON_DECODE_ANY, NULL);
    json_t *wanted = json_loads(c->resolved, 0, NULL), *value;
    const char *key;

    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        unsetenv(variables[i]);
    set_environment(c->environment);
    json_t *resolved = store_resolve_location(location, &err);
    if (!resolved)
        fail_msg("%s: %s", c->location, err.message);
    json_object_foreach (wanted, key, value) {
        const json_t *got = json_object_get(resolved, key);
        if (json_is_null(value) ? got != NULL : !json_equal(value, got))
            fail_msg("%s with %s: wrong '%s'", c->location, c->environment, key);
    }
    json_decref(location);
    json_decref(wanted);
    json_decref(resolved);
}

static void s3_logins_are_found(void **state)
{
    static const struct login_case cases[] = {
        {"\"s3://b/a%20b/c?region=r1&endpoint=http%3A%2F%2Fh\"", "",
            "{\"bucket_name\": \"b\", \"subdir\": \"a b/c\", \"region\": \"r1\","
            " \"region_name\": null, \"endpoint\": \"http://h\","
            " \"access_key_id\": \"default-id\", \"secret_access_key\": \"default-secret\"}"},
        {"\"s3://b\"", "",
            "{\"region_name\": \"r-default\", \"endpoint\": null, \"session_token\": null}"},
        {"\"s3://b\"", "AWS_ACCESS_KEY_ID=e AWS_SECRET_ACCESS_KEY=s AWS_REGION=r2",
            "{\"access_key_id\": \"e\", \"secret_access_key\": \"s\", \"region_name\": \"r2\"}"},
        {"\"s3://b?insecure=true\"", "AWS_PROFILE=other",
            "{\"access_key_id\": \"other-id\", \"secret_access_key\": \"a=b#c\","
            " \"session_token\": \"other-token\", \"region_name\": \"r-other\","
            " \"endpoint\": \"http://other:9000/\", \"style\": \"path\"}"},
        {"\"s3://b?profile=other&insecure=true\"", "AWS_ACCESS_KEY_ID=e AWS_SECRET_ACCESS_KEY=s",
            "{\"access_key_id\": \"other-id\"}"},
        {"\"s3://b?anonymous=true\"",
            "AWS_ACCESS_KEY_ID=e AWS_SECRET_ACCESS_KEY=s AWS_ENDPOINT_URL=http://h",
            "{\"access_key_id\": null, \"secret_access_key\": null, \"endpoint\": \"http://h\","
            " \"region_name\": \"r-default\"}"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"access_key_id\": \"mine\","
         " \"secret_access_key\": {\"env\": \"A_SECRET\"}}",
            "A_SECRET=x AWS_ACCESS_KEY_ID=e AWS_SESSION_TOKEN=t",
            "{\"access_key_id\": \"mine\", \"secret_access_key\": \"x\", \"session_token\": null}"},
    };

    (void)state;
    write_aws_files();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_login(&cases[i]);
}

static void azure_logins_are_found(void **state)
{
    static const struct login_case cases[] = {
        {"\"azure://acc/cont/a/b\"", "AZURE_STORAGE_KEY=k",
            "{\"account_name\": \"acc\", \"container\": \"cont\", \"subdir\": \"a/b\","
            " \"account_key\": \"k\"}"},
        {"\"azure://acc/cont\"", "AZURE_STORAGE_ACCOUNT=else AZURE_STORAGE_KEY=k",
            "{\"account_key\": null}"},
        {"\"azure://acc/cont\"",
            "AZURE_STORAGE_CONNECTION_STRING=AccountName=acc;AccountKey=a==;BlobEndpoint=http://h/acc",
            "{\"account_key\": \"a==\", \"endpoint\": \"http://h/acc\"}"},
        {"\"azure://other/cont\"",
            "AZURE_STORAGE_CONNECTION_STRING=AccountName=acc;AccountKey=a==;BlobEndpoint=http://h/acc",
            "{\"account_key\": null, \"endpoint\": null}"},
        {"{\"type\": \"abs\", \"account_name\": \"acc\", \"container\": \"c\", \"sas_token\": \"s\"}",
            "AZURE_STORAGE_KEY=k", "{\"account_key\": null, \"sas_token\": \"s\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_login(&cases[i]);
}

static void gcs_and_swift_logins_are_found(void **state)
{
    AUTO_FREE char *path = path_join(home, "key.json");
    AUTO_FREE char *named = xasprintf("GOOGLE_APPLICATION_CREDENTIALS=%s", path);
    const struct login_case cases[] = {
        {"\"gs://b/x\"", named,
            "{\"client_email\": \"e@x\", \"private_key\": \"pem\", \"token_uri\": \"https://t/\","
            " \"credentials_file\": null}"},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\", \"client_email\": \"m\", \"private_key\":"
         " \"mine\"}",
            named, "{\"client_email\": \"m\", \"private_key\": \"mine\", \"token_uri\": null}"},
        {"\"gs://b/x\"", "", "{\"private_key\": null}"},
        {"\"swift://c/p/q\"",
            "OS_AUTH_URL=https://k/v3 OS_USERNAME=u OS_PASSWORD=p OS_PROJECT_NAME=pr",
            "{\"container\": \"c\", \"prefix\": \"p/q\", \"auth_url\": \"https://k/v3\","
            " \"user\": \"u\", \"key\": \"p\", \"project\": \"pr\"}"},
        {"{\"type\": \"swift\", \"container\": \"c\", \"auth_url\": \"https://a\", \"user\": \"u\","
         " \"key\": \"k\"}",
            "OS_USERNAME=x OS_PROJECT_NAME=pr", "{\"user\": \"u\", \"project\": null}"},
    };

    (void)state;
    temp_file(home, "key.json", key_file, strlen(key_file));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_login(&cases[i]);
}

static void what_cannot_be_a_login_is_refused(void **state)
{
    static const struct {
        const char *location, *environment, *message;
    } cases[] = {
        {"\"s3://b?profile=nobody\"", "", "'nobody'"},
        {"\"gs://b\"", "GOOGLE_APPLICATION_CREDENTIALS=/nonexistent/key", "/nonexistent/key"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"secret_access_key\": {\"env\": \"A_SECRET\"}}",
            "", "A_SECRET"},
        {"\"azure://acc\"", "", "container"},
        {"\"s3://user:canary@b/\"", "", "address"},
        {"\"azure://acc/cont?sig=canary\"", "", "'sig'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i].location, JSON_DECODE_ANY, NULL);
        for (size_t j = 0; j < ARRAY_SIZE(variables); j++)
            unsetenv(variables[j]);
        set_environment(cases[i].environment);
        assert_null(store_resolve_location(location, &err));
        if (!strstr(err.message, cases[i].message) || strstr(err.message, "canary"))
            fail_msg("%s: %s", cases[i].location, err.message);
        json_decref(location);
    }
}

/* --- answers --- */

#define XML(status, body)                                                                          \
    "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Type: application/xml\r\n", body,         \
        sizeof(body) - 1, 0

static struct store *open_s3(const struct http_script *script, const char *more, struct err *err)
{
    AUTO_FREE char *text =
        xasprintf("{\"type\": \"s3\", \"bucket_name\": \"bucket\", \"access_key_id\": \"id\","
                  " \"secret_access_key\": \"canary\", \"endpoint\": \"%s\"%s}",
            http_script_url(script), more);
    json_t *location = json_loads(text, 0, NULL);
    struct store *s = store_open(location, err);

    json_decref(location);
    assert_non_null(s);
    return s;
}

static int ignore(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return 0;
}

static void region_is_learned(void **state)
{
    static const struct scripted_reply replies[] = {
        {XML("400 Bad Request",
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>"
            "<Region>eu-west-9</Region></Error>")},
        {XML("200 OK", "<ListBucketResult xmlns=\"http://s3/\"><IsTruncated>false</IsTruncated>"
                       "<Contents><Key>a &amp; b.rdb</Key><Size>7</Size>"
                       "<LastModified>2026-11-20T02:00:00.000Z</LastModified></Contents>"
                       "</ListBucketResult>")},
    };
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    struct store_list list;
    struct store *s = open_s3(script, ", \"session_token\": \"token\"", &err);

    (void)state;
    assert_int_equal(store_list(s, &list, &err), 0);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.entries[0].name, "a & b.rdb");
    assert_int_equal(list.entries[0].bytes, 7);
    assert_int_equal(list.entries[0].modified_ms, 1795140000000);
    assert_non_null(strstr(http_script_request(script, 0), "/us-east-1/s3/aws4_request"));
    assert_non_null(strstr(http_script_request(script, 1), "/eu-west-9/s3/aws4_request"));
    assert_non_null(strstr(http_script_request(script, 1), "x-amz-security-token"));
    assert_null(strstr(http_script_request(script, 1), "canary"));
    store_list_release(&list);
    store_close(s);
    http_script_end(script);
}

static void bucket_stands_in_path_or_host(void **state)
{
    static const struct {
        const char *style, *line, *host;
    } cases[] = {
        {"path", "GET /backups/bucket/x%20y.rdb HTTP", "Host: localhost:"},
        {"host", "GET /backups/x%20y.rdb HTTP", "Host: bucket.localhost:"},
    };
    static const struct scripted_reply replies[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n", "", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_script *script = http_script_start(replies, 1);
        const char *port = strrchr(http_script_url(script), ':');
        AUTO_FREE char *more = xasprintf(
            ", \"style\": \"%s\", \"endpoint\": \"http://localhost%s\"", cases[i].style, port);
        struct err err = ERR_INIT;
        struct store *s = open_s3(script, more, &err);
        if (store_read(s, &(struct store_range){"x y.rdb", 0, -1}, ignore, NULL, NULL, &err) < 0)
            fail_msg("%s", err.message);
        assert_non_null(strstr(http_script_request(script, 0), cases[i].line));
        assert_non_null(strstr(http_script_request(script, 0), cases[i].host));
        store_close(s);
        http_script_end(script);
    }
}

static void s3_errors_say_what_to_do(void **state)
{
    static const struct {
        struct scripted_reply reply;
        enum err_code code;
        const char *hint;
    } cases[] = {
        {{XML("404 Not Found", "<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>")},
            ERR_NOT_FOUND, "bucket_name"},
        {{XML("403 Forbidden",
             "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>")},
            ERR_DENIED, "clock"},
        {{XML("403 Forbidden", "<Error><Code>SignatureDoesNotMatch</Code></Error>")}, ERR_DENIED,
            "secret_access_key"},
        {{XML("403 Forbidden", "")}, ERR_DENIED, "access_key_id"},
        {{XML("301 Moved", "<Error><Code>PermanentRedirect</Code></Error>")}, ERR_PROTOCOL,
            "region"},
        {{XML("200 OK", "<ListBucketResult><Contents>")}, ERR_PROTOCOL, ""},
        {{XML("200 OK", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")},
            ERR_PROTOCOL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_script *script = http_script_start(&cases[i].reply, 1);
        struct err err = ERR_INIT;
        struct store_list list;
        struct store *s = open_s3(script, "", &err);
        assert_int_equal(store_list(s, &list, &err), -1);
        if (err.code != cases[i].code || !strstr(err.hint, cases[i].hint) ||
            !strstr(err.message, "s3://bucket/") || strstr(err.message, "canary"))
            fail_msg("%s %s: %s (%s)", cases[i].reply.head, (const char *)cases[i].reply.body,
                err.message, err.hint);
        store_close(s);
        http_script_end(script);
    }
}

static int write_parts(struct store *s, size_t bytes, struct err *err)
{
    AUTO_FREE char *data = xcalloc(1, bytes);
    struct store_writer *w = store_write_begin(s, "new.rdb", err);

    if (!w)
        return -1;
    if (store_write(w, data, bytes, err) < 0) {
        store_write_abort(w);
        return -1;
    }
    return store_write_commit(w, err);
}

static const char initiated[] =
    "<InitiateMultipartUploadResult><UploadId>u 1</UploadId></InitiateMultipartUploadResult>";

/* An upload of 8 MiB and a byte: two parts. The answer to its completion is lost. */
static void lost_completion_is_noticed(void **state)
{
    static const struct scripted_reply replies[] = {
        {XML("200 OK", initiated)},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\n", "", 0, 0},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"2\"\r\n", "", 0, 0},
        {"", "", 0, 0},
        {XML("404 Not Found", "<Error><Code>NoSuchUpload</Code></Error>")},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8388609\r\n", "", 0, 0},
    };
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    struct store *s = open_s3(script, "", &err);

    (void)state;
    if (write_parts(s, (8 << 20) + 1, &err) < 0)
        fail_msg("%s", err.message);
    assert_non_null(strstr(http_script_request(script, 1), "?partNumber=1&uploadId=u%201 "));
    assert_non_null(
        strstr(http_script_request(script, 4), "POST /backups/bucket/new.rdb?uploadId=u%201 "));
    assert_non_null(strstr(http_script_request(script, 5), "HEAD /backups/bucket/new.rdb "));
    store_close(s);
    http_script_end(script);
}

/* How an object is kept is said by the request that makes it, and is signed. */
static void s3_objects_are_kept_as_wanted(void **state)
{
    static const struct scripted_reply replies[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\n", "", 0, 0},
        {XML("200 OK", initiated)},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\n", "", 0, 0},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"2\"\r\n", "", 0, 0},
        {XML("200 OK", "<CompleteMultipartUploadResult/>")},
    };
    static const char *const wanted[] = {"x-amz-storage-class:STANDARD_IA\r\n",
        "x-amz-server-side-encryption:aws:kms\r\n",
        "x-amz-server-side-encryption-aws-kms-key-id:key/1\r\n",
        "x-amz-object-lock-mode:COMPLIANCE\r\n", "x-amz-object-lock-retain-until-date:20",
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-object-lock-mode;"
        "x-amz-object-lock-retain-until-date;x-amz-security-token;x-amz-server-side-encryption;"
        "x-amz-server-side-encryption-aws-kms-key-id;x-amz-storage-class,"};
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    struct store *s = open_s3(script,
        ", \"session_token\": \"t\", \"storage_class\": \"STANDARD_IA\", \"encryption_key\": "
        "\"key/1\", \"lock_days\": 30, \"lock_mode\": \"COMPLIANCE\"",
        &err);

    (void)state;
    if (write_parts(s, 5, &err) < 0 || write_parts(s, (8 << 20) + 1, &err) < 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_non_null(strstr(http_script_request(script, 0), wanted[i]));
        assert_non_null(strstr(http_script_request(script, 1), wanted[i]));
        assert_null(strstr(http_script_request(script, 2), wanted[i]));
    }
    /* Of five zero bytes. */
    assert_non_null(
        strstr(http_script_request(script, 0), "Content-MD5: ypxJGsZrLGJQCILpPzcZqA=="));
    assert_non_null(strstr(http_script_request(script, 2), "Content-MD5: "));
    store_close(s);
    http_script_end(script);
}

static void odd_ways_to_keep_objects_are_refused(void **state)
{
    static const char *const cases[][2] = {{"\"storage_class\": \"A\\r\\nX: y\"", "storage_class"},
        {"\"lock_days\": 0", "lock_days"}, {"\"lock_days\": \"7 days\"", "lock_days"},
        {"\"lock_mode\": \"GOVERNANCE\"", "needs 'lock_days'"},
        {"\"lock_days\": 1, \"lock_mode\": \"x\"", "GOVERNANCE"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *text =
            xasprintf("{\"type\": \"s3\", \"bucket_name\": \"bucket\", %s}", cases[i][0]);
        json_t *location = json_loads(text, 0, NULL);
        struct err err = ERR_INIT;
        assert_null(store_open(location, &err));
        assert_non_null(strstr(err.message, cases[i][1]));
        json_decref(location);
    }
}

/* A store may find out late that it can't complete, after the head of a success. */
static void error_in_a_success_is_noticed(void **state)
{
    static const struct scripted_reply replies[] = {
        {XML("200 OK", initiated)},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\n", "", 0, 0},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"2\"\r\n", "", 0, 0},
        {XML("200 OK", "<Error><Code>InvalidPart</Code><Message>m</Message></Error>")},
        {"HTTP/1.1 204 No Content\r\nConnection: close\r\n", "", 0, 0},
    };
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    struct store *s = open_s3(script, "", &err);

    (void)state;
    assert_int_equal(write_parts(s, (8 << 20) + 1, &err), -1);
    assert_non_null(strstr(err.message, "InvalidPart"));
    assert_non_null(
        strstr(http_script_request(script, 4), "DELETE /backups/bucket/new.rdb?uploadId="));
    store_close(s);
    http_script_end(script);
}

/* --- signatures and XML --- */

static void s3_signs_as_documented(void **state)
{
    static const char key[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    /* The examples of Amazon's page on the signature, of 2013-05-24T00:00:00Z. */
    static const struct {
        const char *url, *signature;
    } cases[] = {
        {"https://examplebucket.s3.amazonaws.com/?lifecycle=",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"https://examplebucket.s3.amazonaws.com:443?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    struct secret *key_id = secret_new("AKIAIOSFODNN7EXAMPLE"), *secret = secret_new(key);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct s3_signed what = {
            .method = "GET",
            .url = cases[i].url,
            .region = "us-east-1",
            .key_id = key_id,
            .secret = secret,
            .now_ms = 1369353600000,
        };
        struct curl_slist *headers = NULL, *last;
        s3_sign(&what, &headers);
        for (last = headers; last->next;)
            last = last->next;
        assert_non_null(strstr(last->data, "/20130524/us-east-1/s3/aws4_request, SignedHeaders="));
        assert_string_equal(
            strstr(last->data, "Signature=") + strlen("Signature="), cases[i].signature);
        http_free_headers(&headers);
    }
    secret_free(key_id);
    secret_free(secret);
}

/* The example of Microsoft's page on Shared Key, with a key of ours. */
static void azure_signs_as_documented(void **state)
{
    const char *query[][2] = {
        {"comp", "metadata"}, {"restype", "container"}, {"timeout", "20"}, {NULL, NULL}};
    const struct azure_signed what = {
        .method = "GET",
        .content_type = "",
        .range = "",
        .headers = "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n",
        .account = "myaccount",
        .path = "/mycontainer",
        .query = query,
    };
    struct err err = ERR_INIT;
    struct secret *key = secret_new("a2V5"), *no_key = secret_new("?");
    AUTO_FREE char *text = azure_authorization(&what, key, &err);

    (void)state;
    assert_string_equal(text, "SharedKey myaccount:WM6PIVHYgxCEsyR7/qzf8xFpP0IqD5n1ky7LYLMZ/9g=");
    assert_null(azure_authorization(&what, no_key, &err));
    assert_int_equal(err.code, ERR_USAGE);
    secret_free(key);
    secret_free(no_key);
}

static void join(void *arg, const char *path, const char *text)
{
    buf_addf(arg, "%s=%s;", path, text);
}

static void xml_is_walked(void **state)
{
    static const struct {
        const char *xml, *text; /* NULL: refused */
    } cases[] = {
        {"<a/>", "a=;"},
        {"<?xml version='1.0'?><D:a xmlns:D='DAV:'><D:b> x&lt;&#x20AC;</D:b><b/></D:a>",
            "a/b= x<\xe2\x82\xac;a/b=;a=;"},
        {"<a><![CDATA[<b>]]></a>", "a=<b>;"},
        {"", NULL},
        {"<a>", NULL},
        {"<a></b>", NULL},
        {"<a>&unknown;</a>", NULL},
        {"plain text", NULL},
    };
    struct buf deep = BUF_INIT, out = BUF_INIT;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        buf_clear(&out);
        int rc = xml_walk(cases[i].xml, strlen(cases[i].xml), "store", join, &out, &err);
        if (rc != (cases[i].text ? 0 : -1))
            fail_msg("%s", cases[i].xml);
        if (cases[i].text)
            assert_string_equal(out.data, cases[i].text);
    }
    for (int i = 0; i < 40; i++)
        buf_adds(&deep, "<a>");
    assert_int_equal(xml_walk(deep.data, deep.len, "store", join, &out, &err), -1);
    assert_non_null(strstr(err.message, "too deep"));
    buf_release(&deep);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(s3_logins_are_found, make_home, remove_home),
        cmocka_unit_test_setup_teardown(azure_logins_are_found, make_home, remove_home),
        cmocka_unit_test_setup_teardown(gcs_and_swift_logins_are_found, make_home, remove_home),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_login_is_refused, make_home, remove_home),
        cmocka_unit_test(region_is_learned),
        cmocka_unit_test(bucket_stands_in_path_or_host),
        cmocka_unit_test(s3_errors_say_what_to_do),
        cmocka_unit_test(lost_completion_is_noticed),
        cmocka_unit_test(error_in_a_success_is_noticed),
        cmocka_unit_test(s3_objects_are_kept_as_wanted),
        cmocka_unit_test(odd_ways_to_keep_objects_are_refused),
        cmocka_unit_test(azure_signs_as_documented),
        cmocka_unit_test(s3_signs_as_documented),
        cmocka_unit_test(xml_is_walked),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
