#ifndef LIVE_ANSWERS_H
#define LIVE_ANSWERS_H

/*
 * What the answers of a server mean. Each function takes one answer of the expected command into
 * the server's entry; what has another form than expected is ERR_PROTOCOL. Strings are copied into
 * the arena. Lists are limited by what RESP_BYTES_MAX lets through.
 */

#include <hiredis/hiredis.h>

#include "recluster/live.h"

int take_info(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_settings(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_users(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_modules(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_functions(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_nodes(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_cluster_info(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;
int take_watches(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err) MUST_CHECK;

/* The servers that SENTINEL REPLICAS or SENTINELS lists: an address each. */
int take_listed(struct live *live, const redisReply *reply, struct live_address **ret,
    size_t *ret_count, struct err *err) MUST_CHECK;

/* By id, by name: as the functions of live.h expect them. */
void nodes_sort(struct live_server *s);
void settings_sort(struct live_server *s);
/* As live_setting(), before settings_sort(). */
const char *live_setting_unsorted(const struct live_server *s, const char *name);

/* Whether a word may be the address or the id of a server: printable ASCII. */
bool is_plain_word(const char *word);

/* One line of CLUSTER NODES. false: it is not one. The arena's. */
bool node_parse(struct arena *arena, const char *line, struct live_node *ret);

/* The value of "field:value" in a text of such lines, without the line end; NULL: not there. */
const char *info_line(struct arena *arena, const char *text, const char *field);

#endif
