#ifndef RECLUSTER_RPC_H
#define RECLUSTER_RPC_H

/*
 * JSON-RPC 2.0 over a byte stream, in both directions: one message a line, UTF-8. The operator's
 * side (link.h) and the host's side (agent.h) use it.
 *
 *     request       {"jsonrpc":"2.0","id":7,"method":"fetch","params":{…}}
 *     answer        {"jsonrpc":"2.0","id":7,"result":{…}}
 *     error         {"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"…",
 *                    "data":{"name":"corrupt","hint":"…"}}}
 *     notification  {"jsonrpc":"2.0","method":"progress","params":{"id":7,…}}
 *
 * A notification may carry bytes. Its line gives their number; the raw bytes follow the line:
 *
 *     {"jsonrpc":"2.0","method":"data","params":{"id":7},"bytes":131072}
 *
 * Ids are whole numbers from 1. An error with the id null (0 here) answers a line whose id could
 * not be read. Unknown members are ignored. A struct err is sent complete: name of its code,
 * message and hint.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/err.h"

enum {
    RPC_LINE_MAX = 32 * 1024 * 1024,
    RPC_DATA_MAX = 1024 * 1024, /* bytes of one notification */
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_FAILED = -32000, /* data.name says which err_code */
};

enum rpc_kind { RPC_REQUEST, RPC_RESULT, RPC_ERROR, RPC_NOTIFICATION };

struct rpc_message {
    enum rpc_kind kind;
    uint64_t id;        /* 0 for notifications, and for an error without an id */
    const char *method; /* requests and notifications */
    json_t *payload;    /* params (an object or array) or NULL; result */
    struct err error;   /* RPC_ERROR */
    int rpc_code;       /* RPC_ERROR */
    json_t *root;       /* owns the above */
    const char *data;   /* notifications; valid until the next rpc_take() */
    size_t data_len;
};

/* Append received bytes to `buf`. The other members belong to rpc_take(). */
struct rpc_input {
    struct buf buf;
    size_t looked; /* no line ends within this many bytes at the front */
    size_t whole;  /* length of the message at the front, if known */
    size_t taken;  /* bytes of the last message, which are still at the front */
};
#define RPC_INPUT_INIT                                                                             \
    {                                                                                              \
        .buf = BUF_INIT                                                                            \
    }

/*
 * Takes the next complete message out of `in`. 1: a message; 0: none is complete yet; -1:
 * ERR_PROTOCOL (not JSON, or not JSON-RPC) or ERR_LIMIT (a line longer than RPC_LINE_MAX, or too
 * many bytes).
 */
int rpc_take(struct rpc_input *in, struct rpc_message *ret, struct err *err) MUST_CHECK;
void rpc_input_release(struct rpc_input *in);
void rpc_message_release(struct rpc_message *m);

/* These append a line to `out`. They take over the reference to params or result. */
void rpc_add_request(struct buf *out, uint64_t id, const char *method, json_t *params);
void rpc_add_result(struct buf *out, uint64_t id, json_t *result);
void rpc_add_error(struct buf *out, uint64_t id, int rpc_code, const struct err *error);
void rpc_add_notification(struct buf *out, const char *method, json_t *params);
/* len: 1 to RPC_DATA_MAX */
void rpc_add_data(
    struct buf *out, const char *method, json_t *params, const void *data, size_t len);

/*
 * {"name","message","hint"}, also in the state file. A name that is missing or not a string becomes
 * ERR_FAILED, other such members empty text. Bytes that are not UTF-8 become '?'.
 */
json_t *err_to_json(const struct err *err);
void err_from_json(const json_t *value, struct err *ret);

#endif
