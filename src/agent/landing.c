#include "landing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump_file.h"
#include "join_cluster.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "server.h"
#include "server_conf.h"
#include "watch.h"

enum {
    HELD_BYTES = 64, /* more than the mark of the end and the checksum */
    PIECE_BYTES = 256 * 1024,
    PIPE_BYTES = 1 << 20,
    POLL_MS = 10,
    /* From the verdict to a server that opens the pipe: */
    OPEN_MS = 60 * 1000,
    OPEN_FOR_NOTHING_MS = 10 * 1000,
    OPEN_REPLACED_MS = 2 * 1000, /* a server that found the pipe is about to open it */
};

static const char word_good[] = "g";

/* --- the process that feeds the server --- */

struct feeder {
    const char *path, *part_path; /* of the file: at its end, and before */
    int control;                  /* brings the verdict; if it ends without one, the file is bad */
    int fifo;                     /* the pipe at the path of dump.rdb (O_PATH) */
    int part, pipe;               /* -1: not open yet */
    enum { NONE, GOOD, BAD } verdict;
    int64_t verdict_ms; /* when the verdict came */
    off_t at;           /* bytes written to the pipe */
    char *piece;
};

/* Waits for the verdict, at most this long. */
static void listen_for(struct feeder *f, int ms)
{
    struct pollfd p = {.fd = f->control, .events = POLLIN};
    char word;

    if (poll(&p, 1, ms) <= 0 || f->verdict != NONE)
        return;
    f->verdict = recv(f->control, &word, 1, 0) == 1 && word == *word_good ? GOOD : BAD;
    f->verdict_ms = clock_mono_ms();
    close(f->control);
    f->control = -1;
}

static bool is_same(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* From now on no server can find the pipe. */
static bool is_left(const struct feeder *f)
{
    int64_t patience_ms = f->verdict == GOOD ? OPEN_MS : OPEN_FOR_NOTHING_MS;
    struct stat st;

    if (fstat(f->fifo, &st) < 0)
        return true;
    if (st.st_nlink == 0 && f->verdict == GOOD)
        patience_ms = OPEN_REPLACED_MS;
    else if (st.st_nlink == 0)
        return true;
    return f->verdict != NONE && clock_mono_ms() - f->verdict_ms > patience_ms;
}

/* -1: no server has opened its end yet. */
static int try_pipe(const struct feeder *f)
{
    char path[64];

    /* By its path another server may find it by now. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fifo);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ENXIO && errno != EINTR)
        _exit(1);
    return fd;
}

/* The server opens its end shortly after its start, and waits for us. */
static void open_pipe(struct feeder *f)
{
    while (f->verdict != BAD && (f->pipe = try_pipe(f)) < 0) {
        if (is_left(f))
            _exit(1);
        listen_for(f, f->verdict == NONE ? POLL_MS : 0);
        if (f->verdict != NONE)
            pause_ms(POLL_MS);
    }
    fcntl(f->pipe, F_SETFL, 0);
    fcntl(f->pipe, F_SETPIPE_SZ, PIPE_BYTES);
}

/*
 * Ends a server that will not get the rest, by an end of file each time that it opens the pipe. It
 * may not have opened it yet, and some servers open it once more to see what is wrong with the
 * file.
 */
static void end_server_early(struct feeder *f)
{
    if (f->verdict != BAD)
        f->verdict_ms = clock_mono_ms();
    f->verdict = BAD;
    for (; !is_left(f); pause_ms(POLL_MS)) {
        if (f->pipe >= 0)
            close(f->pipe);
        f->pipe = try_pipe(f);
    }
    _exit(1);
}

/*
 * Opens the file under its current name. Before anything was read it may be another file each time:
 * kept bytes of an earlier fetch may replace it.
 */
static void find_part(struct feeder *f)
{
    const char *path = f->verdict == GOOD ? f->path : f->part_path;

    if (f->at > 0 || (f->part >= 0 && is_same(f->part, path)))
        return;
    if (f->part >= 0)
        close(f->part);
    f->part = open(path, O_RDONLY | O_CLOEXEC);
}

/* If the server is gone, SIGPIPE ends this process. */
static void put(const struct feeder *f, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(f->pipe, f->piece + done, len - done);
        if (n < 0 && errno != EINTR)
            _exit(1);
        done += n > 0 ? (size_t)n : 0;
    }
}

/* Copies a piece of the file, never its last `held` bytes. False: nothing to copy now. */
static bool feed(struct feeder *f, off_t held)
{
    struct stat st;

    if (f->part < 0 || fstat(f->part, &st) < 0 || st.st_size - held <= f->at)
        return false;
    off_t left = st.st_size - held - f->at;
    size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    ssize_t n = pread(f->part, f->piece, want, f->at);
    if (n <= 0)
        end_server_early(f);
    put(f, (size_t)n);
    f->at += n;
    return true;
}

/* Closes the agent's own descriptors, because the link may have to end before this process. */
static void leave_agent(struct feeder *f)
{
    int null = open("/dev/null", O_RDWR);

    setsid();
    signal(SIGPIPE, SIG_DFL);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0)
        _exit(1);
    /* A process whose folder is the shard's may be taken for its server. */
    if (chdir("/") < 0)
        _exit(1);
    enum { CONTROL = STDERR_FILENO + 1, FIFO, REST };
    int control = fcntl(f->control, F_DUPFD, REST), fifo = fcntl(f->fifo, F_DUPFD, REST);
    if (control < 0 || fifo < 0 || dup2(control, CONTROL) < 0 || dup2(fifo, FIFO) < 0)
        _exit(1);
    f->control = CONTROL;
    f->fifo = FIFO;
    close_range(REST, ~0U, 0);
}

