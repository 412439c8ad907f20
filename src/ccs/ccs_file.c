#include "ccs_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/json.h"
#include "recluster/sealed.h"
#include "value.h"

enum { PIECE_BYTES = 64 << 10, HEAD_BYTES = 16 };

enum form { FORM_UNKNOWN_YET, FORM_RDB, FORM_JSON };

/* Takes the decompressed bytes, in pieces of any size. */
struct sink {
    struct objects *all;
    enum form form;
    struct buf json; /* also the first bytes, until the form is known */
    struct rdb_reader *reader;
    uint64_t bytes;
};

void ccs_file_init(struct ccs_file *c)
{
    *c = (struct ccs_file){.nodes = NULL};
    objects_init(&c->objects);
}

void ccs_file_release(struct ccs_file *c)
{
    objects_release(&c->objects);
    json_decref(c->nodes);
    ccs_file_init(c);
}

/* Never NULL: object_item uses NULL for a missing value. */
static struct rdb_bytes there(struct rdb_bytes bytes)
{
    return bytes.data ? bytes : (struct rdb_bytes){"", 0};
}

static int on_aux(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    struct objects *all = arg;
    char text[24];
    int64_t seconds;

    (void)err;
    if (key.len != strlen("ctime") || memcmp(key.data, "ctime", key.len) != 0 ||
        value.len >= sizeof(text))
        return 0;
    memcpy(text, there(value).data, value.len);
    text[value.len] = '\0';
    if (value_int(text, 0, INT64_MAX / 1000, &seconds))
        all->saved_ms = seconds * 1000;
    return 0;
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct objects *all = arg;
    struct object *o;
    const struct object what = {
        .key = there(record->key),
        .db = (int64_t)record->db,
        .kind = record->kind,
        .expires_ms = record->expires_ms,
    };
    bool readable = record->kind != RDB_KIND_STREAM && record->kind != RDB_KIND_MODULE &&
                    record->kind != RDB_KIND_ARRAY;

    if (objects_add(all, &what, &o, err) < 0)
        return -1;
    return readable ? RDB_DECODE : RDB_SKIP;
}

static int on_element(
    void *arg, const struct rdb_record *record, const struct rdb_element *element, struct err *err)
{
    struct objects *all = arg;
    const struct object_item item = {
        .field =
            record->kind == RDB_KIND_HASH ? there(element->field) : (struct rdb_bytes){NULL, 0},
        .value = there(element->value),
        .score = element->score,
        .expires_ms = record->kind == RDB_KIND_HASH ? element->expires_ms : -1,
    };

    return object_add_item(all, &all->list[all->count - 1], &item, err);
}

static const struct rdb_events rdb_events = {
    .aux = on_aux,
    .record = on_record,
    .element = on_element,
};

static bool starts_with(const struct buf *b, const char *start)
{
    return b->len >= strlen(start) && memcmp(b->data, start, strlen(start)) == 0;
}

static int refuse_form(const struct buf *head, struct err *err)
{
    if (head->len == 0)
        err_set(err, ERR_CORRUPT, "it is empty");
    else if (head->data[0] == '*' && isdigit((unsigned char)head->data[1]))
        err_set(err, ERR_UNSUPPORTED, "it is an append-only file (AOF)");
    else if (starts_with(head, "\x28\xb5\x2f\xfd"))
        err_set(err, ERR_UNSUPPORTED, "it is compressed with zstd");
    else if (starts_with(head, "\x1f\x8b"))
        err_set(err, ERR_UNSUPPORTED, "it is gzipped twice");
    else if (starts_with(head, "SQLite format 3"))
        err_set(err, ERR_UNSUPPORTED, "it is an SQLite file; a state file goes to --state");
    else
        err_set(err, ERR_UNSUPPORTED, "it is neither an RDB file nor JSON, gzipped or not");
    return err_hint(err, "Give a cluster's ccs-redis.rdb (also .rdb.gz), ccs-redis.json, or the "
                         "nodes.json of `redis-cli --cluster backup`.");
}

/* The first bytes decide. A byte-order mark before JSON is skipped. */
static int tell_form(struct sink *sink, struct err *err)
{
    struct buf *head = &sink->json;

    if (starts_with(head, "REDIS") || starts_with(head, "VALKEY")) {
        const struct rdb_limits limits = {
            .key_bytes = OBJECTS_KEY_BYTES_MAX,
            .element_bytes = OBJECTS_BYTES_MAX,
        };
        sink->form = FORM_RDB;
        sink->reader = rdb_reader_new(&rdb_events, sink->all, &limits);
        return 0;
    }
    if (starts_with(head, "\xef\xbb\xbf"))
        buf_consume(head, 3);
    const char *first = head->data + strspn(head->data, " \t\r\n");
    if (*first != '{' && *first != '[')
        return refuse_form(head, err);
    sink->form = FORM_JSON;
    return 0;
}

