#ifndef SSH_OFFER_H
#define SSH_OFFER_H

/*
 * The server's first packet (SSH_MSG_KEXINIT, RFC 4253, section 7.1), read from the bytes before
 * encryption starts: no library tells why two sides find no common method.
 */

#include <stdbool.h>

#include "recluster/buf.h"

struct offer {
    struct buf bytes;
    bool over; /* the packet is complete, or invalid */
};

#define OFFER_INIT                                                                                 \
    {                                                                                              \
        .bytes = BUF_INIT                                                                          \
    }

enum offer_kind {
    OFFER_KEX,
    OFFER_HOST_KEYS,
    OFFER_CIPHERS_OUT, /* from us to the server */
    OFFER_CIPHERS_IN,
    OFFER_MACS_OUT,
    OFFER_MACS_IN,
    OFFER_KINDS,
};

void offer_add(struct offer *o, const void *data, size_t len);
void offer_release(struct offer *o);

/* The first line of a server that sent no version, printable, the caller's; NULL: it did. */
char *offer_refusal(const struct offer *o, size_t most);

/* Names separated by commas, printable, the caller's; NULL: unknown. */
char *offer_names(const struct offer *o, enum offer_kind kind);

/* Whether a comma-separated list has this name, and whether two lists share one. */
bool offer_has(const char *list, const char *name, size_t len);
bool offer_meets(const char *list, const char *other);

#endif
