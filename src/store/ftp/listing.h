#ifndef STORE_FTP_LISTING_H
#define STORE_FTP_LISTING_H

/* What FTP servers answer when they are asked for a listing. */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"
#include "recluster/err.h"
#include "recluster/store.h"

/* The text while it comes. */
struct ftp_page {
    struct buf text;
    const char *what;
    struct err *err;
    bool over; /* it is too long: err is set */
};

/* A write function of libcurl; arg is the page. */
size_t ftp_page_add(char *data, size_t size, size_t count, void *arg);

/*
 * Both add the files; folders and lines that say nothing are left out.
 *
 * To MLSD (RFC 3659): "type=file;size=1048576;modify=20260131130509; NAME".
 */
void ftp_parse_mlsd(const char *text, struct store_list *list);

/*
 * To LIST, which no standard describes: as `ls -l` prints ("-rw-r--r-- 1 ftp ftp 1048576 Jan 31
 * 13:05 NAME", "NAME -> target" of a link, whose size says nothing), or as Windows does ("01-31-26
 * 01:05PM 1048576 NAME"). Times, which lack the zone, are left out.
 */
void ftp_parse_list(const char *text, struct store_list *list);

#endif
