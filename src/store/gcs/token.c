#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gcs.h"
#include "recluster/base64.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/sign.h"

/*
 * Tokens: a service account signs a claim with its key (RFC 7523), a person's application sends its
 * refresh token. Both get a token that is valid for an hour.
 */

enum { LIFE_S = 3600, RENEW_BEFORE_MS = 5 * 60 * 1000 };

static const char scope[] = "https://www.googleapis.com/auth/devstorage.read_write";

/* Base 64 for URLs, without padding (RFC 7515). The caller frees it. */
static char *base64url(const void *data, size_t len)
{
    char *text = base64_encode(data, len);

    for (char *p = text; *p; p++) {
        if (*p == '+')
            *p = '-';
        else if (*p == '/')
            *p = '_';
        else if (*p == '=')
            *p = '\0';
    }
    return text;
}

static char *encoded_json(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    char *encoded = base64url(text, strlen(text));

    free(text);
    json_decref(json);
    return encoded;
}

/* The signed claim. The caller frees it. */
static char *make_claim(const struct gcs_store *g, struct err *err)
{
    json_int_t now = (json_int_t)time(NULL);
    AUTO_FREE char *head =
        encoded_json(json_pack("{s:s, s:s, s:s*}", "alg", "RS256", "typ", "JWT", "kid", g->key_id));
    AUTO_FREE char *body = encoded_json(json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", g->email,
        "scope", scope, "aud", g->token_uri, "iat", now, "exp", now + LIFE_S));
    AUTO_FREE char *text = xasprintf("%s.%s", head, body);
    size_t len = 0;
    AUTO_FREE unsigned char *signature =
        sign_rs256(secret_reveal(g->private_key), text, strlen(text), &len);

    if (!signature) {
        err_set(err, ERR_USAGE, "the 'private_key' of '%s' is not an RSA key in PEM", g->email);
        err_hint(err, "Copy it whole from the key file of the service account, with its newlines.");
        return NULL;
    }
    AUTO_FREE char *encoded = base64url(signature, len);
    return xasprintf("%s.%s", text, encoded);
}

static void add_field(struct buf *form, const char *name, const char *value)
{
    buf_addf(form, "%s%s=", form->len ? "&" : "", name);
    http_encode(form, value, false);
}

static int make_form(const struct gcs_store *g, struct buf *form, struct err *err)
{
    if (g->private_key) {
        char *claim = make_claim(g, err);
        if (!claim)
            return -1;
        add_field(form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        add_field(form, "assertion", claim);
        explicit_bzero(claim, strlen(claim));
        free(claim);
        return 0;
    }
    add_field(form, "grant_type", "refresh_token");
    add_field(form, "client_id", g->client_id);
    add_field(form, "client_secret", secret_reveal(g->client_secret));
    add_field(form, "refresh_token", secret_reveal(g->refresh_token));
    return 0;
}

/* {"error": "invalid_grant", "error_description": "…"} */
static int refused(const struct gcs_store *g, const struct http_reply *reply, struct err *err)
{
    json_t *answer = json_read_quietly(reply->text.data, reply->text.len, 0);
    const char *error = cloud_text(answer, "error");
    const char *why = cloud_text(answer, "error_description");

    if (error && reply->status < 500) {
        err_set(err, ERR_DENIED, "'%s' gives no token: %.200s%s%.200s", g->token_uri, error,
            why ? ": " : "", why ? why : "");
        err_hint(err, g->private_key
                          ? "Check \"client_email\" and \"private_key\", and this machine's clock."
                          : "Log in again: gcloud auth application-default login.");
    } else {
        http_status_error(reply->status, g->token_uri, err);
    }
    json_decref(answer);
    return -1;
}

static int take_token(struct gcs_store *g, const struct http_reply *reply, struct err *err)
{
    json_t *answer = json_read_quietly(reply->text.data, reply->text.len, 0);
    const char *token = cloud_text(answer, "access_token");
    json_int_t life_s = json_int(answer, "expires_in", 0);
    int rc = 0;

    if (token) {
        secret_free(g->token);
        g->token = secret_new(token);
        g->token_until_ms =
            clock_mono_ms() + (life_s > 0 && life_s < LIFE_S ? life_s : LIFE_S) * 1000;
    } else {
        rc = err_set(err, ERR_PROTOCOL, "'%s' gave an answer without a token", g->token_uri);
    }
    json_decref(answer);
    return rc;
}

int gcs_token(struct gcs_store *g, struct err *err)
{
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct http_reply reply = HTTP_REPLY_INIT;
    struct buf form = BUF_INIT;

    if (!g->private_key && !g->refresh_token)
        return 0;
    if (g->token && clock_mono_ms() < g->token_until_ms - RENEW_BEFORE_MS)
        return 0;
    http_add_header(&headers, "Content-Type: application/x-www-form-urlencoded");
    int rc = make_form(g, &form, err);
    if (rc == 0)
        rc = http_send(g->cloud.client,
            &(struct http_request){
                .method = "POST",
                .url = g->token_uri,
                .what = g->token_uri,
                .headers = headers,
                .body = form.data,
                .body_len = form.len,
            },
            &reply, err);
    if (rc == 0)
        rc = reply.status == 200 ? take_token(g, &reply, err) : refused(g, &reply, err);
    explicit_bzero(form.data, form.len);
    buf_release(&form);
    if (reply.text.alloc)
        explicit_bzero(reply.text.data, reply.text.alloc);
    http_reply_release(&reply);
    return rc;
}
