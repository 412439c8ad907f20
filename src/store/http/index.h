#ifndef STORE_HTTP_INDEX_H
#define STORE_HTTP_INDEX_H

/*
 * Reads the index page of a folder on an HTTP server into a list of its files:
 *
 *   - JSON: nginx's `autoindex_format json` ([{"name", "type", "mtime", "size"}, …]), or an array
 *     of names, or of objects with "name" and optionally "size";
 *   - HTML: the links of any page. Links to other folders or servers, or with a query, are skipped.
 *     Sizes and dates come from nginx's lines, where they are exact; otherwise they are -1.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"
#include "recluster/store.h"

/*
 * `content_type` decides (NULL or an unknown one: the first byte does). ERR_PROTOCOL if the text is
 * not an index; `what` names it in the message.
 */
int http_index_parse(const char *text, size_t len, const char *content_type, const char *what,
    struct store_list *list, struct err *err) MUST_CHECK;

#endif
