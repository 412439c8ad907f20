#ifndef STORE_HTTP_FOLDER_H
#define STORE_HTTP_FOLDER_H

/* A folder of a web server, and the addresses of its files. */

#include "request.h"

struct http_folder {
    struct http_client *client;
    char *base;  /* ends with '/'; without user, password and query */
    char *query; /* "?…" or "" */
    char *label;
};

/* The address of a file, or of the folder if name is NULL. The caller frees it. */
char *http_folder_address(const struct http_folder *folder, const char *name);

#endif
