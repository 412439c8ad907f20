/* The connection of a replica: handshake, data set or stream, acknowledgements. */

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/repl.h"

enum {
    READ_BYTES = 256 * 1024,
    LINE_BYTES_MAX = 4096,
    INFO_BYTES_MAX = 1 << 20,
    MARK_BYTES = 40, /* after a data set whose length is not announced */
    ACK_MS = 1000,
};

/* What the server was asked for, or sends. */
enum step {
    STEP_LOGIN,
    STEP_PORT,
    STEP_ABILITIES,
    STEP_DATA_SET_ONLY,
    STEP_INFO,
    STEP_PSYNC,
    STEP_PAYLOAD, /* the line before the data set */
    STEP_COUNTED, /* data set of a known length */
    STEP_MARKED,  /* data set up to the mark */
    STEP_STREAM,
    STEP_OVER,
};

struct psync {
    struct tcp *tcp;
    const char *user;
    const struct secret *password;
    bool stream, begun;
    enum step step;
    bool asked; /* the command of the step was sent */
    struct repl_place place;
    struct buf out; /* wiped: it may hold a password */
    size_t sent;
    char in[MARK_BYTES + READ_BYTES]; /* received: [at, end) is not taken yet */
    size_t at, end;
    int64_t left; /* STEP_COUNTED: bytes; STEP_INFO: of the answer, -1 before its first line */
    struct buf info;
    char mark[MARK_BYTES];
    int64_t silence_ms, received_ms, acked_ms;
};

int psync_open(const struct psync_params *params, struct psync **ret, struct err *err)
{
    struct tcp *tcp;

    if (tcp_open(&params->tcp, &tcp, err) < 0)
        return -1;
    struct psync *p = xcalloc(1, sizeof(*p));
    p->tcp = tcp;
    p->user = params->user;
    p->password = params->password;
    p->stream = params->from != NULL;
    if (params->from)
        p->place = *params->from;
    p->silence_ms = params->silence_ms ? params->silence_ms : PSYNC_SILENCE_MS;
    p->received_ms = clock_mono_ms();
    p->left = -1;
    buf_init(&p->out);
    buf_init(&p->info);
    *ret = p;
    return 0;
}

static void forget_sent(struct psync *p)
{
    explicit_bzero(p->out.data, p->out.alloc);
    buf_clear(&p->out);
    p->sent = 0;
}

void psync_close(struct psync *p)
{
    if (!p)
        return;
    forget_sent(p);
    buf_release(&p->out);
    buf_release(&p->info);
    tcp_close(p->tcp);
    free(p);
}

const struct repl_place *psync_place(const struct psync *p)
{
    return &p->place;
}

const char *psync_peer(const struct psync *p)
{
    return tcp_peer(p->tcp);
}

/* --- what is sent --- */

#define SEND(p, ...) command_add(&(p)->out, (const char *const[]){__VA_ARGS__, NULL})

static void send_login(struct psync *p)
{
    const char *password = secret_reveal(p->password);

    if (p->user)
        SEND(p, "AUTH", p->user, password);
    else
        SEND(p, "AUTH", password);
}

/* The first byte that is wanted, counted from 1. */
static void send_psync(struct psync *p)
{
    char offset[32];

    if (!p->stream) {
        SEND(p, "PSYNC", "?", "-1");
        return;
    }
    snprintf(offset, sizeof(offset), "%" PRId64, p->place.offset + 1);
    SEND(p, "PSYNC", p->place.id, offset);
}

static bool is_skipped(const struct psync *p, enum step step)
{
    return (step == STEP_LOGIN && !p->password) || (step == STEP_DATA_SET_ONLY && p->stream) ||
           (step == STEP_INFO && !p->stream);
}

static void ask(struct psync *p)
{
    while (is_skipped(p, p->step))
        p->step++;
    if (p->asked || p->step > STEP_PSYNC)
        return;
    p->asked = true;
    if (p->step == STEP_LOGIN)
        send_login(p);
    else if (p->step == STEP_PORT)
        SEND(p, "REPLCONF", "listening-port", "0");
    else if (p->step == STEP_ABILITIES)
        SEND(p, "REPLCONF", "capa", "eof", "capa", "psync2");
    else if (p->step == STEP_DATA_SET_ONLY)
        SEND(p, "REPLCONF", "rdb-only", "1");
    else if (p->step == STEP_INFO)
        SEND(p, "INFO", "replication");
    else
        send_psync(p);
}

