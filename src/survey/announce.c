#include "announce.h"

#include <stdarg.h>

#include "recluster/mem.h"

void survey_announce(const struct survey_request *request, bool lasting, const char *fmt, ...)
{
    void (*to)(void *arg, const char *line) = lasting ? request->tell : request->progress;
    va_list args;

    if (!to)
        return;
    va_start(args, fmt);
    AUTO_FREE char *line = xvasprintf(fmt, args);
    va_end(args);
    to(request->arg, line);
}
