#ifndef STORE_XML_H
#define STORE_XML_H

/*
 * Reads the elements of an XML document, for answers of stores.
 *
 * on_element() is called at the end of each element with the names from the root to it
 * ("ListBucketResult/Contents/Key", without name spaces) and its text. It must copy what it keeps.
 * A document that is broken, nested deeper than 32 or has a text over 64 KiB is ERR_PROTOCOL.
 */

#include <stddef.h>

#include "recluster/err.h"

typedef void (*xml_element)(void *arg, const char *path, const char *text);

int xml_walk(const void *data, size_t len, const char *what, xml_element on_element, void *arg,
    struct err *err) MUST_CHECK;

#endif
