/* The bytes of files, with many requests in flight. */

#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "connection.h"
#include "packet.h"

enum {
    READ_BYTES_FIRST = 32 << 10, /* every server should answer with as much */
    READ_BYTES_LEAST = 4 << 10,
    READ_BYTES_MAX = 255 << 10, /* the most that OpenSSH sends */
    READS_MAX = 8,              /* with that, 2 MiB, the window of the session */
    WRITE_BYTES = 32 << 10,     /* every server accepts as much */
    WRITES_MAX = 64,
};

/* --- reading --- */

/* A request in flight, or its answer that came too early. */
struct asked {
    uint32_t id;
    int64_t offset;
    size_t len;
    bool came, end;
    struct buf bytes;
};

/*
 * Requests in the order of the file; most servers answer in that order. `asked` is a ring: the next
 * bytes for the sink are those of asked[first].
 */
struct reading {
    struct sftp *f;
    const struct sftp_handle *handle;
    sftp_sink sink;
    void *arg;
    struct asked asked[READS_MAX];
    size_t first, count;
    int64_t next, end; /* the next byte to request; the one after the last, -1: to the end */
    bool done;
};

static int send_read(struct reading *r, struct asked *a, struct err *err)
{
    struct buf *b = sftp_packet_begin(r->f, SFTP_READ);

    sftp_put_string(b, r->handle->bytes, r->handle->len);
    sftp_put_u64(b, (uint64_t)a->offset);
    sftp_put_u32(b, (uint32_t)a->len);
    a->id = r->f->last_id;
    a->came = a->end = false;
    return sftp_packet_send(r->f, err);
}

static int ask_ahead(struct reading *r, struct err *err)
{
    while (r->count < r->f->reads_ahead && (r->end < 0 || r->next < r->end)) {
        struct asked *a = &r->asked[(r->first + r->count) % READS_MAX];
        int64_t left = r->end < 0 ? INT64_MAX : r->end - r->next;
        a->offset = r->next;
        a->len = left < (int64_t)r->f->read_bytes ? (size_t)left : r->f->read_bytes;
        if (send_read(r, a, err) < 0)
            return -1;
        r->next += (int64_t)a->len;
        r->count++;
    }
    return 0;
}

static struct asked *find(struct reading *r, uint32_t id)
{
    for (size_t i = 0; i < r->count; i++) {
        struct asked *a = &r->asked[(r->first + i) % READS_MAX];
        if (a->id == id && !a->came)
            return a;
    }
    return NULL;
}

/* More and larger requests while answers are complete; else requests of the server's size. */
static void learn(struct sftp *f, size_t asked, size_t came)
{
    if (came < asked && came >= READ_BYTES_LEAST) {
        f->read_bytes = came;
        f->knows_read_bytes = true;
    }
    if (f->reads_ahead < READS_MAX)
        f->reads_ahead++;
    else if (!f->knows_read_bytes)
        f->read_bytes = f->read_bytes < READ_BYTES_MAX / 2 ? 2 * f->read_bytes : READ_BYTES_MAX;
}

/* The sink has the `len` bytes of the first request. */
static int finish_first(struct reading *r, size_t len, struct err *err)
{
    struct asked *a = &r->asked[r->first];

    learn(r->f, a->len, len);
    if (len < a->len) {
        a->offset += (int64_t)len;
        a->len -= len;
        return send_read(r, a, err);
    }
    r->first = (r->first + 1) % READS_MAX;
    r->count--;
    return 0;
}

/* Delivers answers that came early and are next now. */
static int pass_kept(struct reading *r, struct err *err)
{
    while (!r->done && r->count && r->asked[r->first].came) {
        struct asked *a = &r->asked[r->first];
        r->done = a->end;
        if (a->end)
            return 0;
        if (r->sink(r->arg, a->bytes.data, a->bytes.len, err) < 0 ||
            finish_first(r, a->bytes.len, err) < 0)
            return -1;
    }
    return 0;
}

/* Directly to the sink. */
static int pass_data(struct reading *r, size_t len, struct err *err)
{
    for (size_t left = len; left;) {
        const char *bytes;
        ssize_t n = sftp_packet_some(r->f, &bytes, left, err);
        if (n < 0 || r->sink(r->arg, bytes, (size_t)n, err) < 0)
            return -1;
        left -= (size_t)n;
    }
    return finish_first(r, len, err);
}

