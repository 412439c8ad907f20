/* The beginning and end of a file: why it is not an RDB file; the checksum and bytes after it. */

#include <ctype.h>
#include <inttypes.h>

#include "reader_impl.h"
#include "recluster/key_text.h"
#include "twice.h"

enum { CHECKSUM_SINCE = 5, CHECKSUM_BYTES = 8, MARK_DIGITS = 40 };

enum taken step_checksum(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    (void)err;
    if (want(c, CHECKSUM_BYTES) != TAKEN)
        return STARVED;
    r->crc_stored = load64(c->p);
    c->p += CHECKSUM_BYTES;
    r->step = step_end;
    return TAKEN;
}

/* Line ends, and one end mark of a diskless transfer. */
static void take_trailing(struct rdb_reader *r, uint8_t byte)
{
    r->trailing++;
    if (byte == '\n' || byte == '\r')
        r->mark_ended = r->mark_digits > 0;
    else if (isxdigit(byte) && !r->mark_ended && r->mark_digits < MARK_DIGITS)
        r->mark_digits++;
    else
        r->trailing_bad = true;
    if (r->mark_ended && r->mark_digits < MARK_DIGITS)
        r->trailing_bad = true;
}

/* Takes all bytes; their number is known at the end. */
enum taken step_end(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    (void)err;
    for (; c->p < c->end && !r->more_follows && !r->trailing_bad; c->p++)
        take_trailing(r, *c->p);
    if (!r->more_follows)
        r->trailing += (uint64_t)(c->end - c->p);
    c->p = c->end;
    commit(c);
    return starve(c, 1);
}

static int check_trailing(struct rdb_reader *r, struct err *err)
{
    uint64_t end = rdb_reader_end_offset(r);

    if (!r->trailing_bad && (!r->mark_digits || r->mark_digits == MARK_DIGITS))
        return 0;
    err_set(err, ERR_CORRUPT,
        "bytes after the end of the data at offset %" PRIu64 " (%" PRIu64 " in all)%s", end,
        r->trailing,
        r->checksum == RDB_CHECKSUM_OK ? "; the data up to there is whole: its checksum fits" : "");
    return err_hint(err,
        "To cut them off: head -c %" PRIu64
        " FILE > NEW, or of a packed file: gzip -dc FILE | head "
        "-c %" PRIu64 " > NEW",
        end, end);
}

/* Names the kind of the file, as far as its first bytes tell. */
enum taken fail_magic(const uint8_t *bytes, size_t len, struct err *err)
{
    char shown[KEY_TEXT_MAX];
    bool zeros = true;

    key_text((struct rdb_bytes){bytes, len}, shown);
    for (size_t i = 0; i < len; i++)
        zeros = zeros && !bytes[i];
    if (zeros) {
        err_set(err, ERR_CORRUPT, "not an RDB file: it begins with zero bytes");
        err_hint(err, "Its data was never written, as after a loss of power: take another copy of "
                      "it, or an older backup.");
    } else if (*bytes == '*') {
        err_set(err, ERR_CORRUPT, "not an RDB file: it starts like an append-only file, with '%s'",
            shown);
        err_hint(err, "An append-only file is taken from the folder of the server that wrote it: "
                      "name the folder with \"recovery_path\" in the hosts file.");
    } else if (*bytes == '$') {
        err_set(err, ERR_CORRUPT,
            "not an RDB file: it starts like a raw stream of replication, with '%s'", shown);
        err_hint(err, "Cut its first line off: tail -n +2 FILE > NEW");
    } else {
        err_set(err, ERR_CORRUPT, "not an RDB file: it starts with '%s'", shown);
        err_hint(err,
            "An RDB file starts with \"REDIS\" or \"VALKEY\" and digits; gzip and zstd are "
            "known by their first bytes. If it is encrypted or packed otherwise, decrypt "
            "or unpack it.");
    }
    return FAILED;
}

static int end(struct rdb_reader *r, struct err *err)
{
    if (!r->header.version && r->carry.len &&
        memcmp(r->carry.data, *r->carry.data == 'V' ? "VALKEY" : "REDIS",
            r->carry.len < 5 ? r->carry.len : 5) != 0)
        return fail_magic((const uint8_t *)r->carry.data, r->carry.len, err);
    if (r->step != step_end) {
        struct cursor c = {.offset = r->offset};
        reader_fail(r, &c, ERR_CORRUPT, err, "file is cut: it ends");
        return err_hint(err, "Take another copy of it, or an older backup.");
    }
    if (r->crc_stored && r->crc_stored != r->crc) {
        r->checksum = RDB_CHECKSUM_BAD;
        err_set(err, ERR_CORRUPT,
            "wrong checksum: the file says %016" PRIx64 ", its bytes give %016" PRIx64,
            r->crc_stored, r->crc);
        return err_hint(err, "The file is damaged: take another copy of it, or an older backup.");
    }
    r->checksum = r->crc_stored ? RDB_CHECKSUM_OK : RDB_CHECKSUM_ABSENT;
    return check_trailing(r, err);
}

int rdb_reader_end(struct rdb_reader *r, struct err *err)
{
    if (!r->failure.code && end(r, &r->failure) == 0)
        return 0;
    *err = r->failure;
    return -1;
}

void rdb_reader_allow_more(struct rdb_reader *r)
{
    r->more_follows = true;
}

enum rdb_checksum rdb_reader_checksum(const struct rdb_reader *r)
{
    return r->checksum;
}

uint64_t rdb_reader_trailing(const struct rdb_reader *r)
{
    return r->trailing;
}

uint64_t rdb_reader_unit_offset(const struct rdb_reader *r)
{
    return r->unit.offset;
}

uint64_t rdb_reader_end_offset(const struct rdb_reader *r)
{
    if (r->step != step_end)
        return 0;
    return r->body_end + (r->header.version >= CHECKSUM_SINCE ? CHECKSUM_BYTES : 0);
}

uint64_t rdb_reader_data_end(const struct rdb_reader *r, uint64_t *ret_crc)
{
    *ret_crc = r->crc_data;
    return r->body_end - 1;
}
