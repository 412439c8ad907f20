#include "machine_path.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/link_location.h"

static const char *const exec_schemes[] = {"docker", "podman", "kubectl"};
static const char *const ssh_schemes[] = {"ssh", "sftp"};

/* Behind "scheme://"; NULL: it has none of these. */
static const char *behind_scheme(
    const char *word, const char *const *schemes, size_t count, const char **ret_scheme)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(word, schemes[i], len) == 0 && strncmp(word + len, "://", 3) == 0) {
            *ret_scheme = schemes[i];
            return word + len + 3;
        }
    }
    return NULL;
}

/* The length of "a1" in "a1:/data"; 0: no machine is named. */
static size_t machine_bytes(const char *word)
{
    const char *colon = strstr(word, ":/");

    return *word == '/' || *word == '.' || !colon || colon[2] == '/' ? 0 : (size_t)(colon - word);
}

bool machine_path_is_away(const char *word)
{
    const char *scheme;

    return behind_scheme(word, exec_schemes, ARRAY_SIZE(exec_schemes), &scheme) ||
           machine_bytes(word) > 0;
}

/* --- the kinds --- */

static int set_machine(struct machine_path *p, const char *name, const char *kind,
    const json_t *spec, const char *addr, struct err *err)
{
    const struct link_folder folder = {
        .name = name, .kind = kind, .addr = addr, .spec = spec, .path = p->path};

    p->prefix = xasprintf("%s:", name);
    p->addr = addr ? xstrdup(addr) : NULL;
    p->location = link_location(&folder, err);
    return p->location ? 0 : -1;
}

static int find_machine(
    const struct hosts *hosts, const char *name, struct machine_path *p, struct err *err)
{
    const char *uid = strncmp(name, "node:", 5) == 0 ? name + 5 : NULL;
    const struct old_node *node = hosts && uid ? hosts_old_node(hosts, uid) : NULL;

    if (node)
        return set_machine(p, name, node->link, node->spec, node->addr, err);
    for (size_t i = 0; hosts && i < hosts->count; i++) {
        const struct host *h = &hosts->hosts[i];
        if (strcmp(h->name, name) == 0 || strcmp(h->addr, name) == 0)
            return set_machine(p, h->name, h->link, h->spec, h->addr, err);
    }
    err_set(err, ERR_USAGE, "'%s:%s': no host or old node is called '%s'", name, p->path, name);
    return err_hint(err, "Name it in the hosts file (--hosts HOSTS): \"hosts\", or \"old_nodes\" "
                         "for node:UID.");
}

/* Names of containers and pods. One that begins with '-' would be an option. */
static bool is_container(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    return *name && *name != '-' && strspn(name, letters) == strlen(name);
}

static int set_container(
    struct machine_path *p, const char *scheme, const char *name, struct err *err)
{
    bool kubectl = strcmp(scheme, "kubectl") == 0;

    if (!is_container(name)) {
        err_set(err, ERR_USAGE, "'%s' is not the name of a container", name);
        return err_hint(err, "Write it as: %s://NAME/FOLDER", scheme);
    }
    json_t *words = json_pack("[s, s, s, s]", scheme, "exec", "-i", name);
    if (kubectl)
        json_array_append_new(words, json_string("--"));
    json_array_append_new(words, json_string("sh"));
    p->prefix = xasprintf("%s:", name);
    p->location = json_pack("{s:s, s:o, s:s, s:s, s:b}", "type", "command", "command", words,
        "name", name, "path", p->path, "relay", 1);
    return p->location ? 0 : err_set(err, ERR_USAGE, "the name of '%s' is not UTF-8", p->path);
}

static int set_ssh(struct machine_path *p, const char *who, struct err *err)
{
    AUTO_FREE char *url = xasprintf("sftp://%s/", who);
    const char *host = strrchr(who, '@');

    p->prefix = xasprintf("%s:", host ? host + 1 : who);
    p->location = json_pack(
        "{s:s, s:s, s:s, s:b}", "type", "sftp", "sftp_url", url, "path", p->path, "relay", 1);
    return p->location ? 0 : err_set(err, ERR_USAGE, "the name of '%s' is not UTF-8", p->path);
}

/* A folder must be there; of a file, its folder. */
static int set_here(struct machine_path *p, const char *word, struct err *err)
{
    p->prefix = xstrdup("");
    p->path = realpath(word, NULL);
    if (!p->path)
        return err_sys(err, ERR_NOT_FOUND, "cannot open '%s'", word);
    /* Hosts cannot see it, even if they are this machine under another user. */
    p->location = json_pack("{s:s, s:s, s:b}", "type", "mount_point", "path", p->path, "relay", 1);
    return p->location
               ? 0
               : err_set(err, ERR_USAGE, "the name of the folder '%s' is not UTF-8", p->path);
}

