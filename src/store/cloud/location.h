#ifndef STORE_CLOUD_LOCATION_H
#define STORE_CLOUD_LOCATION_H

/*
 * Locations in object stores: a URL ("s3://bucket/prefix?endpoint=…") or an object with the same
 * things as members, as a CCS has them. Both become one object with members only.
 */

#include <jansson.h>

#include "recluster/err.h"
#include "recluster/secret.h"

/* What the parts of a kind's URL are called as members. */
struct cloud_form {
    const char *scheme;
    const char *words[3];     /* of the first parts of the path, all needed; NULL behind the last */
    const char *prefix;       /* of what follows; may be empty */
    const char *query[14];    /* that may stand behind '?' (nothing secret); NULL behind the last */
    const char *endpoints[4]; /* members that are the address of a server; NULL behind the last */
    const char *example;      /* of a URL, for the hint */
};

/*
 * The object, as a new reference that has all members of `words`; what the URL says comes before
 * members of the same name. NULL on failure.
 */
json_t *cloud_location(
    const json_t *location, const struct cloud_form *form, struct err *err) MUST_CHECK;

/* The member's text, NULL if it is missing or empty. */
const char *cloud_text(const json_t *location, const char *key);

/* What is before each object's name: "" or "a/b/". The caller frees it. */
char *cloud_prefix(const json_t *location, const char *key);

/* *ret stays NULL if the member is missing, null or empty. */
int cloud_secret(
    const json_t *location, const char *key, struct secret **ret, struct err *err) MUST_CHECK;

/* How many entries a list request asks for: "page_size" if it is there, else `most`. */
int cloud_page_size(const json_t *location, int most);

/*
 * "https://host/path" without slashes at its end; `https://` is put before a bare host. For an
 * address that cloud_check_endpoint() has taken, as cloud_location() does with those of the form.
 */
char *cloud_endpoint(const char *text);

/* ERR_USAGE if it is not the address of a server: http or https, with a host. */
int cloud_check_endpoint(const char *text, const char *what, struct err *err) MUST_CHECK;

/* clock_parse(), -1 for what is no time. */
int64_t cloud_time_ms(const char *text);

/* For resolve(): sets the member from an environment variable, if it is missing and that is set. */
void cloud_from_environment(json_t *location, const char *key, const char *variable);

#endif
