#ifndef STORE_CLOUD_LOCATION_H
#define STORE_CLOUD_LOCATION_H

/*
 * Locations in object stores: a URL ("s3://bucket/prefix?endpoint=…") or an object with the same
 * values as members, as in a CCS. Both become an object with members only.
 */

#include <jansson.h>

#include "recluster/err.h"
#include "recluster/secret.h"

/* The member names for the parts of a kind's URL. */
struct cloud_form {
    const char *scheme;
    const char *words[3];  /* of the first parts of the path, all required; NULL after the last */
    const char *prefix;    /* of the rest of the path; may be empty */
    const char *query[18]; /* allowed after '?' (nothing secret); NULL after the last */
    const char *endpoints[4]; /* members with the address of a server; NULL after the last */
    const char *example;      /* an example URL for the hint */
};

/*
 * The object, as a new reference with all members of `words`; parts of the URL replace members of
 * the same name. NULL on failure.
 */
json_t *cloud_location(
    const json_t *location, const struct cloud_form *form, struct err *err) MUST_CHECK;

/* The member's text; NULL: missing or empty. */
const char *cloud_text(const json_t *location, const char *key);
/* A member that becomes a part of a header: letters, digits and ":/_.-"; *ret NULL: it is missing. */
int cloud_word(
    const json_t *location, const char *key, const char **ret, struct err *err) MUST_CHECK;

/* The prefix of each object's name: "" or "a/b/". The caller frees it. */
char *cloud_prefix(const json_t *location, const char *key);

/* *ret stays NULL if the member is missing, null or empty. */
int cloud_secret(
    const json_t *location, const char *key, struct secret **ret, struct err *err) MUST_CHECK;

/* The entries in a page of a list: "page_size" if it is set, else `most`. */
int cloud_page_size(const json_t *location, int most);

/*
 * "https://host/path" without slashes at its end; adds `https://` to a bare host. For an address
 * that cloud_check_endpoint() has accepted, as cloud_location() does for URLs.
 */
char *cloud_endpoint(const char *text);

/* ERR_USAGE if it is not the address of a server: http or https, with a host. */
int cloud_check_endpoint(const char *text, const char *what, struct err *err) MUST_CHECK;

/* clock_parse(), -1 if it is not a time. */
int64_t cloud_time_ms(const char *text);

/* For resolve(): sets a missing member from an environment variable. */
void cloud_from_environment(json_t *location, const char *key, const char *variable);

#endif