static void feed_server(struct feeder *f)
{
    leave_agent(f);
    f->piece = xmalloc(PIECE_BYTES);
    open_pipe(f);
    while (f->verdict == NONE) {
        find_part(f);
        listen_for(f, feed(f, HELD_BYTES) ? 0 : POLL_MS);
    }
    find_part(f);
    /* The file that was read must be the good one. */
    if (f->verdict != GOOD || f->part < 0 || !is_same(f->part, f->path))
        end_server_early(f);
    while (feed(f, 0))
        ;
    _exit(0);
}

/* The caller keeps the other end of the control pipe. */
static int start_feeder(const struct shard *shard, const char *as, int fifo)
{
    AUTO_FREE char *folder = path_join(shard->path, "incoming");
    AUTO_FREE char *path = path_join(folder, as);
    AUTO_FREE char *part_path = xasprintf("%s.part", path);
    struct feeder f = {.path = path, .part_path = part_path, .fifo = fifo, .part = -1, .pipe = -1};
    int ends[2];

    unlink(part_path); /* a leftover must not be taken for the new file */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    f.control = ends[1];
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        feed_server(&f);
    }
    close(ends[1]);
    if (pid > 0)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* --- the server --- */

bool landing_is_of(const struct shard *shard, const char *as)
{
    const char *landed = shard_string(shard, "landing");
    return as && landed && strcmp(landed, as) == 0;
}

int landing_close(struct shard *shard, struct err *err)
{
    if (!shard_is_landing(shard))
        return 0;
    json_object_del(shard->record, "landing");
    return shard_save(shard, err);
}

/* Whether a server may be started here. Ends the server of an interrupted landing first. */
static bool is_free(struct shard *shard)
{
    struct err ignored = ERR_INIT;
    bool was_running;

    if (shard_has(shard, SHARD_CONFIGURED) || (file_exists("dump.rdb") && !dump_file_is_pipe()))
        return false;
    return shard_is_landing(shard) ? server_stop(shard, &was_running, &ignored) == 0
                                   : server_pid(shard) == 0;
}

void landing_begin(struct landing *landing, struct shard *shard, const char *as)
{
    struct err ignored = ERR_INIT;

    if (!is_free(shard))
        return;
    json_object_set_new(shard->record, "landing", json_string(as));
    if (shard_save(shard, &ignored) < 0)
        return;
    if (dump_file_is_pipe())
        unlink("dump.rdb");
    int fifo = mkfifo("dump.rdb", 0600) < 0 ? -1 : open("dump.rdb", O_PATH | O_CLOEXEC);
    if (fifo < 0)
        return;
    landing->control = start_feeder(shard, as, fifo);
    close(fifo);
    if (landing->control >= 0 && (nodes_forget_heard(&ignored) < 0 ||
                                     server_conf_write(shard->record, shard->path, &ignored) < 0 ||
                                     server_launch(shard, &ignored) < 0))
        landing_end(landing, shard, false);
}

void landing_end(struct landing *landing, struct shard *shard, bool good)
{
    struct err ignored = ERR_INIT;
    bool was_running;

    if (landing->control < 0)
        return;
    /*
     * Replace the pipe before the server reaches the end. At the end, Redis since 8.0 and Valkey
     * open dump.rdb once more, to drop it from the page cache; on a pipe that would block forever.
     */
    if (good && dump_file_place(shard, shard_string(shard, "landing"), &ignored) < 0)
        good = false;
    /* The feeder may be gone with its server, so no SIGPIPE for this write. */
    if (good)
        (void)!send(landing->control, word_good, 1, MSG_NOSIGNAL);
    close(landing->control);
    landing->control = -1;
    if (good || server_stop(shard, &was_running, &ignored) < 0)
        return;
    if (dump_file_is_pipe())
        unlink("dump.rdb");
    (void)!landing_close(shard, &ignored);
}
