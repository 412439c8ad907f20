#ifndef RECLUSTER_SECRET_H
#define RECLUSTER_SECRET_H

/*
 * A secret: a password or a key. An opaque type, so that it can't reach a printf by accident;
 * secret_reveal() stands where the plain text is really needed and is easy to search for. The
 * memory is wiped on release. Secrets never go into argv, logs, events or error messages.
 *
 * In hosts.json and in sources a secret is a string, {"env": NAME} or {"file": PATH} (the file's
 * content without one newline at its end).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"

struct secret;

struct secret *secret_new(const char *plain);      /* NULL gives NULL */
void secret_free(struct secret *s);                /* NULL is fine */
const char *secret_reveal(const struct secret *s); /* NULL gives NULL */

/* `what` names the setting in the message. Only for what the operator has written: it reads files
 * and variables. */
struct secret *secret_from_json(const json_t *value, const char *what, struct err *err) MUST_CHECK;

/* For all else: a string. */
struct secret *secret_from_text(const json_t *value, const char *what, struct err *err) MUST_CHECK;

/* What is printed instead of a secret. */
#define SECRET_MASK "********"

/*
 * Whether a CCS field or a key of hosts.json or of a backup location holds a secret, by its name
 * ("authentication_redis_pass", "secret_access_key", "sas_token", …). Such values are never
 * printed.
 */
bool secret_is_name(const char *field);

/*
 * The URL with the password inside it, and the query of a web address, which may be a signature,
 * replaced by the mask. The caller frees it.
 */
char *secret_mask_url(const char *url);

/* A deep copy of a JSON value in which all strings under secret names are masked, and URLs too. */
json_t *secret_mask_json(const json_t *value);

#endif
