#ifndef SSH_SESSION_LIBSSH2_H
#define SSH_SESSION_LIBSSH2_H

/* Inside of sessions by libssh2: session_libssh2.c and login_libssh2.c. */

#include <libssh2.h>

#include "offer.h"
#include "session.h"

enum { TAKE_BYTES_MAX = 512 << 10 }; /* from the socket, in one call */

/* 1.11.0: RSA with SHA-2, AEAD ciphers, keys of FIDO devices. */
enum { VERSION_RSA_SHA2 = 0x010b00 };
bool library_is(int version); /* this version or a later one */

struct session {
    LIBSSH2_SESSION *library;
    LIBSSH2_CHANNEL *channel;
    int fd;
    bool silent;      /* broken: no more bytes in or out */
    bool broken;      /* the socket, or the session on it */
    bool logging_in;  /* what is freed may be a password */
    size_t allocated; /* bytes that the library holds */
    bool full;        /* the limit was reached */
    size_t may_take;  /* bytes in this call: TAKE_BYTES_MAX */
    struct offer offer;
    char *ours[OFFER_KINDS]; /* names that we know, separated by commas */
    char *said;              /* the server's words when it hung up */
    const struct session_signer *signer;
    bool sign_failed;
    bool looks_at_private; /* session_login_key() may try again */
    const char *password;  /* for questions */
    int question_rounds;
};

/* The library's memory, which it frees. */
LIBSSH2_ALLOC_FUNC(library_allocate);

#endif
