#ifndef STORE_XML_LIST_H
#define STORE_XML_LIST_H

/* A page of a list in XML, as S3 and Azure send it. */

#include "cloud.h"

/* Paths as in xml.h; name, bytes and modified are relative to the entry. */
struct xml_list_form {
    const char *entry, *name, *bytes, *modified;
    const char *next;      /* the token of the next page */
    const char *truncated; /* "true": there is a next page; NULL: the token tells */
    int64_t (*time_ms)(const char *text);
};

/* read_page() of a struct cloud_protocol. */
int xml_list_read(const struct xml_list_form *form, const struct cloud *c,
    const struct http_reply *reply, struct store_list *list, char **ret_next,
    struct err *err) MUST_CHECK;

#endif
