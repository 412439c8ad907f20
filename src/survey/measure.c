/*
 * --measure: the parameters of the hosts' measurements. Each host reads a file of the database with
 * the most bytes to fetch, a different one on each host. All of them read at the same time, as in
 * the recovery.
 */

#include "questions.h"
#include "recluster/json.h"
#include "recluster/rpc.h"
#include "recluster/store.h"

static int64_t bytes_of(const struct backup_set *set)
{
    int64_t bytes = 0;

    for (size_t i = 0; set && i < set->file_count; i++)
        bytes += set->files[i].bytes > 0 ? set->files[i].bytes : 0;
    return bytes;
}

static const struct plan_database_input *largest_database(const struct survey *survey)
{
    const struct plan_database_input *largest = NULL;

    for (size_t i = 0; i < survey->database_count; i++) {
        const struct plan_database_input *in = &survey->databases[i];
        if (bytes_of(chosen_set(in)) > (largest ? bytes_of(chosen_set(largest)) : 0))
            largest = in;
    }
    return largest;
}

json_t *measure_params(const struct survey *survey, size_t host)
{
    const struct plan_database_input *in = largest_database(survey);
    json_t *params = json_pack("{s:s}", "base_dir", survey->hosts->hosts[host].base_dir);
    struct err ignored = ERR_INIT; /* the catalogue has read it */
    const struct backup_set *set = in ? chosen_set(in) : NULL;
    json_t *location = set ? store_resolve_location(in->location, &ignored) : NULL;

    /* A relayed location is not measured: the host must not get its login. */
    if (location && !json_flag(survey->hosts->hosts[host].spec, "relay") &&
        !json_flag(location, "relay")) {
        json_object_set(params, "location", location);
        json_object_set_new(params, "name", json_string(set->files[host % set->file_count].name));
    }
    json_decref(location);
    return params;
}

void measure_take(json_t *facts, const json_t *result, const struct err *error)
{
    json_object_set_new(facts, "measured",
        result ? json_deep_copy(result) : json_pack("{s:o}", "error", err_to_json(error)));
}
