#ifndef STORE_WEBDAV_H
#define STORE_WEBDAV_H

/*
 * WebDAV (RFC 4918): a listing that needs no index page, and writing.
 *
 * PUT needs the whole object, so it is collected in a temporary file ($TMPDIR), sent as NAME.part
 * and moved to its name. A server without MOVE gets it under its final name directly.
 */

#include "folder.h"

int webdav_list(struct http_folder *folder, struct store_list *list, struct err *err) MUST_CHECK;

/* For struct store_driver; the handle is the folder. */
void *webdav_write_begin(void *handle, const char *name, struct err *err);
int webdav_write_part(void *upload, const struct store_part *part, struct err *err);
int webdav_write_commit(void *upload, const struct store_part *last, struct err *err);
void webdav_write_end(void *upload);
int webdav_remove(void *handle, const char *name, struct err *err);

#endif
