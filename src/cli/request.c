#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/clock.h"
#include "recluster/recover.h"

static int parse_source(
    const char *text, struct recover_source *ret, char **ret_copy, struct err *err)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text || !equals[1]) {
        err_set(err, ERR_USAGE, "--source '%s' is not DATABASE=LOCATION", text);
        return err_hint(
            err, "Write it as: --source db:1=/mnt/backups, or --source db:1=http://host/dir/");
    }
    *ret_copy = xstrdup(text);
    (*ret_copy)[equals - text] = '\0';
    *ret = (struct recover_source){*ret_copy, *ret_copy + (equals - text) + 1};
    return 0;
}

int request_from_arguments(const struct arguments *args, struct recover_request *ret,
    struct request_options *owned, struct err *err)
{
    const char *at = argument(args, OPT_AT);
    const char **sources = args->values[OPT_SOURCE];
    size_t count = 0;

    *owned = (struct request_options){.count = 0};
    *ret = (struct recover_request){
        .ccs_path = args->words[0],
        .hosts_path = argument(args, OPT_HOSTS),
        .databases = args->values[OPT_DATABASE],
        .old_cluster_is_dead = argument(args, OPT_OLD_CLUSTER_IS_DEAD),
        .at_ms = -1,
    };
    if (!ret->hosts_path) {
        err_set(err, ERR_USAGE, "no hosts are named to recover onto");
        return err_hint(err, "Add --hosts HOSTS; man recluster, FILES, shows what stands in it.");
    }
    if (at && clock_parse(at, &ret->at_ms, err) < 0)
        return err_wrap(err, "--at");
    while (sources && sources[count])
        count++;
    owned->sources = xcalloc(count, sizeof(*owned->sources));
    owned->copies = xcalloc(count, sizeof(*owned->copies));
    for (; owned->count < count; owned->count++)
        if (parse_source(sources[owned->count], &owned->sources[owned->count],
                &owned->copies[owned->count], err) < 0)
            return -1;
    ret->sources = owned->sources;
    ret->source_count = owned->count;
    return 0;
}

void request_options_release(struct request_options *owned)
{
    for (size_t i = 0; i < owned->count; i++)
        free(owned->copies[i]);
    free(owned->copies);
    free(owned->sources);
}
