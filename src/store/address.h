#ifndef STORE_ADDRESS_H
#define STORE_ADDRESS_H

/* The parts of a URL. */

#include <curl/curl.h>

#include "recluster/err.h"

struct address {
    char *user, *password, *host, *port, *path; /* decoded; NULL: missing (never host and path) */
    char *query;                                /* as written; NULL: missing */
    char *plain; /* the URL without login, query and fragment; ends with '/' */
};

/* `scheme` replaces the text's, unless NULL. ERR_USAGE: not a URL; the message has no password. */
int address_parse(
    const char *text, const char *scheme, struct address *ret, struct err *err) MUST_CHECK;
void address_release(struct address *a); /* wipes the secrets */

/* Puts the login into a handle, if the address has one. */
void address_login(const struct address *a, CURL *curl);

#endif
