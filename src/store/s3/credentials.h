#ifndef STORE_S3_CREDENTIALS_H
#define STORE_S3_CREDENTIALS_H

/*
 * Credentials and settings for S3, found as Amazon's own tools do: the location itself, then the
 * environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
 * AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_CA_BUNDLE), then
 * ~/.aws/credentials and ~/.aws/config (or AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE) in the
 * profile "profile", AWS_PROFILE or "default". A profile that the location names precedes the
 * environment.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

/*
 * Adds what the location lacks; without `keys` only the settings, such as endpoint and region.
 * Missing credentials are not an error: the store may be public.
 */
int s3_credentials_find(json_t *location, bool keys, struct err *err) MUST_CHECK;

#endif
