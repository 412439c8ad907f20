#ifndef RECLUSTER_LINK_HOST_SPEC_H
#define RECLUSTER_LINK_HOST_SPEC_H

/*
 * The values of one entry of the hosts file. Each function reads or checks the value of one key and
 * fails with ERR_USAGE. A missing key is fine: a reader leaves *ret unchanged, unless it says
 * otherwise. `where` begins the message: "host 'a1': ", "defaults: " or "".
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

/* A list of words ends with NULL. */
bool spec_in_list(const char *word, const char *const *list);

/* Refuses an unknown key and suggests the nearest known one. */
int spec_check_keys(
    json_t *object, const char *const *known, const char *where, struct err *err) MUST_CHECK;

int spec_text(const json_t *spec, const char *key, const char *where, const char **ret,
    struct err *err) MUST_CHECK;

/* Bytes, or a text with a unit: "64G". Missing: -1. */
int spec_bytes(const json_t *spec, const char *key, const char *where, int64_t *ret,
    struct err *err) MUST_CHECK;

/* At least 1. Missing: -1. */
int spec_count(const json_t *spec, const char *key, const char *where, int64_t *ret,
    struct err *err) MUST_CHECK;

/* 1, "1" and "node:1" are all node "1". */
int spec_node(struct arena *arena, const json_t *spec, const char *key, const char *where,
    const char **ret, struct err *err) MUST_CHECK;

/*
 * An IP address in canonical form, so that two spellings of one address are equal. Missing: NULL. A
 * name is refused: servers of a cluster know each other only by IP address.
 */
int spec_addr(struct arena *arena, const json_t *spec, const char *key, const char *where,
    const char **ret, struct err *err) MUST_CHECK;

/*
 * "announce_addr" and "announce_ports" (announced.h). Puts the address into the entry in canonical
 * form; *ret is it, or `addr`.
 */
int spec_announced(struct arena *arena, json_t *spec, const char *addr, const char *where,
    const char **ret, struct err *err) MUST_CHECK;

int spec_check_flag(
    const json_t *spec, const char *key, const char *where, struct err *err) MUST_CHECK;

/* An absolute path, a list of them, or true. */
int spec_check_paths(
    const json_t *spec, const char *key, const char *where, struct err *err) MUST_CHECK;

/* "modules": [PATH or [PATH, ARGUMENT, …], …] */
int spec_check_modules(const json_t *spec, const char *where, struct err *err) MUST_CHECK;

/* "tls": {"cert", "key", "ca"}: each a secret, or {"path": absolute path on the host}. */
int spec_check_tls(const json_t *spec, const char *where, struct err *err) MUST_CHECK;

/* Expands "~" in the values that are paths. */
void spec_expand_paths(json_t *spec);

#endif
