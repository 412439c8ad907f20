#ifndef RECLUSTER_SEALED_H
#define RECLUSTER_SEALED_H

/*
 * Encrypted files: by age(1), or OpenPGP by gpg(1). Both are programs of the machine; nothing here
 * does cryptography.
 *
 *     sealed_seal(recipients, &plain, &sealed, err)    // with public keys
 *     if (sealed_is(data, len)) sealed_open(key, &sealed, &plain, err)
 *
 * Of any size, piece by piece, to a sink:
 *
 *     sealed_begin_seal(recipients, sink, arg, &s, err)
 *     sealed_begin_open(key_text, head, len, sink, arg, &s, err)
 *     sealed_feed(s, data, len, err) … sealed_end(s, err); sealed_free(s);
 *
 * Both formats say at their end whether they are whole: a cut file is an error.
 */

#include <stdbool.h>

#include <jansson.h>

#include "recluster/buf.h"
#include "recluster/store.h"

enum { SEALED_BYTES_MAX = 80 << 20 };

/* Whether the bytes are such a file, by their beginning. */
bool sealed_is(const void *data, size_t len);

/*
 * A recipient is a public key of age ("age1…", "ssh-ed25519 …"), a file of such keys, or else the
 * id, fingerprint or address of an OpenPGP key that gpg knows. All must be of one kind: ERR_USAGE.
 */
int sealed_seal(const char *const *recipients, const struct buf *plain, struct buf *ret,
    struct err *err) MUST_CHECK;

/* The same keys, with the lines of files in their place: a file is not needed any more. The caller's. */
json_t *sealed_recipients(const char *const *recipients, struct err *err) MUST_CHECK;

/* "age" or "openpgp": what seals for them. */
const char *sealed_kind(const char *recipient);

/* In the place of a key: gpg has it, and may be started for files of OpenPGP. */
#define SEALED_BY_GPG "gpg"

/*
 * `key`: a file with a private key of age or SSH; NULL: none. gpg has its keys itself. ERR_DENIED if
 * the key does not fit, ERR_USAGE if one is needed and not given.
 */
int sealed_open(
    const char *key, const struct buf *sealed, struct buf *ret, struct err *err) MUST_CHECK;

/*
 * Whether the text is a private key that is used without a question. ERR_USAGE says what it is
 * instead: something else, or a key with a passphrase, for which age would ask at each file, on
 * hosts without a terminal too. `path` is for the message.
 */
int sealed_check_key(const char *path, const char *text, size_t len, struct err *err) MUST_CHECK;

struct sealed_stream;
int sealed_begin_seal(const char *const *recipients, store_sink sink, void *arg,
    struct sealed_stream **ret, struct err *err) MUST_CHECK;

/* The first bytes of the file tell its kind; they are not fed. `key_text`: as in the file; NULL: none. */
int sealed_begin_open(const char *key_text, const void *head, size_t len, store_sink sink,
    void *arg, struct sealed_stream **ret, struct err *err) MUST_CHECK;
int sealed_feed(struct sealed_stream *s, const void *data, size_t len, struct err *err) MUST_CHECK;
int sealed_end(struct sealed_stream *s, struct err *err) MUST_CHECK;
void sealed_free(struct sealed_stream *s); /* may be NULL */

#endif
