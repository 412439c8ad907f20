#ifndef TEST_HTTP_SCRIPT_H
#define TEST_HTTP_SCRIPT_H

/*
 * An HTTP server that gives prepared answers, one a connection, and closes it behind each: what
 * real servers don't do on demand.
 *
 *     struct http_script *s = http_script_start(replies, count);
 *     … http_script_url(s) …
 *     http_script_end(s);
 */

#include <stddef.h>

struct scripted_reply {
    const char *head; /* status line and headers, lines ended by \r\n, without the empty line */
    const void *body;
    size_t body_len;
    int hold; /* keep the connection open until http_script_end() */
};

struct http_script;
struct http_script *http_script_start(const struct scripted_reply *replies, size_t count);
const char *http_script_url(const struct http_script *s); /* ends with '/' */

/* The text of the request that got this answer; "" if none came. Look at it after the calls. */
const char *http_script_request(const struct http_script *s, size_t number);
size_t http_script_served(const struct http_script *s);
void http_script_end(struct http_script *s);

#endif
