#ifndef STORE_ADDRESS_H
#define STORE_ADDRESS_H

/* A URL taken apart. */

#include <curl/curl.h>

#include "recluster/err.h"

struct address {
    char *user, *password, *host, *port,
        *path;   /* decoded; NULL: not there, but for host and path */
    char *query; /* as it stands; NULL: not there */
    char *plain; /* the URL without login, query and fragment; ends with '/' */
};

/*
 * `scheme` (NULL: the text's own) takes the place of the text's. ERR_USAGE if it is no URL; the
 * message has no password.
 */
int address_parse(
    const char *text, const char *scheme, struct address *ret, struct err *err) MUST_CHECK;
void address_release(struct address *a); /* wipes what is secret */

/* Puts the login into a handle, if the address has one. */
void address_login(const struct address *a, CURL *curl);

#endif