static int sink_feed(struct sink *sink, const void *data, size_t len, struct err *err)
{
    if (len > CCS_FILE_INFLATED_MAX - sink->bytes)
        return err_set(err, ERR_LIMIT, "it has more than %d GB when inflated",
            (int)(CCS_FILE_INFLATED_MAX >> 30));
    sink->bytes += len;
    if (sink->form == FORM_RDB)
        return rdb_reader_feed(sink->reader, data, len, err);
    if (buf_add_limited(&sink->json, data, len, JSON_BYTES_MAX, "JSON document", err) < 0)
        return -1;
    if (sink->form == FORM_JSON || sink->json.len < HEAD_BYTES)
        return 0;
    if (tell_form(sink, err) < 0)
        return -1;
    return sink->form == FORM_RDB
               ? rdb_reader_feed(sink->reader, sink->json.data, sink->json.len, err)
               : 0;
}

static int end_json(struct sink *sink, json_t **ret_nodes, struct err *err)
{
    json_t *document = json_read(
        sink->json.data, sink->json.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, "the document", err);

    if (!document)
        return -1;
    int rc = ccs_file_json(document, sink->all, err);
    if (rc == 0 && strcmp(sink->all->format, "nodes.json") == 0)
        *ret_nodes = json_incref(document);
    json_decref(document);
    return rc;
}

static int sink_end(struct sink *sink, json_t **ret_nodes, struct err *err)
{
    if (sink->form == FORM_UNKNOWN_YET) {
        if (tell_form(sink, err) < 0)
            return -1;
        if (sink->form == FORM_RDB &&
            rdb_reader_feed(sink->reader, sink->json.data, sink->json.len, err) < 0)
            return -1;
    }
    if (sink->form == FORM_JSON)
        return end_json(sink, ret_nodes, err);
    sink->all->format = "rdb";
    return rdb_reader_end(sink->reader, err);
}

static void sink_release(struct sink *sink)
{
    buf_release(&sink->json);
    rdb_reader_free(sink->reader);
}

/* A file that is read in full pieces and hashed. */
struct input {
    int fd;
    struct digest *digest;
    unsigned char *piece; /* PIECE_BYTES */
    size_t len;           /* 0: at the end */
    struct buf opened;    /* read from memory instead, from `taken` on: an encrypted file */
    size_t taken;
};

static int input_next(struct input *in, struct err *err)
{
    in->len = 0;
    if (in->opened.len) {
        in->len = in->opened.len - in->taken;
        if (in->len > PIECE_BYTES)
            in->len = PIECE_BYTES;
        memcpy(in->piece, in->opened.data + in->taken, in->len);
        in->taken += in->len;
        if (in->fd < 0)
            digest_add(in->digest, in->piece, in->len);
        return 0;
    }
    while (in->len < PIECE_BYTES) {
        ssize_t n = read(in->fd, in->piece + in->len, PIECE_BYTES - in->len);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "reading failed");
        in->len += (size_t)n;
    }
    digest_add(in->digest, in->piece, in->len);
    return 0;
}

static int refuse_gzip(int rc, struct err *err)
{
    const char *what = rc == ISAL_INCORRECT_CHECKSUM   ? "the checksum is wrong"
                       : rc == ISAL_UNSUPPORTED_METHOD ? "the method is not known"
                       : rc == ISAL_INVALID_WRAPPER    ? "the header is broken"
                                                       : "the data are broken";

    return err_set(err, ERR_CORRUPT, "it can't be inflated: %s", what);
}

/* Decompresses the piece. Zero bytes after the last member are padding. */
static int inflate_piece(struct inflate_state *z, unsigned char *out, struct input *in,
    struct sink *sink, struct err *err)
{
    z->next_in = in->piece;
    z->avail_in = (uint32_t)in->len;
    do {
        if (z->block_state == ISAL_BLOCK_FINISH) {
            if (z->avail_in == 0)
                return 0;
            if (*z->next_in == 0) {
                z->next_in++;
                z->avail_in--;
                continue;
            }
            isal_inflate_reset(z);
        }
        z->next_out = out;
        z->avail_out = PIECE_BYTES;
        int rc = isal_inflate(z);
        if (rc != ISAL_DECOMP_OK)
            return refuse_gzip(rc, err);
        if (sink_feed(sink, out, PIECE_BYTES - z->avail_out, err) < 0)
            return -1;
    } while (z->avail_in > 0 || z->avail_out == 0 || z->block_state == ISAL_BLOCK_FINISH);
    return 0;
}

