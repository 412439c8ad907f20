/*
 * What an agent's fetch does with one file, for tests/bench/store:
 *
 *     fetch_one LOCATION.json NAME OUT
 *
 * OUT "-": only what reading takes; nothing is verified, and nothing kept.
 */

#include <stdio.h>
#include <string.h>

#include "recluster/pull.h"

static int drop(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return 0;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    json_t *facts = NULL;

    if (argc != 4)
        return fprintf(stderr, "usage: fetch_one LOCATION.json NAME OUT\n"), 2;
    json_t *location = json_load_file(argv[1], JSON_DECODE_ANY, NULL);
    struct store *store = store_open_resolved(location, &err);
    const struct pull_params params = {
        .store = store, .name = argv[2], .out_path = argv[3], .resume = true, .expected_bytes = -1};

    int rc = -1;
    if (store)
        rc = strcmp(argv[3], "-") == 0
                 ? store_read(store, &(struct store_range){argv[2], 0, -1}, drop, NULL, NULL, &err)
                 : pull(&params, &facts, &err);
    if (rc < 0)
        return fprintf(stderr, "fetch_one: %s\n", err.message), 1;
    json_decref(facts);
    json_decref(location);
    store_close(store);
    return 0;
}