static int keep_data(struct reading *r, struct asked *a, size_t len, struct err *err)
{
    buf_clear(&a->bytes);
    buf_reserve(&a->bytes, len);
    a->bytes.len = len;
    a->came = true;
    return sftp_packet_take(r->f, a->bytes.data, len, err);
}

static int on_data(struct reading *r, struct asked *a, struct err *err)
{
    uint32_t len;

    if (sftp_packet_u32(r->f, &len, err) < 0)
        return -1;
    if (!len || len > a->len || len > r->f->left)
        return sftp_connection_nonsense(
            r->f->connection, "the server gives other bytes than were asked for", err);
    return a == &r->asked[r->first] ? pass_data(r, len, err) : keep_data(r, a, len, err);
}

static int on_status(
    struct reading *r, struct asked *a, const struct sftp_head *head, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};

    if (sftp_packet_rest(r->f, head, &answer, err) < 0 ||
        sftp_answer_check(r->f, &answer, SFTP_DATA, &a->end, err) < 0)
        return -1;
    a->came = true;
    return 0;
}

static int on_answer(struct reading *r, struct err *err)
{
    struct sftp_head head;

    if (sftp_packet_head(r->f, &head, err) < 0)
        return -1;
    struct asked *a = find(r, head.id);
    if (!a)
        return sftp_packet_stray(r->f, err);
    if ((head.type == SFTP_DATA ? on_data(r, a, err) : on_status(r, a, &head, err)) < 0)
        return -1;
    return pass_kept(r, err);
}

int sftp_call_read(struct sftp *f, const struct sftp_handle *handle, int64_t offset, int64_t length,
    sftp_sink sink, void *arg, struct err *err)
{
    struct reading r = {.f = f, .handle = handle, .sink = sink, .arg = arg, .next = offset};
    int rc = 0;

    r.end = length < 0 ? -1 : offset + length;
    for (size_t i = 0; i < READS_MAX; i++)
        buf_init(&r.asked[i].bytes);
    if (!f->read_bytes) {
        f->read_bytes = READ_BYTES_FIRST;
        f->reads_ahead = 2;
    }
    while (rc == 0 && !r.done) {
        rc = ask_ahead(&r, err);
        if (rc < 0 || !r.count)
            break;
        rc = on_answer(&r, err);
    }
    for (size_t i = 0; i < READS_MAX; i++)
        buf_release(&r.asked[i].bytes);
    return rc;
}

/* --- writing --- */

static int send_write(struct sftp *f, const struct sftp_handle *handle, int64_t offset,
    const void *data, size_t len, struct err *err)
{
    struct buf *b = sftp_packet_begin(f, SFTP_WRITE);

    sftp_put_string(b, handle->bytes, handle->len);
    sftp_put_u64(b, (uint64_t)offset);
    sftp_put_string(b, data, len);
    return sftp_packet_send(f, err);
}

/* The answer to one of the requests from `first` on. */
static int take_written(struct sftp *f, uint32_t first, struct err *err)
{
    CLEANUP(sftp_answer_release) struct sftp_answer answer = {.bytes = BUF_INIT};
    struct sftp_head head;

    for (;;) {
        if (sftp_packet_head(f, &head, err) < 0)
            return -1;
        if (head.id - first <= f->last_id - first)
            break;
        if (sftp_packet_stray(f, err) < 0)
            return -1;
    }
    if (sftp_packet_rest(f, &head, &answer, err) < 0)
        return -1;
    return sftp_answer_check(f, &answer, SFTP_STATUS, NULL, err);
}

int sftp_call_write(struct sftp *f, const struct sftp_handle *handle, int64_t offset,
    const void *data, size_t len, struct err *err)
{
    const char *from = data;
    uint32_t first = f->last_id + 1;
    size_t waiting = 0;

    while (len || waiting) {
        if (!len || waiting == WRITES_MAX) {
            if (take_written(f, first, err) < 0)
                return -1;
            waiting--;
            continue;
        }
        size_t n = len < WRITE_BYTES ? len : WRITE_BYTES;
        if (send_write(f, handle, offset, from, n, err) < 0)
            return -1;
        waiting++;
        from += n;
        offset += (int64_t)n;
        len -= n;
    }
    return 0;
}
