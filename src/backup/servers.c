#include "servers.h"

json_t *servers_of_shard(const struct backup_shard *shard, size_t first)
{
    json_t *sources = json_array();

    for (size_t i = 0; i < shard->source_count; i++) {
        const struct live_server *s = shard->sources[(first + i) % shard->source_count].server;
        json_array_append_new(sources,
            json_pack("{s:s, s:i, s:s*}", "addr", s->addr, "port", s->port, "name", s->name));
    }
    return sources;
}

void servers_add_login(json_t *params, const struct backup_params *backup)
{
    const struct live_login *login = &backup->ask->login;
    const char *password = secret_reveal(login->password);
    const struct tls_params *tls = backup->tls;

    if (password)
        json_object_set_new(
            params, "login", json_pack("{s:s*, s:s}", "user", login->user, "password", password));
    if (tls)
        json_object_set_new(params, "tls",
            json_pack("{s:s*, s:s*, s:s*, s:b}", "ca", tls->ca, "cert", tls->cert, "key", tls->key,
                "any_name", tls->any_name));
}
