#include "sample.h"

#include <stdio.h>
#include <string.h>

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include "recluster/slots.h"
#include "test.h"

static void add_string(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    assert_true(len < 64);
    buf_addc(out, (char)len);
    buf_add(out, text, len);
}

void sample_rdb(struct buf *out, const char *const *keys, int64_t ctime_s)
{
    buf_adds(out, "REDIS0010");
    if (ctime_s) {
        AUTO_FREE char *ctime = xasprintf("%lld", (long long)ctime_s);
        buf_addc(out, '\xfa');
        add_string(out, "ctime");
        add_string(out, ctime);
    }
    if (keys[0])
        buf_add(out, "\xfe\x00", 2);
    for (size_t i = 0; keys[i]; i++) {
        buf_addc(out, '\0');
        add_string(out, keys[i]);
        add_string(out, "value");
    }
    buf_add(out, "\xff\0\0\0\0\0\0\0\0", 9);
}

char *sample_key(unsigned first_slot, unsigned last_slot)
{
    for (unsigned i = 0;; i++) {
        char *key = xasprintf("key:%u", i);
        unsigned slot = slot_of_key(key, strlen(key));
        if (slot >= first_slot && slot <= last_slot)
            return key;
        free_ptr(&key);
    }
}

void sample_gzip(struct buf *out, const void *data, size_t len)
{
    struct isal_zstream stream;
    size_t room = len + len / 8 + 1024;

    buf_reserve(out, room);
    isal_deflate_stateless_init(&stream);
    stream.next_in = (uint8_t *)(uintptr_t)data;
    stream.avail_in = (uint32_t)len;
    stream.next_out = (uint8_t *)out->data + out->len;
    stream.avail_out = (uint32_t)room;
    stream.end_of_stream = 1;
    stream.gzip_flag = IGZIP_GZIP;
    assert_int_equal(isal_deflate_stateless(&stream), COMP_OK);
    out->len += stream.total_out;
    out->data[out->len] = '\0';
}

void sample_zstd(struct buf *out, const void *data, size_t len)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(len);

    buf_reserve(out, room);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t made = ZSTD_compress2(c, out->data + out->len, room, data, len);
    assert_false(ZSTD_isError(made));
    ZSTD_freeCCtx(c);
    out->len += made;
    out->data[out->len] = '\0';
}

void sample_noise(struct buf *out, size_t len)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buf_addc(out, (char)(x >> 32));
    }
}
