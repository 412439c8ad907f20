#ifndef SURVEY_SENTINEL_H
#define SURVEY_SENTINEL_H

/* The reply of a Sentinel to SENTINEL MASTERS: an array of arrays of fields and values (RESP 2). */

#include <stddef.h>

enum { SENTINEL_REPLY_MAX = 4 << 20 };

enum sentinel_reply { SENTINEL_INCOMPLETE, SENTINEL_READ, SENTINEL_OTHER /* something else */ };

/* Calls found() for each primary of a complete reply. Its strings last for the call only. */
enum sentinel_reply sentinel_masters(const char *data, size_t len,
    void (*found)(void *arg, const char *name, const char *ip, int port), void *arg);

#endif