static void go_on(struct psync *p)
{
    p->step++;
    p->asked = false;
}

static void acknowledge(struct psync *p, struct wait *wait)
{
    int64_t now_ms = clock_mono_ms();

    if (p->step != STEP_STREAM)
        return;
    if (now_ms - p->acked_ms >= ACK_MS) {
        SEND(p, "REPLCONF", "ACK", "0");
        p->acked_ms = now_ms;
    }
    wait_until(wait, p->acked_ms + ACK_MS);
}

static int send_more(struct psync *p, struct err *err)
{
    while (p->sent < p->out.len) {
        ssize_t n = tcp_write(p->tcp, p->out.data + p->sent, p->out.len - p->sent, err);
        if (n <= 0)
            return (int)n;
        p->sent += (size_t)n;
    }
    if (p->sent)
        forget_sent(p);
    return 0;
}

/* --- answers --- */

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

static int take_refusal(const struct psync *p, const char *text, struct err *err)
{
    const char *peer = tcp_peer(p->tcp);

    if (p->step == STEP_LOGIN) {
        err_set(err, ERR_DENIED, "%s refuses the login: %s", peer, text);
        return err_hint(err, "Check --user and the password.");
    }
    if (begins(text, "NOAUTH")) {
        err_set(err, ERR_DENIED, "%s wants a login", peer);
        return err_hint(err, "Give a user and a password: --user NAME --password FILE");
    }
    if (begins(text, "NOPERM")) {
        err_set(err, ERR_DENIED, "%s refuses a command of replicas to this user: %s", peer, text);
        return err_hint(err, "What the user needs: recluster backup --acl");
    }
    if (begins(text, "NOMASTERLINK") || begins(text, "LOADING") || begins(text, "BUSY") ||
        begins(text, "MASTERDOWN"))
        return err_set(err, ERR_BUSY, "%s cannot serve a replica now: %s", peer, text);
    return err_set(err, ERR_SERVER, "%s refuses to serve a replica: %s", peer, text);
}

/* Options that a release does not know are not needed there. */
static bool may_be_refused(enum step step)
{
    return step == STEP_PORT || step == STEP_ABILITIES || step == STEP_DATA_SET_ONLY;
}

static int strange(const struct psync *p, const char *text, struct err *err)
{
    return err_set(err, ERR_PROTOCOL, "%s does not answer a replica as a server does: '%.100s'",
        tcp_peer(p->tcp), text);
}

