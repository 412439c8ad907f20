#ifndef RECLUSTER_SECRET_H
#define RECLUSTER_SECRET_H

/*
 * A secret: a password or a key. The type is opaque so that a secret cannot reach printf by
 * accident. Call secret_reveal() only where the plain text is needed: it is easy to search for. The
 * memory is wiped on release. Secrets never go into argv, logs, events or error messages.
 *
 * In hosts.json and in sources a secret is a string, {"env": NAME} or {"file": PATH} (the content
 * of the file without one newline at its end).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"

struct secret;

struct secret *secret_new(const char *plain);      /* NULL gives NULL */
void secret_free(struct secret *s);                /* may be NULL */
const char *secret_reveal(const struct secret *s); /* NULL gives NULL */

/* `what` names the setting in the message. It reads files and environment variables, so use it only
 * for JSON that the operator wrote. */
struct secret *secret_from_json(const json_t *value, const char *what, struct err *err) MUST_CHECK;

/* For other JSON: accepts only a string. */
struct secret *secret_from_text(const json_t *value, const char *what, struct err *err) MUST_CHECK;

/* What is printed instead of a secret. */
#define SECRET_MASK "********"

/*
 * Whether a field of this name holds a secret ("authentication_redis_pass", "secret_access_key",
 * "sas_token", …), in a CCS file, hosts.json or a backup location. Such values are never printed.
 */
bool secret_is_name(const char *field);

/*
 * The URL with its password replaced by the mask. The query of a web address is replaced too,
 * because it may be a signature. The caller frees it.
 */
char *secret_mask_url(const char *url);

/* A deep copy of a JSON value that masks strings with secret names, and secrets in URLs. */
json_t *secret_mask_json(const json_t *value);

#endif
