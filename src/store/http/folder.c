#include "folder.h"

char *http_folder_address(const struct http_folder *folder, const char *name)
{
    struct buf url = BUF_INIT;

    buf_adds(&url, folder->base);
    if (name)
        http_encode(&url, name, false);
    buf_adds(&url, folder->query);
    return buf_take(&url);
}