static bool take_id(const char *text, char *ret)
{
    for (int i = 0; i < REPL_ID_HEX; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    memcpy(ret, text, REPL_ID_HEX);
    ret[REPL_ID_HEX] = '\0';
    return true;
}

static int history_is_gone(const struct psync *p, struct err *err)
{
    return err_set(err, ERR_CHANGED, "%s does not have the stream of %s from offset %" PRId64 " on",
        tcp_peer(p->tcp), p->place.id, p->place.offset);
}

/* "+FULLRESYNC <id> <offset>" */
static int take_full(struct psync *p, const char *line, struct err *err)
{
    const char *word = strchr(line, ' ');
    char *end;

    if (p->stream)
        return history_is_gone(p, err);
    if (!word || !take_id(word + 1, p->place.id) || word[1 + REPL_ID_HEX] != ' ')
        return strange(p, line, err);
    p->place.offset = strtoll(word + 2 + REPL_ID_HEX, &end, 10);
    if (*end || p->place.offset < 0)
        return strange(p, line, err);
    p->step = STEP_PAYLOAD;
    return 0;
}

/* "+CONTINUE", or "+CONTINUE <new id>" */
static int take_continue(struct psync *p, const char *line, struct err *err)
{
    const char *word = strchr(line, ' ');

    if (!p->stream || (word && !take_id(word + 1, p->place.id)))
        return strange(p, line, err);
    p->step = STEP_STREAM;
    return 0;
}

/* "$EOF:<mark>", or "$<length>" */
static int take_payload(struct psync *p, const char *line, struct err *err)
{
    static const char marked[] = "$EOF:";
    char *end;

    if (begins(line, marked) && strlen(line) == sizeof(marked) - 1 + MARK_BYTES) {
        memcpy(p->mark, line + sizeof(marked) - 1, MARK_BYTES);
        p->step = STEP_MARKED;
        return 0;
    }
    if (*line != '$' || !isdigit((unsigned char)line[1]))
        return strange(p, line, err);
    p->left = strtoll(line + 1, &end, 10);
    if (*end || p->left == INT64_MAX)
        return strange(p, line, err);
    p->step = STEP_COUNTED;
    return 0;
}

static int64_t info_number(const char *info, const char *field, int64_t missing)
{
    const char *at = strstr(info, field);
    return at ? strtoll(at + strlen(field), NULL, 10) : missing;
}

static bool info_has_id(const char *info, const char *field, const char *id)
{
    const char *at = strstr(info, field);
    return at && strncmp(at + strlen(field), id, REPL_ID_HEX) == 0;
}

/*
 * Whether the server would continue the stream. Of its history before a failover it has only what
 * both had (second_repl_offset counts from 1).
 */
static bool has_stream(const char *info, const struct repl_place *place)
{
    int64_t first = info_number(info, "\nrepl_backlog_first_byte_offset:", 0);
    int64_t length = info_number(info, "\nrepl_backlog_histlen:", 0);
    int64_t wanted = place->offset + 1;
    bool ours = info_has_id(info, "\nmaster_replid:", place->id) ||
                (info_has_id(info, "\nmaster_replid2:", place->id) &&
                    wanted <= info_number(info, "\nsecond_repl_offset:", -1));

    return ours && info_number(info, "\nrepl_backlog_active:", 0) == 1 && wanted >= first &&
           wanted <= first + length;
}

/* One line of an answer, without its end. */
static int take_line(struct psync *p, const char *line, struct err *err)
{
    if (!*line) /* servers send empty lines while a replica waits for its data set */
        return 0;
    if (p->step == STEP_PAYLOAD && *line == '$')
        return take_payload(p, line, err);
    if (*line == '-' && !may_be_refused(p->step))
        return take_refusal(p, line + 1, err);
    if (p->step == STEP_INFO && *line == '$' && isdigit((unsigned char)line[1])) {
        int64_t bytes = strtoll(line + 1, NULL, 10);
        if (bytes > INFO_BYTES_MAX)
            return strange(p, line, err);
        p->left = bytes + 2; /* and its line end */
        return 0;
    }
    if (p->step == STEP_PSYNC && begins(line, "+FULLRESYNC"))
        return take_full(p, line, err);
    if (p->step == STEP_PSYNC && begins(line, "+CONTINUE"))
        return take_continue(p, line, err);
    if (p->step < STEP_INFO && (*line == '+' || *line == '-')) {
        go_on(p);
        return 0;
    }
    return strange(p, line, err);
}

static int take_info(struct psync *p, struct err *err)
{
    size_t n = p->end - p->at < (size_t)p->left ? p->end - p->at : (size_t)p->left;

    buf_add(&p->info, p->in + p->at, n);
    p->at += n;
    p->left -= (int64_t)n;
    if (p->left)
        return 0;
    if (!has_stream(p->info.data, &p->place))
        return history_is_gone(p, err);
    go_on(p);
    return 0;
}

/* 1: something was taken; 0: more bytes are needed. */
static int take_answer(struct psync *p, struct err *err)
{
    char line[LINE_BYTES_MAX];

    if (p->at == p->end)
        return 0;
    if (p->step == STEP_INFO && p->left >= 0)
        return take_info(p, err) < 0 ? -1 : 1;
    const char *from = p->in + p->at, *lf = memchr(from, '\n', p->end - p->at);
    size_t len = lf ? (size_t)(lf - from) : p->end - p->at;
    if (len >= sizeof(line))
        return strange(p, "a very long line", err);
    if (!lf)
        return 0;
    memcpy(line, from, len);
    p->at += len + 1;
    len -= len && line[len - 1] == '\r';
    line[len] = '\0';
    return take_line(p, line, err) < 0 ? -1 : 1;
}

/* --- data --- */

static enum psync_event give(struct psync *p, struct rdb_bytes *ret, size_t len)
{
    *ret = (struct rdb_bytes){p->in + p->at, len};
    p->at += len;
    return PSYNC_DATA;
}

static enum psync_event give_stream(struct psync *p, struct rdb_bytes *ret)
{
    size_t len = p->end - p->at;

    p->place.offset += (int64_t)len;
    return len ? give(p, ret, len) : PSYNC_WAIT;
}

static enum psync_event give_counted(struct psync *p, struct rdb_bytes *ret)
{
    size_t len = p->end - p->at < (size_t)p->left ? p->end - p->at : (size_t)p->left;

    p->left -= (int64_t)len;
    if (len)
        return give(p, ret, len);
    if (p->left)
        return PSYNC_WAIT;
    p->step = STEP_OVER;
    return PSYNC_END;
}

/* The mark is the last that comes: nothing follows before an acknowledgement. */
static enum psync_event give_marked(struct psync *p, struct rdb_bytes *ret)
{
    size_t len = p->end - p->at;

    if (len > MARK_BYTES)
        return give(p, ret, len - MARK_BYTES);
    if (len < MARK_BYTES || memcmp(p->in + p->at, p->mark, MARK_BYTES) != 0)
        return PSYNC_WAIT;
    p->step = STEP_OVER;
    return PSYNC_END;
}

static enum psync_event give_data(struct psync *p, struct rdb_bytes *ret)
{
    if (!p->begun && p->step > STEP_PAYLOAD) {
        p->begun = true;
        return PSYNC_BEGUN;
    }
    switch (p->step) {
    case STEP_COUNTED:
        return give_counted(p, ret);
    case STEP_MARKED:
        return give_marked(p, ret);
    case STEP_STREAM:
        return give_stream(p, ret);
    case STEP_OVER:
        return PSYNC_END;
    case STEP_LOGIN:
    case STEP_PORT:
    case STEP_ABILITIES:
    case STEP_DATA_SET_ONLY:
    case STEP_INFO:
    case STEP_PSYNC:
    case STEP_PAYLOAD:
        break;
    }
    return PSYNC_WAIT;
}

/* 1: there are new bytes; 0: none now. */
static int receive(struct psync *p, struct err *err)
{
    memmove(p->in, p->in + p->at, p->end - p->at);
    p->end -= p->at;
    p->at = 0;
    ssize_t n = tcp_read(p->tcp, p->in + p->end, sizeof(p->in) - p->end, err);
    if (n <= 0)
        return (int)n;
    p->end += (size_t)n;
    p->received_ms = clock_mono_ms();
    return 1;
}

static int wait_for_more(struct psync *p, struct wait *wait, struct err *err)
{
    int64_t give_up_ms = p->received_ms + p->silence_ms;

    if (clock_mono_ms() >= give_up_ms)
        return err_set(err, ERR_TIMEOUT, "%s has sent nothing for %" PRId64 " s", tcp_peer(p->tcp),
            p->silence_ms / 1000);
    wait_until(wait, give_up_ms);
    acknowledge(p, wait);
    if (send_more(p, err) < 0)
        return -1;
    tcp_wait(p->tcp, wait, p->sent < p->out.len);
    return 0;
}

enum psync_event psync_next(
    struct psync *p, struct rdb_bytes *ret, struct wait *wait, struct err *err)
{
    for (;;) {
        int rc = 1;
        while (rc > 0 && p->step <= STEP_PAYLOAD)
            rc = take_answer(p, err);
        if (rc < 0)
            return PSYNC_FAILED;
        enum psync_event event = give_data(p, ret);
        if (event != PSYNC_WAIT)
            return event;
        ask(p);
        if (send_more(p, err) < 0 || (rc = receive(p, err)) < 0)
            return PSYNC_FAILED;
        if (rc == 0)
            return wait_for_more(p, wait, err) < 0 ? PSYNC_FAILED : PSYNC_WAIT;
    }
}
