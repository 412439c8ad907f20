#ifndef AGENT_SHARD_TLS_H
#define AGENT_SHARD_TLS_H

/*
 * TLS of a shard's server. prepare_shard gets certificate, key and CA as text or as paths on this
 * host; the texts become files in the shard's folder. The record keeps the paths:
 *
 *     "tls": {"cert": path, "key": path, "ca": path, "clients": "yes|no|optional",
 *             "inside"?: bool (whether servers use it among themselves)}
 */

#include "redis.h"
#include "shard.h"

/* The working folder is the shard's. Writes the files, and the paths into the record. */
int shard_tls_write(const struct shard *shard, const json_t *params, struct err *err) MUST_CHECK;

/* Connects to "port" of a server of the shard's database, as its servers do: by TLS, or not. */
int shard_connect_tcp(const struct shard *shard, const char *addr, int port, int timeout_ms,
    struct redis **ret, struct err *err) MUST_CHECK;

/* The same to an "other_port": by TLS if the first port is without it, and the reverse. */
int shard_connect_other(const struct shard *shard, const char *addr, int port, int timeout_ms,
    struct redis **ret, struct err *err) MUST_CHECK;

#endif
