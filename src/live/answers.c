#include "answers.h"

#include <stdlib.h>
#include <string.h>

static int unexpected(const char *command, struct err *err)
{
    return err_set(err, ERR_PROTOCOL, "%s has an unexpected answer", command);
}

static bool is_text(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

static bool is_pairs(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements % 2 == 0;
}

static const char *copy(struct live *live, const redisReply *r)
{
    return arena_memdup(&live->arena, r->str, (size_t)r->len);
}

static int64_t number(const redisReply *r)
{
    return r->type == REDIS_REPLY_INTEGER ? r->integer : is_text(r) ? atoll(r->str) : 0;
}

/* The value of a list of pairs; NULL: not there. */
static const redisReply *value_of(const redisReply *pairs, const char *field)
{
    for (size_t i = 0; is_pairs(pairs) && i < pairs->elements; i += 2)
        if (is_text(pairs->element[i]) && strcmp(pairs->element[i]->str, field) == 0)
            return pairs->element[i + 1];
    return NULL;
}

static const char *text_of(struct live *live, const redisReply *pairs, const char *field)
{
    const redisReply *value = value_of(pairs, field);
    return value && is_text(value) ? copy(live, value) : "";
}

static int64_t number_of(const redisReply *pairs, const char *field)
{
    const redisReply *value = value_of(pairs, field);
    return value ? number(value) : 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A list of texts, NULL-ended. */
static const char **texts(struct live *live, const redisReply *list)
{
    const char **ret = arena_alloc(&live->arena, (list->elements + 1) * sizeof(*ret));
    size_t count = 0;

    for (size_t i = 0; i < list->elements; i++)
        if (is_text(list->element[i]))
            ret[count++] = copy(live, list->element[i]);
    return ret;
}

const char *info_line(struct arena *arena, const char *text, const char *field)
{
    size_t len = strlen(field);

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, field, len) == 0 && line[len] == ':')
            return arena_memdup(arena, line + len + 1, strcspn(line + len + 1, "\r\n"));
    return NULL;
}

int take_info(struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (!is_text(reply))
        return unexpected("INFO", err);
    s->info = copy(live, reply);
    const char *mode = info_line(&live->arena, s->info, "redis_mode");
    if (!mode) /* Valkey 9 */
        mode = info_line(&live->arena, s->info, "server_mode");
    if (!mode || !info_line(&live->arena, s->info, "redis_version"))
        return unexpected("INFO", err);
    s->mode = strcmp(mode, "sentinel") == 0  ? LIVE_SENTINEL
              : strcmp(mode, "cluster") == 0 ? LIVE_CLUSTER
                                             : LIVE_ALONE;
    s->answered = true;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct live_setting *)a)->name, ((const struct live_setting *)b)->name);
}

void settings_sort(struct live_server *s)
{
    if (s->setting_count)
        qsort(s->settings, s->setting_count, sizeof(*s->settings), by_name);
}

const char *live_setting_unsorted(const struct live_server *s, const char *name)
{
    for (size_t i = 0; i < s->setting_count; i++)
        if (strcmp(s->settings[i].name, name) == 0)
            return s->settings[i].value;
    return NULL;
}

int take_settings(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (!is_pairs(reply))
        return unexpected("CONFIG GET", err);
    s->settings = arena_alloc(&live->arena, (reply->elements / 2 + 1) * sizeof(*s->settings));
    for (size_t i = 0; i < reply->elements; i += 2) {
        if (!is_text(reply->element[i]) || !is_text(reply->element[i + 1]))
            return unexpected("CONFIG GET", err);
        s->settings[s->setting_count++] =
            (struct live_setting){copy(live, reply->element[i]), copy(live, reply->element[i + 1])};
    }
    settings_sort(s);
    return 0;
}

int take_users(struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected("ACL LIST", err);
    s->users = texts(live, reply);
    return 0;
}

int take_modules(struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected("MODULE LIST", err);
    s->modules = arena_alloc(&live->arena, (reply->elements + 1) * sizeof(*s->modules));
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *one = reply->element[i], *args = value_of(one, "args");
        struct live_module *m = &s->modules[s->module_count++];
        m->name = text_of(live, one, "name");
        m->path = value_of(one, "path") ? text_of(live, one, "path") : NULL;
        m->version = number_of(one, "ver");
        m->args = args && args->type == REDIS_REPLY_ARRAY
                      ? texts(live, args)
                      : arena_alloc(&live->arena, sizeof(char *));
        if (!*m->name)
            return unexpected("MODULE LIST", err);
    }
    return 0;
}

int take_functions(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected("FUNCTION LIST", err);
    const char **names = arena_alloc(&live->arena, (reply->elements + 1) * sizeof(*names));
    for (size_t i = 0; i < reply->elements; i++)
        names[i] = text_of(live, reply->element[i], "library_name");
    if (reply->elements)
        qsort(names, reply->elements, sizeof(*names), by_text);
    s->functions = names;
    return 0;
}

int take_cluster_info(
    struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (!is_text(reply))
        return unexpected("CLUSTER INFO", err);
    const char *state = info_line(&live->arena, reply->str, "cluster_state");
    const char *epoch = info_line(&live->arena, reply->str, "cluster_current_epoch");
    s->state_ok = state && strcmp(state, "ok") == 0;
    s->epoch = epoch ? atoll(epoch) : -1;
    return 0;
}

int take_watches(struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected("SENTINEL MASTERS", err);
    s->watches = arena_alloc(&live->arena, (reply->elements + 1) * sizeof(*s->watches));
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *one = reply->element[i];
        const char *flags = text_of(live, one, "flags");
        s->watches[s->watch_count++] = (struct live_watch){
            .name = text_of(live, one, "name"),
            .addr = text_of(live, one, "ip"),
            .port = (int)number_of(one, "port"),
            .quorum = number_of(one, "quorum"),
            .down_after_ms = number_of(one, "down-after-milliseconds"),
            .failover_timeout_ms = number_of(one, "failover-timeout"),
            .parallel_syncs = number_of(one, "parallel-syncs"),
            .is_down = strstr(flags, "down") != NULL,
        };
    }
    return 0;
}

int take_listed(struct live *live, const redisReply *reply, struct live_address **ret,
    size_t *ret_count, struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected("SENTINEL", err);
    *ret = arena_alloc(&live->arena, (reply->elements + 1) * sizeof(**ret));
    *ret_count = 0;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *one = reply->element[i];
        (*ret)[(*ret_count)++] =
            (struct live_address){text_of(live, one, "ip"), (int)number_of(one, "port")};
    }
    return 0;
}
