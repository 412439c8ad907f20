/* Reads and checks the values of one entry of the hosts file. */

#include "host_spec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"

enum { HOST_COUNT_MAX = 100000 };

bool spec_in_list(const char *word, const char *const *list)
{
    while (*list && strcmp(*list, word) != 0)
        list++;
    return *list != NULL;
}

int spec_check_keys(json_t *object, const char *const *known, const char *where, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach (object, key, value) {
        if (spec_in_list(key, known))
            continue;
        const char *nearest = human_nearest(key, known);
        if (nearest)
            return err_set(
                err, ERR_USAGE, "%sunknown key '%s'; did you mean '%s'?", where, key, nearest);
        err_set(err, ERR_USAGE, "%sunknown key '%s'", where, key);
        return err_hint(err, "The keys are described in recluster(1), FILES.");
    }
    return 0;
}

int spec_text(
    const json_t *spec, const char *key, const char *where, const char **ret, struct err *err)
{
    const json_t *value = json_object_get(spec, key);
    const char *text = json_string_value(value);

    if (!value)
        return 0;
    if (!text || !*text)
        return err_set(err, ERR_USAGE, "%s'%s' is not a text", where, key);
    for (const char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            return err_set(err, ERR_USAGE, "%s'%s' holds a control character", where, key);
    *ret = text;
    return 0;
}

int spec_bytes(
    const json_t *spec, const char *key, const char *where, int64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(spec, key);
    uint64_t bytes = 0;

    *ret = -1;
    if (!value)
        return 0;
    if (json_is_string(value)) {
        if (human_parse_bytes(json_string_value(value), &bytes, err) < 0)
            return err_wrap(err, "%s'%s'", where, key);
    } else if (json_is_integer(value) && json_integer_value(value) > 0) {
        bytes = (uint64_t)json_integer_value(value);
    }
    if (bytes == 0 || bytes > INT64_MAX) {
        err_set(err, ERR_USAGE, "%s'%s' is not a size", where, key);
        return err_hint(err, "Write it as bytes or with a unit: 64G, 512M, 1073741824.");
    }
    *ret = (int64_t)bytes;
    return 0;
}

int spec_count(
    const json_t *spec, const char *key, const char *where, int64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(spec, key);

    *ret = value ? json_integer_value(value) : -1;
    if (value && (*ret < 1 || *ret > HOST_COUNT_MAX))
        return err_set(
            err, ERR_USAGE, "%s'%s' is not a number from 1 to %d", where, key, HOST_COUNT_MAX);
    return 0;
}

int spec_check_flag(const json_t *spec, const char *key, const char *where, struct err *err)
{
    const json_t *value = json_object_get(spec, key);

    return !value || json_is_boolean(value)
               ? 0
               : err_set(err, ERR_USAGE, "%s'%s' is neither true nor false", where, key);
}

int spec_check_paths(const json_t *spec, const char *key, const char *where, struct err *err)
{
    json_t *value = json_object_get(spec, key), *path;
    size_t i, good = 0;

    if (!value || json_is_boolean(value))
        return 0;
    if (json_is_string(value))
        good += json_string_value(value)[0] == '/';
    json_array_foreach (value, i, path) {
        good += json_is_string(path) && json_string_value(path)[0] == '/';
    }
    if (good && good == (json_is_string(value) ? 1 : json_array_size(value)))
        return 0;
    return err_set(
        err, ERR_USAGE, "%s'%s' is neither an absolute path nor a list of them", where, key);
}

static bool is_words(const json_t *list)
{
    json_t *word;
    size_t i;

    json_array_foreach (list, i, word) {
        const char *text = json_string_value(word);
        if (!text || (i == 0 && text[0] != '/'))
            return false;
        for (; *text; text++)
            if (iscntrl((unsigned char)*text))
                return false;
    }
    return json_array_size(list) > 0;
}

int spec_check_modules(const json_t *spec, const char *where, struct err *err)
{
    json_t *modules = json_object_get(spec, "modules"), *module;
    bool good = !modules || json_is_array(modules);
    size_t i;

    json_array_foreach (modules, i, module) {
        json_t *words = json_is_array(module) ? json_incref(module) : json_pack("[O]", module);
        good &= is_words(words);
        json_decref(words);
    }
    if (good)
        return 0;
    err_set(err, ERR_USAGE, "%s'modules' is not a list of absolute paths", where);
    return err_hint(
        err, "A module with arguments is a list: [[\"/usr/lib/redis/json.so\", \"A\"]].");
}

int spec_node(struct arena *arena, const json_t *spec, const char *key, const char *where,
    const char **ret, struct err *err)
{
    const json_t *value = json_object_get(spec, key);

    if (json_is_integer(value)) {
        *ret = arena_printf(arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return 0;
    }
    if (spec_text(spec, key, where, ret, err) < 0)
        return -1;
    if (*ret && strncmp(*ret, "node:", 5) == 0)
        *ret += 5;
    return 0;
}

int spec_addr(struct arena *arena, const json_t *spec, const char *key, const char *where,
    const char **ret, struct err *err)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN];
    const char *addr = NULL;

    *ret = NULL;
    if (spec_text(spec, key, where, &addr, err) < 0)
        return -1;
    if (!addr)
        return 0;
    int family = strchr(addr, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, addr, bytes) != 1 || strcmp(addr, "0.0.0.0") == 0 ||
        strcmp(addr, "::") == 0) {
        err_set(err, ERR_USAGE, "%s'%s' is not an IP address of a host", where, addr);
        return err_hint(err, "Servers of a cluster know each other by IP address, not by name.");
    }
    *ret = arena_strdup(arena, inet_ntop(family, bytes, text, sizeof(text)));
    return 0;
}

