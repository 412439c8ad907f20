#include "packet.h"

#include <string.h>

#include "connection.h"

enum {
    HEAD_BYTES = 9, /* length, type, number */
    ANSWER_BYTES_MAX = 4 << 20,
    STRAYS_MAX = 1000,
};

/* Servers of later protocol versions use more than the nine of version 3. */
enum {
    STATUS_NO_SUCH_FILE = 2,
    STATUS_PERMISSION_DENIED = 3,
    STATUS_NO_CONNECTION = 6,
    STATUS_CONNECTION_LOST = 7,
    STATUS_OP_UNSUPPORTED = 8,
    STATUS_NO_SUCH_PATH = 10,
    STATUS_WRITE_PROTECT = 12,
    STATUS_NO_SPACE_ON_FILESYSTEM = 14,
    STATUS_QUOTA_EXCEEDED = 15,
    STATUS_NOT_A_DIRECTORY = 19,
};

/* --- numbers and strings --- */

static void encode_u32(unsigned char to[4], uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t decode_u32(const unsigned char *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void sftp_put_u32(struct buf *b, uint32_t value)
{
    unsigned char bytes[4];

    encode_u32(bytes, value);
    buf_add(b, bytes, sizeof(bytes));
}

void sftp_put_u64(struct buf *b, uint64_t value)
{
    sftp_put_u32(b, (uint32_t)(value >> 32));
    sftp_put_u32(b, (uint32_t)value);
}

void sftp_put_string(struct buf *b, const void *data, size_t len)
{
    sftp_put_u32(b, (uint32_t)len);
    buf_add(b, data, len);
}

static const char *get(struct sftp_answer *a, size_t len)
{
    if (a->bad || len > a->bytes.len - a->at) {
        a->bad = true;
        return NULL;
    }
    a->at += len;
    return a->bytes.data + a->at - len;
}

uint32_t sftp_get_u32(struct sftp_answer *a)
{
    const char *bytes = get(a, 4);
    return bytes ? decode_u32((const unsigned char *)bytes) : 0;
}

uint64_t sftp_get_u64(struct sftp_answer *a)
{
    uint64_t high = sftp_get_u32(a);
    return high << 32 | sftp_get_u32(a);
}

const char *sftp_get_string(struct sftp_answer *a, size_t *ret_len)
{
    size_t len = sftp_get_u32(a);
    const char *data = get(a, len);

    *ret_len = data ? len : 0;
    return data ? data : "";
}

/* --- requests --- */

struct buf *sftp_packet_begin(struct sftp *f, enum sftp_packet_type type)
{
    buf_clear(&f->request);
    sftp_put_u32(&f->request, 0);
    buf_addc(&f->request, (char)type);
    sftp_put_u32(&f->request, ++f->last_id);
    return &f->request;
}

int sftp_packet_send(struct sftp *f, struct err *err)
{
    f->strays = 0;
    encode_u32((unsigned char *)f->request.data, (uint32_t)(f->request.len - 4));
    return sftp_connection_send(f->connection, f->request.data, f->request.len, err);
}

/* --- answers --- */

ssize_t sftp_packet_some(struct sftp *f, const char **ret, size_t most, struct err *err)
{
    ssize_t n = sftp_connection_take(f->connection, ret, most < f->left ? most : f->left, err);

    if (n > 0)
        f->left -= (size_t)n;
    return n;
}

int sftp_packet_take(struct sftp *f, void *to, size_t len, struct err *err)
{
    if (len > f->left)
        return sftp_connection_nonsense(f->connection, "an answer is too short", err);
    for (char *at = to; len;) {
        const char *from;
        ssize_t n = sftp_packet_some(f, &from, len, err);
        if (n < 0)
            return -1;
        memcpy(at, from, (size_t)n);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int sftp_packet_u32(struct sftp *f, uint32_t *ret, struct err *err)
{
    unsigned char bytes[4];

    if (sftp_packet_take(f, bytes, sizeof(bytes), err) < 0)
        return -1;
    *ret = decode_u32(bytes);
    return 0;
}

int sftp_packet_head(struct sftp *f, struct sftp_head *ret, struct err *err)
{
    unsigned char bytes[HEAD_BYTES];
    const char *unwanted;

    while (f->left)
        if (sftp_packet_some(f, &unwanted, f->left, err) < 0)
            return -1;
    f->left = sizeof(bytes);
    if (sftp_packet_take(f, bytes, sizeof(bytes), err) < 0)
        return -1;
    size_t len = decode_u32(bytes);
    if (len < HEAD_BYTES - 4 || len > ANSWER_BYTES_MAX)
        return sftp_connection_nonsense(f->connection, "the server's answer is not SFTP", err);
    ret->type = bytes[4];
    ret->id = decode_u32(bytes + 5);
    f->left = len - (HEAD_BYTES - 4);
    return 0;
}

int sftp_packet_stray(struct sftp *f, struct err *err)
{
    if (++f->strays <= STRAYS_MAX)
        return 0;
    return sftp_connection_nonsense(
        f->connection, "the server answers a request that was not made", err);
}

void sftp_answer_release(struct sftp_answer *a)
{
    buf_release(&a->bytes);
}

int sftp_packet_rest(
    struct sftp *f, const struct sftp_head *head, struct sftp_answer *ret, struct err *err)
{
    size_t len = f->left;

    ret->type = head->type;
    ret->at = 0;
    ret->bad = false;
    buf_clear(&ret->bytes);
    buf_reserve(&ret->bytes, len);
    if (sftp_packet_take(f, ret->bytes.data, len, err) < 0)
        return -1;
    ret->bytes.len = len;
    ret->bytes.data[len] = '\0';
    return 0;
}

int sftp_packet_answer(struct sftp *f, uint32_t id, struct sftp_answer *ret, struct err *err)
{
    struct sftp_head head;

    for (;;) {
        if (sftp_packet_head(f, &head, err) < 0)
            return -1;
        if (head.id == id)
            return sftp_packet_rest(f, &head, ret, err);
        if (sftp_packet_stray(f, err) < 0)
            return -1;
    }
}

static int status_error(uint32_t status, struct err *err)
{
    switch (status) {
    case STATUS_NO_SUCH_FILE:
    case STATUS_NO_SUCH_PATH:
    case STATUS_NOT_A_DIRECTORY:
        return err_set(err, ERR_NOT_FOUND, "there is no such file or folder");
    case STATUS_PERMISSION_DENIED:
    case STATUS_WRITE_PROTECT:
        return err_set(err, ERR_DENIED, "permission denied");
    case STATUS_NO_SPACE_ON_FILESYSTEM:
    case STATUS_QUOTA_EXCEEDED:
        return err_set(err, ERR_SPACE, "no space left");
    case STATUS_NO_CONNECTION:
    case STATUS_CONNECTION_LOST:
        return err_set(err, ERR_NETWORK, "the server lost its own connection");
    case STATUS_OP_UNSUPPORTED:
        return err_set(err, ERR_IO, "the server can't do that");
    default:
        return err_set(err, ERR_IO, "the server failed");
    }
}

int sftp_answer_check(struct sftp *f, struct sftp_answer *a, enum sftp_packet_type wanted,
    bool *ret_end, struct err *err)
{
    if (ret_end)
        *ret_end = false;
    if (a->type == wanted && wanted != SFTP_STATUS)
        return 0;
    uint32_t status = sftp_get_u32(a);
    if (a->type != SFTP_STATUS || a->bad || (status == SFTP_STATUS_OK && wanted != SFTP_STATUS))
        return sftp_connection_nonsense(f->connection, "an answer makes no sense", err);
    if (status == SFTP_STATUS_OK)
        return 0;
    if (status == SFTP_STATUS_EOF && ret_end) {
        *ret_end = true;
        return 0;
    }
    return status_error(status, err);
}
