/* Import of a CCS file in all its forms: refused with an error, or there and loadable. */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "recluster/ccs.h"
#include "recluster/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char zeros[8];
    struct err err = ERR_INIT;
    struct state *st;
    char path[64];
    int fd = memfd_create("ccs", MFD_CLOEXEC);

    FUZZ_ASSERT(fd >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    FUZZ_ASSERT(file_write_all(fd, data, size, path, &err) == 0);
    /* An RDB file is to be refused for what is in it, not for its checksum. */
    if (size > 17 && memcmp(data, "REDIS", 5) == 0)
        FUZZ_ASSERT(pwrite(fd, zeros, sizeof(zeros), (off_t)(size - sizeof(zeros))) == 8);
    FUZZ_ASSERT(state_open("", STATE_MEMORY, &st, &err) == 0);
    if (ccs_import(path, st, &err) == 0) {
        struct ccs *ccs = ccs_load(st, &err);
        FUZZ_ASSERT(ccs);
        ccs_free(ccs);
    } else {
        FUZZ_ASSERT(err.code != ERR_BUG && *err.message);
    }
    state_close(st);
    close(fd);
    return 0;
}
