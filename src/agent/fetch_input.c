#include "fetch_input.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/json.h"
#include "relay_store.h"

static struct store *open_store(
    struct agent_call *call, const json_t *file, size_t number, struct err *err)
{
    const json_t *relay = json_object_get(file, "relay");
    json_t *location = json_object_get(file, "location");

    if (json_is_string(relay)) {
        struct store *far = relay_store_open(call, json_string_value(relay), (json_int_t)number);
        if (far)
            store_set_decrypt_key(far, json_text(file, STORE_DECRYPT_KEY, NULL));
        return far;
    }
    if (!location) {
        err_set(err, ERR_PROTOCOL, "the parameter 'location' is missing");
        return NULL;
    }
    const char *kind = json_text(file, "kind", "");
    if (!json_object_get(file, "parts") || strcmp(kind, "aof-parts") == 0)
        return store_open(location, err);
    json_t *below = store_location_below(location, json_text(file, "name", NULL));
    struct store *store = store_open(below, err);
    json_decref(below);
    return store;
}

bool fetch_input_is_aof(const json_t *file)
{
    const char *kind = json_text(file, "kind", NULL);
    return kind && strncmp(kind, "aof", 3) == 0;
}

static int make_snapshot(struct fetch_input *in, const struct fetch_reader *reader,
    const json_t *file, size_t number, struct err *err)
{
    const struct aof_input input = {.file = file, .store = in->store, .wishes = reader->wishes};
    const struct shard *shard = reader->shard;
    struct aof_server server = {
        .program = shard_string(shard, "server"),
        .run_as = shard_string(shard, "run_as"),
        .modules = json_object_get(shard->record, "modules"),
    };

    server_version_of_record(shard->record, &server.version);
    in->aof_folder = xasprintf("%s/incoming/aof-%zu", shard->path, number);
    if (aof_snapshot(reader->call, &server, &input, in->aof_folder, &in->aof, err) < 0)
        return -1;
    store_close(in->store);
    json_t *location = json_string(in->aof_folder);
    in->store = store_open(location, err);
    json_decref(location);
    in->name = AOF_SNAPSHOT_NAME;
    in->bytes = -1;
    in->sha256 = NULL;
    return in->store ? 0 : -1;
}

int fetch_input_open(struct fetch_input *ret, const struct fetch_reader *reader, const json_t *file,
    size_t number, struct err *err)
{
    struct fetch_input in = FETCH_INPUT_INIT;

    if (param_string(file, "name", &in.name, err) < 0 ||
        param_int(file, "bytes", &in.bytes, err) < 0)
        return -1;
    const char *where = json_text(file, "where", NULL);
    in.label = where ? where : in.name;
    in.sha256 = json_text(file, "sha256", NULL);
    in.store = open_store(reader->call, file, number, err);
    if (!in.store)
        return -1;
    if (fetch_input_is_aof(file) && make_snapshot(&in, reader, file, number, err) < 0) {
        fetch_input_close(&in, false);
        return -1;
    }
    *ret = in;
    return 0;
}

void fetch_input_close(struct fetch_input *in, bool keep)
{
    struct err ignored = ERR_INIT;

    store_close(in->store);
    json_decref(in->aof);
    if (in->aof_folder && !keep)
        (void)!dir_remove(in->aof_folder, &ignored);
    free(in->aof_folder);
    *in = (struct fetch_input)FETCH_INPUT_INIT;
}
