#ifndef STORE_SFTP_PACKET_H
#define STORE_SFTP_PACKET_H

/*
 * Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), for call.c and data.c.
 *
 *     struct buf *request = sftp_packet_begin(f, SFTP_STAT);
 *     sftp_put_string(request, path, strlen(path));
 *     if (sftp_packet_send(f, err) < 0 || sftp_packet_answer(f, f->last_id, &answer, err) < 0) …
 *
 * Each request has a number, which its answer repeats. An answer to a cancelled request is dropped,
 * so a caller that needs no more just stops.
 */

#include <sys/types.h>

#include "call.h"
#include "recluster/buf.h"

enum sftp_packet_type {
    SFTP_INIT = 1,
    SFTP_VERSION = 2,
    SFTP_OPEN = 3,
    SFTP_CLOSE = 4,
    SFTP_READ = 5,
    SFTP_WRITE = 6,
    SFTP_FSTAT = 8,
    SFTP_OPENDIR = 11,
    SFTP_READDIR = 12,
    SFTP_REMOVE = 13,
    SFTP_STAT = 17,
    SFTP_RENAME = 18,
    SFTP_STATUS = 101,
    SFTP_HANDLE = 102,
    SFTP_DATA = 103,
    SFTP_NAME = 104,
    SFTP_ATTRS = 105,
    SFTP_EXTENDED = 200,
};

enum { SFTP_STATUS_OK = 0, SFTP_STATUS_EOF = 1 };

struct sftp {
    struct sftp_connection *connection;
    struct buf request;
    uint32_t last_id;
    size_t left; /* bytes left of the current answer */
    int strays;  /* dropped answers since the last request */
    bool can_sync, can_rename_over;
    /* For reads, see data.c. */
    size_t read_bytes, reads_ahead;
    bool knows_read_bytes;
};

/* The request that is being built; its number is last_id. */
struct buf *sftp_packet_begin(struct sftp *f, enum sftp_packet_type type);
void sftp_put_u32(struct buf *b, uint32_t value);
void sftp_put_u64(struct buf *b, uint64_t value);
void sftp_put_string(struct buf *b, const void *data, size_t len);
int sftp_packet_send(struct sftp *f, struct err *err) MUST_CHECK;

/* Reads the beginning of the next answer; drops the rest of the one before. */
struct sftp_head {
    enum sftp_packet_type type;
    uint32_t id;
};
int sftp_packet_head(struct sftp *f, struct sftp_head *ret, struct err *err) MUST_CHECK;

/* Bytes of this answer, like sftp_connection_take(), and exactly `len` of them. */
ssize_t sftp_packet_some(struct sftp *f, const char **ret, size_t most, struct err *err) MUST_CHECK;
int sftp_packet_take(struct sftp *f, void *to, size_t len, struct err *err) MUST_CHECK;
int sftp_packet_u32(struct sftp *f, uint32_t *ret, struct err *err) MUST_CHECK;

/* A complete answer. Reading after its end gives 0 and sets `bad`. */
struct sftp_answer {
    enum sftp_packet_type type;
    struct buf bytes;
    size_t at;
    bool bad;
};
void sftp_answer_release(struct sftp_answer *a);
uint32_t sftp_get_u32(struct sftp_answer *a);
uint64_t sftp_get_u64(struct sftp_answer *a);
const char *sftp_get_string(struct sftp_answer *a, size_t *ret_len);

/*
 * An answer without a request: cancelled reads leave some, but an endless stream is an attack. -1:
 * too many since the last request.
 */
int sftp_packet_stray(struct sftp *f, struct err *err) MUST_CHECK;

/* All of this answer, and the answer to one request. The caller always releases it. */
int sftp_packet_rest(struct sftp *f, const struct sftp_head *head, struct sftp_answer *ret,
    struct err *err) MUST_CHECK;
int sftp_packet_answer(
    struct sftp *f, uint32_t id, struct sftp_answer *ret, struct err *err) MUST_CHECK;

/*
 * 0 for an answer of the type `wanted`, else the error of its status. A status of OK is an error
 * too if another type is wanted. *ret_end: it is the end of the file or folder (NULL: an error).
 */
int sftp_answer_check(struct sftp *f, struct sftp_answer *a, enum sftp_packet_type wanted,
    bool *ret_end, struct err *err) MUST_CHECK;

#endif
