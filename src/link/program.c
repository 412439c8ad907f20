#include "recluster/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <isa-l/igzip_lib.h>

#include "recluster/file.h"

enum {
    FILE_BYTES_MAX = 256 << 20,
    FILES_MAX = 256,
    TAR_BLOCK = 512,
    TAR_NAME_MAX = 100,
    LEFTOVER_S = 3600, /* a leftover of that age is not in use */
};

static const char program_name[] = "recluster";

/* --- the files of the running program --- */

struct part {
    char *name; /* in the folder */
    char *path; /* here */
};

struct parts {
    struct part items[FILES_MAX];
    size_t count;
    char *loader; /* the path that the program uses */
};

static void add_part(struct parts *parts, const char *name, const char *path)
{
    if (parts->count < FILES_MAX)
        parts->items[parts->count++] = (struct part){xstrdup(name), xstrdup(path)};
}

static int see_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct parts *parts = arg;

    (void)size;
    if (info->dlpi_name[0] == '/') /* else the program itself, or an object of the kernel */
        add_part(parts, path_base(info->dlpi_name), info->dlpi_name);
    for (int i = 0; i < info->dlpi_phnum && !info->dlpi_name[0]; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_INTERP)
            parts->loader = xstrdup((const char *)(uintptr_t)(info->dlpi_addr + header->p_vaddr));
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The mapped files are those that the linker chose, so its search need not be repeated. */
static void find_parts(struct parts *parts)
{
    *parts = (struct parts){.count = 0};
    add_part(parts, program_name, "/proc/self/exe");
    dl_iterate_phdr(see_object, parts);
    qsort(parts->items, parts->count, sizeof(parts->items[0]), by_name);
}

static void parts_release(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        free(parts->items[i].name);
        free(parts->items[i].path);
    }
    free(parts->loader);
}

/* --- the archive --- */

/* A ustar header as in POSIX. The time is arbitrary, but not 0, which makes tar warn. */
static void add_header(struct buf *tar, const char *name, size_t bytes)
{
    char header[TAR_BLOCK] = "";
    unsigned sum = 0;

    snprintf(header, TAR_NAME_MAX, "%s", name);
    memcpy(header + 100, "0000755", 8);
    memcpy(header + 108, "0000000", 8);
    memcpy(header + 116, "0000000", 8);
    snprintf(header + 124, 12, "%011zo", bytes);
    memcpy(header + 136, "10000000000", 12);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(header); i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum & 0777777);
    buf_add(tar, header, sizeof(header));
}

static void add_padding(struct buf *tar, size_t bytes)
{
    static const char zeroes[2 * TAR_BLOCK];
    buf_add(tar, zeroes, bytes);
}

static void add_line(struct digest *all, const void *data, size_t len, const char *name)
{
    char hex[DIGEST_HEX_MAX];

    digest_of(data, len, hex);
    AUTO_FREE char *line = xasprintf("%s  %s\n", hex, name);
    digest_add(all, line, strlen(line));
}

static int add_file(struct buf *tar, struct digest *all, const struct part *part, struct err *err)
{
    struct buf content = BUF_INIT;

    if (strlen(part->name) >= TAR_NAME_MAX)
        return err_set(
            err, ERR_UNSUPPORTED, "the name of the library '%s' is too long", part->path);
    if (file_read(part->path, FILE_BYTES_MAX, &content, err) < 0) {
        buf_release(&content);
        return -1;
    }
    add_line(all, content.data, content.len, part->name);
    add_header(tar, part->name, content.len);
    buf_add(tar, content.data, content.len);
    add_padding(tar, (TAR_BLOCK - content.len % TAR_BLOCK) % TAR_BLOCK);
    buf_release(&content);
    return 0;
}

static int read_program(struct program *program, const struct parts *parts, struct err *err)
{
    struct digest *all = digest_new();
    struct utsname machine;

    for (size_t i = 0; i < parts->count; i++)
        if (add_file(&program->tar, all, &parts->items[i], err) < 0) {
            digest_free(all);
            return -1;
        }
    add_padding(&program->tar, 2 * TAR_BLOCK);
    digest_end(all, program->hash);
    if (parts->loader)
        program->loader = xstrdup(path_base(parts->loader));
    if (uname(&machine) < 0)
        return err_sys(err, ERR_FAILED, "cannot ask for the machine's architecture");
    snprintf(program->machine, sizeof(program->machine), "%s", machine.machine);
    return 0;
}

