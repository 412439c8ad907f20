#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/file.h"
#include "recluster/store.h"

json_t *location_of_word(const struct arguments *args, const char *text)
{
    bool url = strstr(text, "://") != NULL;

    return url && args->given[OPT_INSECURE] ? json_pack("{s:s, s:b}", "url", text, "insecure", true)
                                            : json_string(text);
}

struct store *open_file_location(
    const struct arguments *args, const char *word, const char **ret_name, struct err *err)
{
    AUTO_FREE char *dir = path_dir(word);
    AUTO_FREE char *absolute = strstr(dir, "://") ? xstrdup(dir) : realpath(dir, NULL);

    if (!absolute) {
        err_sys(err, ERR_NOT_FOUND, "cannot open '%s'", word);
        return NULL;
    }
    json_t *location = location_of_word(args, absolute);
    struct store *store = store_open_resolved(location, err);
    json_decref(location);
    *ret_name = path_base(word);
    return store;
}