/* The path without a slash at its end, since the folder of a file is compared with it. */
static char *path_of(const char *text)
{
    char *path = xstrdup(*text ? text : "/");

    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    return path;
}

static int find(
    const struct hosts *hosts, const char *word, struct machine_path *p, struct err *err)
{
    const char *scheme,
        *rest = behind_scheme(word, exec_schemes, ARRAY_SIZE(exec_schemes), &scheme),
        *ssh = behind_scheme(word, ssh_schemes, ARRAY_SIZE(ssh_schemes), &scheme);
    size_t len = machine_bytes(word);

    if (ssh)
        rest = ssh;
    if (rest) {
        AUTO_FREE char *name = xstrndup(rest, strcspn(rest, "/"));
        p->path = path_of(rest + strlen(name));
        return ssh ? set_ssh(p, name, err) : set_container(p, scheme, name, err);
    }
    if (strstr(word, "://")) {
        err_set(err, ERR_USAGE, "'%s' is not a folder of a machine", word);
        return err_hint(err, "Write: /FOLDER, HOST:/FOLDER (of the hosts file), ssh://HOST/FOLDER, "
                             "docker://NAME/FOLDER, podman://NAME/FOLDER or kubectl://POD/FOLDER");
    }
    if (!len)
        return set_here(p, word, err);
    AUTO_FREE char *name = xstrndup(word, len);
    p->path = path_of(word + len + 1);
    return find_machine(hosts, name, p, err);
}

/* --- files and folders --- */

int machine_path_of_file(
    const struct hosts *hosts, const char *word, struct machine_path *ret, struct err *err)
{
    *ret = (struct machine_path){.path = NULL};
    if (find(hosts, word, ret, err) < 0) {
        machine_path_release(ret);
        return -1;
    }
    AUTO_FREE char *dir = path_dir(ret->path);
    json_object_set_new(ret->location, "path", json_string(dir));
    return 0;
}

static int add(
    struct machine_paths *all, const struct hosts *hosts, const char *word, struct err *err)
{
    struct machine_path p = {.path = NULL};

    if (find(hosts, word, &p, err) < 0) {
        machine_path_release(&p);
        return -1;
    }
    GROW(all->list, all->count, all->alloc);
    all->list[all->count++] = p;
    return 0;
}

/* "data_path": a path, or a list of them. */
static int add_node(struct machine_paths *all, const struct hosts *hosts,
    const struct old_node *node, struct err *err)
{
    const json_t *named = json_object_get(node->spec, "data_path");
    size_t count = json_is_array(named) ? json_array_size(named) : named ? 1 : 0;

    for (size_t i = 0; i < count; i++) {
        const json_t *path = json_is_array(named) ? json_array_get(named, i) : named;
        AUTO_FREE char *word = xasprintf("node:%s:%s", node->node, json_string_value(path));
        if (add(all, hosts, word, err) < 0)
            return -1;
    }
    return 0;
}

int machine_paths_add_folders(
    struct machine_paths *all, const struct hosts *hosts, const char *word, struct err *err)
{
    bool every = strcmp(word, "old_nodes") == 0 && !file_exists(word);
    const char *uid = strncmp(word, "node:", 5) == 0 && !strchr(word + 5, ':') ? word + 5 : NULL;
    size_t before = all->count;

    if (!every && !uid)
        return add(all, hosts, word, err);
    for (size_t i = 0; hosts && i < hosts->old_node_count; i++) {
        const struct old_node *node = &hosts->old_nodes[i];
        if ((every || strcmp(node->node, uid) == 0) && add_node(all, hosts, node, err) < 0)
            return -1;
    }
    if (all->count > before)
        return 0;
    err_set(err, ERR_USAGE, "'%s': the hosts file has no \"data_path\" for it", word);
    return err_hint(err, "Write in the hosts file: \"old_nodes\": [{\"node\": 1, \"addr\": "
                         "\"10.0.0.1\", \"data_path\": \"/var/lib/redis\"}]");
}

void machine_path_release(struct machine_path *p)
{
    free(p->prefix);
    free(p->path);
    free(p->addr);
    json_decref(p->location);
    *p = (struct machine_path){.path = NULL};
}

void machine_paths_release(struct machine_paths *all)
{
    for (size_t i = 0; i < all->count; i++)
        machine_path_release(&all->list[i]);
    free(all->list);
    *all = (struct machine_paths){.list = NULL};
}