static bool is_port(const char *text, json_int_t number)
{
    char *end;
    long port = text ? strtol(text, &end, 10) : (long)number;

    return (!text || (*text >= '1' && *text <= '9' && !*end)) && port > 0 && port <= 65535;
}

/* Two ports that others reach at one would be one. */
static int check_ports(const json_t *ports, const char *where, struct err *err)
{
    json_t *seen = json_object(), *to;
    const char *from;
    int rc = 0;

    json_object_foreach ((json_t *)(uintptr_t)ports, from, to) {
        AUTO_FREE char *port = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(to));
        if (!is_port(from, 0) || !is_port(NULL, json_integer_value(to)))
            rc = err_set(
                err, ERR_USAGE, "%sannounce_ports: '%s' or its value is not a port", where, from);
        else if (json_object_get(seen, port))
            rc = err_set(err, ERR_USAGE, "%sannounce_ports: %s stands for two ports", where, port);
        json_object_set_new(seen, port, json_true());
        if (rc < 0)
            break;
    }
    json_decref(seen);
    return rc;
}

int spec_announced(struct arena *arena, json_t *spec, const char *addr, const char *where,
    const char **ret, struct err *err)
{
    const json_t *ports = json_object_get(spec, "announce_ports");

    if (spec_addr(arena, spec, "announce_addr", where, ret, err) < 0)
        return -1;
    if (*ret)
        json_object_set_new(spec, "announce_addr", json_string(*ret));
    else
        *ret = addr;
    if (!ports || json_is_object(ports))
        return check_ports(ports, where, err);
    err_set(err, ERR_USAGE, "%s'announce_ports' is not an object", where);
    return err_hint(err, "Write the port that a server listens on, and the one that others use: "
                         "{\"6379\": 30001}.");
}

int spec_check_tls(const json_t *spec, const char *where, struct err *err)
{
    static const char *const keys[] = {"cert", "key", "ca", NULL};
    json_t *tls = json_object_get(spec, "tls");

    if (!tls)
        return 0;
    AUTO_FREE char *inside = xasprintf("%stls: ", where);
    if (!json_is_object(tls))
        return err_set(err, ERR_USAGE, "%s'tls' is not an object", where);
    if (spec_check_keys(tls, keys, inside, err) < 0)
        return -1;
    for (const char *const *key = keys; *key; key++) {
        const json_t *value = json_object_get(tls, *key);
        if (json_is_string(value) || json_is_object(value))
            continue;
        err_set(err, ERR_USAGE, "%s'%s' is missing or not a text", inside, *key);
        return err_hint(err, "Write {\"file\": PATH} for a file of this machine, {\"path\": PATH} "
                             "for one on the host.");
    }
    return 0;
}

void spec_expand_paths(json_t *spec)
{
    static const char *const paths[] = {"base_dir", "identity", "known_hosts"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        const char *path = json_text(spec, paths[i], NULL);
        if (!path || path[0] != '~')
            continue;
        char *expanded = path_expand_home(path);
        json_object_set_new(spec, paths[i], json_string(expanded));
        free(expanded);
    }
}
