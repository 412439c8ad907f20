#include "recluster/announced.h"

#include <stdio.h>

#include "recluster/json.h"

const char *announced_addr(const json_t *spec, const char *addr)
{
    return json_text(spec, "announce_addr", addr);
}

int announced_port(const json_t *spec, int port)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", port);
    return (int)json_int(json_object_get(spec, "announce_ports"), name, port);
}

bool announced_differs(const json_t *spec)
{
    return json_object_get(spec, "announce_addr") || json_object_get(spec, "announce_ports");
}