struct program *program_self(struct err *err)
{
    static struct program *self;
    struct parts parts;

    if (self)
        return self;
    struct program *program = xcalloc(1, sizeof(*program));
    buf_init(&program->tar);
    buf_init(&program->tar_gz);
    find_parts(&parts);
    if (read_program(program, &parts, err) == 0) {
        self = program;
    } else {
        err_wrap(err, "cannot read this program to send it");
        buf_release(&program->tar);
        free(program->loader);
        free(program);
    }
    parts_release(&parts);
    return self;
}

static int compress(const struct buf *in, struct buf *out, struct err *err)
{
    AUTO_FREE uint8_t *work = xmalloc(ISAL_DEF_LVL1_DEFAULT);
    struct isal_zstream z;

    /* Stored blocks cost 5 bytes for each 64 KiB. */
    size_t room = in->len + in->len / 1024 + 4096;
    buf_reserve(out, room);
    isal_deflate_stateless_init(&z);
    z.level = 1;
    z.level_buf = work;
    z.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    z.gzip_flag = IGZIP_GZIP;
    z.end_of_stream = 1;
    z.next_in = (uint8_t *)in->data;
    z.avail_in = (uint32_t)in->len;
    z.next_out = (uint8_t *)out->data;
    z.avail_out = (uint32_t)room;
    if (in->len > UINT32_MAX / 2 || isal_deflate_stateless(&z) != COMP_OK)
        return err_set(err, ERR_FAILED, "cannot compress this program to send it");
    out->len = z.total_out;
    return 0;
}

const struct buf *program_archive(struct program *program, bool gzip, struct err *err)
{
    if (!gzip)
        return &program->tar;
    if (!program->tar_gz.len && compress(&program->tar, &program->tar_gz, err) < 0)
        return NULL;
    return &program->tar_gz;
}

/* --- on the host --- */

static int sync_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 ? -1 : fsync(fd);

    if (rc < 0)
        err_sys(err, ERR_IO, "cannot write '%s' to the disk", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int check_folder(const char *folder, const char *hash, struct err *err)
{
    struct digest *all;
    char hex[DIGEST_HEX_MAX];
    char **names;
    size_t count;
    int rc = 0;

    if (dir_list(folder, &names, &count, err) < 0)
        return -1;
    all = digest_new();
    for (size_t i = 0; i < count && rc == 0; i++) {
        AUTO_FREE char *path = path_join(folder, names[i]);
        struct buf content = BUF_INIT;
        rc = file_read(path, FILE_BYTES_MAX, &content, err);
        add_line(all, content.data, content.len, names[i]);
        buf_release(&content);
        if (rc == 0)
            rc = sync_file(path, err);
    }
    strv_free(names, count);
    digest_end(all, hex);
    if (rc == 0 && strcmp(hex, hash) != 0)
        rc = err_set(err, ERR_CORRUPT, "the program arrived damaged in '%s'", folder);
    return rc == 0 ? dir_sync(folder, err) : -1;
}

/* Leftovers of killed runs. They are harmless, so failures are ignored. */
static void remove_leftovers(const char *dir, const char *hash)
{
    struct err ignored = ERR_INIT;
    char **names;
    size_t count, len = strlen(hash);

    if (dir_list(dir, &names, &count, &ignored) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *path = path_join(dir, names[i]);
        struct stat st;
        if (strncmp(names[i], hash, len) == 0 && names[i][len] == '.' && lstat(path, &st) == 0 &&
            time(NULL) - st.st_mtime > LEFTOVER_S)
            (void)!dir_remove(path, &ignored);
    }
    strv_free(names, count);
}

int program_install(const char *from, const char *to, struct err *err)
{
    AUTO_FREE char *dir = path_dir(to);
    struct err ignored = ERR_INIT;
    int rc = check_folder(from, path_base(to), err);

    if (rc == 0 && rename(from, to) < 0) {
        /* A folder gets this name only when complete, so an existing one is as good as ours. */
        if (errno != ENOTEMPTY && errno != EEXIST)
            rc = err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", from, to);
        (void)!dir_remove(from, &ignored);
    } else if (rc < 0) {
        (void)!dir_remove(from, &ignored);
    }
    if (rc == 0)
        rc = dir_sync(dir, err);
    remove_leftovers(dir, path_base(to));
    return rc;
}
