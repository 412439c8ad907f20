#include "recluster/pack.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/igzip_lib.h>
#include <zstd.h>

enum { OUT_BYTES = 256 * 1024, FEED_BYTES_MAX = 1 << 30, ZSTD_LEVEL = 1 };

struct pack {
    enum pack_kind kind;
    store_sink sink;
    void *arg;
    struct isal_zstream gzip;
    uint8_t *level; /* working memory of ISA-L's level 1 */
    ZSTD_CCtx *zstd;
    uint8_t out[OUT_BYTES];
};

static const struct {
    const char *name, *suffix;
} kinds[] = {
    [PACK_NONE] = {"none", ""},
    [PACK_GZIP] = {"gzip", ".gz"},
    [PACK_ZSTD] = {"zstd", ".zst"},
};

const char *pack_name(enum pack_kind kind)
{
    return kinds[kind].name;
}

const char *pack_suffix(enum pack_kind kind)
{
    return kinds[kind].suffix;
}

bool pack_kind_of(const char *name, enum pack_kind *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *ret = (enum pack_kind)i;
            return true;
        }
    return false;
}

struct pack *pack_new(enum pack_kind kind, store_sink sink, void *arg)
{
    struct pack *p = xcalloc(1, sizeof(*p));

    p->kind = kind;
    p->sink = sink;
    p->arg = arg;
    if (kind == PACK_GZIP) {
        isal_deflate_init(&p->gzip);
        p->level = xmalloc(ISAL_DEF_LVL1_DEFAULT);
        p->gzip.level = 1;
        p->gzip.level_buf = p->level;
        p->gzip.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
        p->gzip.gzip_flag = IGZIP_GZIP;
    }
    if (kind == PACK_ZSTD) {
        p->zstd = xchecked(ZSTD_createCCtx(), 0);
        ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
    }
    return p;
}

void pack_free(struct pack *p)
{
    if (!p)
        return;
    ZSTD_freeCCtx(p->zstd);
    free(p->level);
    free(p);
}

static int write_out(struct pack *p, size_t len, struct err *err)
{
    return len ? p->sink(p->arg, p->out, len, err) : 0;
}

static int add_gzip(struct pack *p, const uint8_t *data, size_t len, bool last, struct err *err)
{
    struct isal_zstream *z = &p->gzip;

    z->next_in = (uint8_t *)(uintptr_t)data; /* ISA-L only reads it */
    z->avail_in = (uint32_t)len;
    z->end_of_stream = last;
    do {
        z->next_out = p->out;
        z->avail_out = OUT_BYTES;
        int rc = isal_deflate(z);
        if (rc != COMP_OK)
            return err_set(err, ERR_BUG, "gzip failed with code %d", rc);
        if (write_out(p, OUT_BYTES - z->avail_out, err) < 0)
            return -1;
    } while (z->avail_in || z->avail_out == 0 || (last && z->internal_state.state != ZSTATE_END));
    return 0;
}

static int add_zstd(struct pack *p, const void *data, size_t len, bool last, struct err *err)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    size_t left;

    do {
        ZSTD_outBuffer out = {.dst = p->out, .size = OUT_BYTES};
        left = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return err_set(err, ERR_BUG, "zstd failed: %s", ZSTD_getErrorName(left));
        if (write_out(p, out.pos, err) < 0)
            return -1;
    } while (in.pos < in.size || (last && left));
    return 0;
}

static int add(struct pack *p, const void *data, size_t len, bool last, struct err *err)
{
    switch (p->kind) {
    case PACK_GZIP:
        return add_gzip(p, data, len, last, err);
    case PACK_ZSTD:
        return add_zstd(p, data, len, last, err);
    case PACK_NONE:
        break;
    }
    return len ? p->sink(p->arg, data, len, err) : 0;
}

int pack_add(struct pack *p, const void *data, size_t len, struct err *err)
{
    const char *at = data;

    while (len) {
        size_t n = len < FEED_BYTES_MAX ? len : FEED_BYTES_MAX;
        if (add(p, at, n, false, err) < 0)
            return -1;
        at += n;
        len -= n;
    }
    return 0;
}

int pack_end(struct pack *p, struct err *err)
{
    return add(p, "", 0, true, err);
}
