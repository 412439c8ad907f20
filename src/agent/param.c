#include "method.h"

static int refuse(const json_t *value, const char *name, const char *type, struct err *err)
{
    return value ? err_set(err, ERR_PROTOCOL, "parameter '%s' is not %s", name, type)
                 : err_set(err, ERR_PROTOCOL, "parameter '%s' is missing", name);
}

int param_string(const json_t *params, const char *name, const char **ret, struct err *err)
{
    const json_t *value = json_object_get(params, name);

    if (!json_is_string(value))
        return refuse(value, name, "a string", err);
    *ret = json_string_value(value);
    return 0;
}

int param_int(const json_t *params, const char *name, json_int_t *ret, struct err *err)
{
    const json_t *value = json_object_get(params, name);

    if (!json_is_integer(value))
        return refuse(value, name, "a whole number", err);
    *ret = json_integer_value(value);
    return 0;
}

int param_bool(const json_t *params, const char *name, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(params, name);

    if (!json_is_boolean(value))
        return refuse(value, name, "true or false", err);
    *ret = json_is_true(value);
    return 0;
}
