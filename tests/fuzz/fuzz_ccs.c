/*
 * Import of a CCS file in all its forms: refused with an error, or there and loadable; packed with
 * gzip it is the same.
 */

#include <isa-l/igzip_lib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "recluster/buf.h"
#include "recluster/ccs.h"
#include "recluster/file.h"

/* Opened once: a schema takes longer than most inputs. Each import is taken back. */
static struct state *open_state(void)
{
    static struct state *st;
    struct err err = ERR_INIT;

    if (!st)
        FUZZ_ASSERT(state_open("", STATE_MEMORY, &st, &err) == 0);
    return st;
}

/* In memory, under a name that it can be opened by. */
static int file_of(const void *data, size_t size, char path[64])
{
    struct err err = ERR_INIT;
    int fd = memfd_create("ccs", MFD_CLOEXEC);

    FUZZ_ASSERT(fd >= 0);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    FUZZ_ASSERT(file_write_all(fd, data, size, path, &err) == 0);
    return fd;
}

static enum err_code import(const void *data, size_t size)
{
    struct state *st = open_state();
    struct err err = ERR_INIT;
    char path[64];
    int fd = file_of(data, size, path);

    FUZZ_ASSERT(state_begin(st, &err) == 0);
    if (ccs_import(path, NULL, st, &err) == 0) {
        struct ccs *ccs = ccs_load(st, &err);
        FUZZ_ASSERT(ccs);
        ccs_free(ccs);
    } else {
        FUZZ_ASSERT(err.code != ERR_NONE && err.code != ERR_BUG && *err.message);
    }
    state_rollback(st);
    close(fd);
    return err.code;
}

static void pack(const void *data, size_t size, struct buf *out)
{
    struct isal_zstream z;

    buf_reserve(out, size + size / 8 + 1024);
    isal_deflate_stateless_init(&z);
    z.gzip_flag = IGZIP_GZIP;
    z.end_of_stream = 1;
    memcpy(&z.next_in, &data, sizeof(data)); /* it only lacks the const */
    z.avail_in = (uint32_t)size;
    z.next_out = (uint8_t *)out->data;
    z.avail_out = (uint32_t)(out->alloc - 1);
    FUZZ_ASSERT(isal_deflate_stateless(&z) == COMP_OK);
    out->len = z.total_out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char zeros[8];
    struct buf plain = BUF_INIT, packed = BUF_INIT;

    buf_add(&plain, data, size);
    /* An RDB file is to be refused for what is in it, not for its checksum. */
    if (size > 17 && memcmp(data, "REDIS", 5) == 0)
        memcpy(plain.data + size - sizeof(zeros), zeros, sizeof(zeros));
    enum err_code code = import(plain.data, plain.len);
    bool is_packed = size > 1 && data[0] == 0x1f && data[1] == 0x8b;
    /* One of four, for speed. */
    if (!is_packed && size > 0 && data[size / 2] % 4 == 0) {
        pack(plain.data, plain.len, &packed);
        FUZZ_ASSERT(import(packed.data, packed.len) == code);
    }
    buf_release(&plain);
    buf_release(&packed);
    return 0;
}