static int read_gzip(struct input *in, struct sink *sink, struct err *err)
{
    AUTO_FREE struct inflate_state *z = xcalloc(1, sizeof(*z));
    AUTO_FREE unsigned char *out = xmalloc(PIECE_BYTES);

    isal_inflate_init(z);
    z->crc_flag = ISAL_GZIP;
    while (in->len) {
        if (inflate_piece(z, out, in, sink, err) < 0 || input_next(in, err) < 0)
            return -1;
    }
    if (z->block_state != ISAL_BLOCK_FINISH)
        return err_set(err, ERR_CORRUPT, "it is cut off: the gzip stream does not end");
    return 0;
}

static int read_plain(struct input *in, struct sink *sink, struct err *err)
{
    while (in->len) {
        if (sink_feed(sink, in->piece, in->len, err) < 0 || input_next(in, err) < 0)
            return -1;
    }
    return 0;
}

static int read_input(struct input *in, struct ccs_file *c, struct err *err)
{
    struct sink sink = {.all = &c->objects, .json = BUF_INIT};
    int rc = 0;

    if (in->len >= 2 && in->piece[0] == 0x1f && in->piece[1] == 0x8b)
        rc = read_gzip(in, &sink, err);
    else
        rc = read_plain(in, &sink, err);
    if (rc == 0)
        rc = sink_end(&sink, &c->nodes, err);
    sink_release(&sink);
    return rc;
}

/* Decrypts the rest of the input; what it gives is read in its place. */
static int unseal(struct input *in, const char *key, struct err *err)
{
    CLEANUP(buf_release) struct buf sealed = BUF_INIT;
    CLEANUP(buf_release) struct buf plain = BUF_INIT;

    while (in->len) {
        if (buf_add_limited(
                &sealed, in->piece, in->len, SEALED_BYTES_MAX, "the encrypted file", err) < 0 ||
            input_next(in, err) < 0)
            return -1;
    }
    if (sealed_open(key, &sealed, &plain, err) < 0)
        return -1;
    in->opened = plain;
    buf_init(&plain);
    return input_next(in, err);
}

/* Takes over in->opened. */
static int read_objects(struct input *in, const char *key, struct ccs_file *c, struct err *err)
{
    in->digest = digest_new();
    in->piece = xmalloc(PIECE_BYTES);
    int rc = input_next(in, err);
    if (rc == 0 && sealed_is(in->piece, in->len))
        rc = unseal(in, key, err);
    if (rc == 0)
        rc = read_input(in, c, err);
    if (rc == 0) {
        digest_end(in->digest, c->sha256);
        objects_index(&c->objects);
    } else {
        digest_free(in->digest);
    }
    explicit_bzero(in->opened.data, in->opened.len);
    buf_release(&in->opened);
    free(in->piece);
    return rc;
}

int ccs_file_read(const char *path, const char *key, struct ccs_file *c, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, ERR_CHECK, "cannot read CCS file '%s'", path),
               err_hint(err, "Give the path of a cluster's ccs-redis.rdb, or of a copy of it.");
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        err_set(err, ERR_UNSUPPORTED, "cannot read CCS file '%s': it is a folder", path);
        return err_hint(err, "Name the file in it: ccs-redis.rdb, ccs-redis.json or nodes.json. "
                             "From the data folders of servers (redis.conf, nodes.conf), recluster "
                             "capture --from-folder makes a CCS file.");
    }
    struct input in = {.fd = fd, .opened = BUF_INIT};
    int rc = read_objects(&in, key, c, err);
    close(fd);
    return rc < 0 ? err_wrap(err, "cannot read CCS file '%s'", path) : 0;
}

int ccs_file_read_bytes(
    const char *name, struct rdb_bytes bytes, struct ccs_file *c, struct err *err)
{
    struct input in = {.fd = -1, .opened = BUF_INIT};

    buf_add(&in.opened, bytes.data, bytes.len);
    return read_objects(&in, NULL, c, err) < 0 ? err_wrap(err, "cannot read CCS file '%s'", name)
                                               : 0;
}
