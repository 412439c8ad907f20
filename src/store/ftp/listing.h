#ifndef STORE_FTP_LISTING_H
#define STORE_FTP_LISTING_H

/* The listings of FTP servers. */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"
#include "recluster/err.h"
#include "recluster/store.h"

/* The text received so far. */
struct ftp_page {
    struct buf text;
    const char *what;
    struct err *err;
    bool over; /* it is too long, and err is set */
};

/* A write function of libcurl; arg is the page. */
size_t ftp_page_add(char *data, size_t size, size_t count, void *arg);

/*
 * Both add the files; folders and unreadable lines are skipped.
 *
 * MLSD (RFC 3659): "type=file;size=1048576;modify=20260131130509; NAME".
 */
void ftp_parse_mlsd(const char *text, struct store_list *list);

/*
 * LIST has no standard: like `ls -l` ("-rw-r--r-- 1 ftp ftp 1048576 Jan 31 13:05 NAME", "NAME ->
 * target" for a link, whose size is useless), or like Windows ("01-31-26 01:05PM 1048576 NAME").
 * Times are ignored, because they lack the zone.
 */
void ftp_parse_list(const char *text, struct store_list *list);

#endif
