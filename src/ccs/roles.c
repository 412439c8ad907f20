#include "roles.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "acl_words.h"
#include "fields.h"
#include "recluster/buf.h"
#include "recluster/json.h"

enum {
    NAMES_PER_FINDING = 20,
    /* A file within the limits of object.h could ask for many more. */
    LINES_MAX = 100000,
    LOOKS_MAX = 20000000,
};

/* What a finding tells about users. X(identifier, text after "db:1: ", what to do) */
#define TOLD(X)                                                                                    \
    X(TOLD_HASH,                                                                                   \
        "these users keep their passwords, of which the file has SHA-256 hashes; if the old "      \
        "cluster hashed NAME:CLUSTER:PASSWORD, that text is the password now")                     \
    X(TOLD_NO_PASSWORD,                                                                            \
        "these users are restored without a password and off, because the file does not have it "  \
        "as a SHA-256 hash; give each a new one: ACL SETUSER NAME on >PASSWORD, ACL SAVE")         \
    X(TOLD_NOT_ACTIVE,                                                                             \
        "these users were not active and are restored off; to let one in: ACL SETUSER NAME on, "   \
        "ACL SAVE")                                                                                \
    X(TOLD_NAME,                                                                                   \
        "these users are not restored, because servers do not take such a name, or have a user "   \
        "of their own with it; make each under another name")                                      \
    X(TOLD_TWICE,                                                                                  \
        "several users have the same name, and none of them is restored; make one by hand")        \
    X(TOLD_ROLES,                                                                                  \
        "these users are not restored, because their roles give different rights, and the file "   \
        "does not say which of them counted; make each by hand")                                   \
    X(TOLD_ACL,                                                                                    \
        "these users are not restored, because the ACL of their role is missing or cannot be "     \
        "read; make each by hand")                                                                 \
    X(TOLD_GROUPS, "members of these LDAP groups cannot log in; make a user for each")             \
    X(TOLD_LIMIT, "these users are not restored, because there are too many; make each by hand")

enum told {
#define TOLD_ENUM(id, text) id,
    TOLD(TOLD_ENUM)
#undef TOLD_ENUM
        TOLD_COUNT
};

static const char *const told_texts[] = {
#define TOLD_TEXT(id, text) text,
    TOLD(TOLD_TEXT)
#undef TOLD_TEXT
};

/* A user of the cluster, whatever it may do in which database. */
struct person {
    const char *uid, *name;
    const char *const *roles; /* uids, NULL-ended */
    const char *passwords;    /* as words of a line, "#… #…"; NULL: none that servers take */
    bool active, twice;
    bool seen; /* it has rights in some database, or is named in a finding */
};

/* What a database gives to a role. */
struct permission {
    const char *role;
    const char *rules; /* NULL: they cannot be read */
};

struct mapping {
    struct import *im;
    struct person *people;
    size_t count;
    const char *channels; /* of rules that name none: "allchannels", "resetchannels" */
    size_t lines, looks;
};

/* The state of one database. */
struct base {
    struct mapping *m;
    const char *uid;
    struct permission *permissions; /* sorted by role */
    size_t count;
    json_t *lines;
    struct {
        struct buf names;
        size_t count;
        json_t *keys;
    } told[TOLD_COUNT];
};

/* --- users of the cluster --- */

static bool is_sha256(const char *method)
{
    static const char *const names[] = {"1", "sha256", "sha-256"};

    for (size_t i = 0; method && i < ARRAY_SIZE(names); i++)
        if (strcasecmp(method, names[i]) == 0)
            return true;
    return !method;
}

/* A salted hash is another one. */
static const char *passwords_of(struct mapping *m, const struct object *o)
{
    struct import *im = m->im;
    const char *text = object_text(o, "password_hash"), *method = object_text(o, "auth_method");
    struct buf words = BUF_INIT;
    size_t count;

    if (!text)
        text = object_text(o, "password");
    if (!text)
        text = object_text(o, "passwords");
    if (!text || !is_sha256(object_text(o, "password_hash_method")) ||
        object_text(o, "password_salt") || object_text(o, "salt") ||
        (method && strcasecmp(method, "regular") != 0))
        return NULL;
    const char *const *items = value_list(&im->scratch, text, VALUE_IDS, &count);
    for (size_t i = 0; i < count; i++) {
        const char *hash;
        if (acl_is_hash(&im->scratch, items[i], &hash))
            buf_addf(&words, "%s#%s", words.len ? " " : "", hash);
    }
    const char *result = words.len ? arena_strdup(&im->arena, words.data) : NULL;
    buf_release(&words);
    return result;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct person *const *)a)->name, (*(struct person *const *)b)->name);
}

static void find_twins(struct mapping *m)
{
    AUTO_FREE struct person **sorted = xcalloc(m->count + 1, sizeof(*sorted));

    for (size_t i = 0; i < m->count; i++)
        sorted[i] = &m->people[i];
    qsort(sorted, m->count, sizeof(*sorted), by_name);
    for (size_t i = 1; i < m->count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            sorted[i - 1]->twice = sorted[i]->twice = true;
}

static void read_people(struct mapping *m)
{
    const struct object *o;
    const char *uid;
    size_t alloc = 0;

    for (size_t at = 0; (o = objects_next(m->im->objects, "user", &at, &uid));) {
        arena_clear(&m->im->scratch);
        const struct reader r = {&m->im->findings, &m->im->arena, o};
        const char *status = object_text(o, "status");
        GROW(m->people, m->count, alloc);
        m->people[m->count++] = (struct person){
            .uid = uid,
            .name = read_text(&r, "name", ""),
            .roles = read_list(&r, "role_uids", NULL),
            .passwords = passwords_of(m, o),
            .active = !status || strcasecmp(status, "active") == 0,
        };
    }
    find_twins(m);
}

/* --- what is told --- */

static void flush(struct base *b, enum told what)
{
    if (!b->told[what].count)
        return;
    finding_add(&b->m->im->findings, what == TOLD_HASH ? FINDING_USER_PASSWORDS : FINDING_USERS,
        b->told[what].keys, "db:%s: %s: %s", b->uid, told_texts[what], b->told[what].names.data);
    buf_release(&b->told[what].names);
    b->told[what].count = 0;
}

/* Cut between two characters. */
static int name_bytes(const char *name)
{
    enum { SHOWN_MAX = 64 };
    size_t len = strnlen(name, SHOWN_MAX + 1);

    if (len > SHOWN_MAX)
        for (len = SHOWN_MAX; len && ((unsigned char)name[len] & 0xc0) == 0x80;)
            len--;
    return (int)len;
}

static void tell(
    struct base *b, enum told what, const char *type, const char *uid, const char *name)
{
    if (!b->told[what].count++) {
        b->told[what].keys = finding_keys("bdb", b->uid);
        buf_init(&b->told[what].names);
    }
    finding_add_key(b->told[what].keys, type, uid);
    buf_addf(&b->told[what].names, "%s'%.*s'", b->told[what].names.len ? ", " : "",
        name_bytes(name), name);
    if (b->told[what].count == NAMES_PER_FINDING)
        flush(b, what);
}

/* --- roles of a database --- */

static const char *uid_of(struct arena *arena, const json_t *item, const char *name)
{
    const json_t *value = json_object_get(item, name);

    if (json_is_integer(value))
        return arena_printf(arena, "%lld", (long long)json_integer_value(value));
    return json_is_string(value) ? json_string_value(value) : NULL;
}

static const char *rules_of(struct mapping *m, const char *acl_uid)
{
    const struct object *o = acl_uid ? objects_find(m->im->objects, "redis_acl", acl_uid) : NULL;
    const char *text = object_text(o, "acl");
    bool channels;
    const char *rules = text ? acl_rules(&m->im->scratch, text, &channels) : NULL;

    if (!rules)
        return NULL;
    return arena_printf(&m->im->scratch, "%s %s", channels ? "resetchannels" : m->channels, rules);
}

static int by_role(const void *a, const void *b)
{
    return strcmp(((const struct permission *)a)->role, ((const struct permission *)b)->role);
}

/* The list as JSON; NULL: it cannot be read. */
static json_t *permissions_of(struct base *b, const struct object *o)
{
    const struct reader r = {&b->m->im->findings, &b->m->im->scratch, o};
    const char *text = read_text(&r, "roles_permissions", NULL);
    json_t *list = text ? json_read_quietly(text, strlen(text), 0) : NULL;

    if (text && !json_is_array(list)) {
        finding_add(r.findings, FINDING_USERS, finding_keys("bdb", b->uid),
            "db:%s: the rights of its roles cannot be read, and its users are not restored; make "
            "each by hand",
            b->uid);
        json_decref(list);
        return NULL;
    }
    return list;
}

static void read_permissions(struct base *b, const json_t *list)
{
    struct arena *arena = &b->m->im->scratch;
    const json_t *item;
    size_t i;

    b->permissions = arena_alloc(arena, (json_array_size(list) + 1) * sizeof(*b->permissions));
    json_array_foreach (list, i, item) {
        const char *role = uid_of(arena, item, "role_uid");
        if (role)
            b->permissions[b->count++] = (struct permission){
                arena_strdup(arena, role), rules_of(b->m, uid_of(arena, item, "redis_acl_uid"))};
    }
    qsort(b->permissions, b->count, sizeof(*b->permissions), by_role);
}

/* The first permission that is not of a role before this one. */
static size_t first_of(const struct base *b, const char *role)
{
    size_t low = 0, high = b->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(b->permissions[mid].role, role) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct rights {
    bool any, several, unreadable;
    const char *rules;
};

static void add_right(struct rights *rights, const char *rules)
{
    rights->any = true;
    rights->unreadable |= !rules;
    rights->several |= rules && rights->rules && strcmp(rules, rights->rules) != 0;
    if (rules)
        rights->rules = rules;
}

static struct rights rights_of(struct base *b, const char *const *roles)
{
    struct rights rights = {.any = false};

    for (; *roles; roles++) {
        size_t i = first_of(b, *roles);
        b->m->looks++;
        for (; i < b->count && strcmp(b->permissions[i].role, *roles) == 0; i++) {
            b->m->looks++;
            add_right(&rights, b->permissions[i].rules);
        }
    }
    return rights;
}

static void add_line(struct base *b, const struct person *p, const char *rules)
{
    bool on = p->active && p->passwords;

    if (!p->passwords)
        tell(b, TOLD_NO_PASSWORD, "user", p->uid, p->name);
    else
        tell(b, p->active ? TOLD_HASH : TOLD_NOT_ACTIVE, "user", p->uid, p->name);
    json_array_append_new(
        b->lines, json_sprintf("user %s %s%s%s %s", p->name, on ? "on" : "off",
                      p->passwords ? " " : "", p->passwords ? p->passwords : "", rules));
    b->m->lines++;
}

static void add_person(struct base *b, struct person *p)
{
    const struct rights rights = rights_of(b, p->roles);

    if (!rights.any)
        return;
    p->seen = true;
    if (!acl_is_name(p->name) || strcmp(p->name, "default") == 0)
        tell(b, TOLD_NAME, "user", p->uid, p->name);
    else if (p->twice)
        tell(b, TOLD_TWICE, "user", p->uid, p->name);
    else if (rights.unreadable)
        tell(b, TOLD_ACL, "user", p->uid, p->name);
    else if (rights.several)
        tell(b, TOLD_ROLES, "user", p->uid, p->name);
    else if (b->m->lines >= LINES_MAX)
        tell(b, TOLD_LIMIT, "user", p->uid, p->name);
    else
        add_line(b, p, rights.rules);
}

static void tell_of_groups(struct base *b)
{
    const struct object *o;
    const char *uid;

    for (size_t at = 0; (o = objects_next(b->m->im->objects, "ldap_mapping", &at, &uid));) {
        const struct reader r = {&b->m->im->findings, &b->m->im->scratch, o};
        if (rights_of(b, read_list(&r, "role_uids", NULL)).any)
            tell(b, TOLD_GROUPS, "ldap_mapping", uid, read_text(&r, "name", uid));
    }
}

static int map_database(struct mapping *m, const struct object *o, const char *uid)
{
    struct base b = {.m = m, .uid = uid, .lines = json_array()};
    json_t *list = permissions_of(&b, o);

    read_permissions(&b, list);
    for (size_t i = 0; b.count && i < m->count && m->looks < LOOKS_MAX; i++)
        add_person(&b, &m->people[i]);
    if (b.count)
        tell_of_groups(&b);
    if (b.count && m->looks >= LOOKS_MAX)
        finding_add(&m->im->findings, FINDING_USERS, finding_keys("bdb", uid),
            "db:%s: not all of its users are restored, because the file has too many users and roles",
            uid);
    for (int what = 0; what < TOLD_COUNT; what++)
        flush(&b, (enum told)what);
    AUTO_FREE char *text = json_array_size(b.lines) ? json_dumps(b.lines, JSON_COMPACT) : NULL;
    json_decref(b.lines);
    json_decref(list);
    return text ? state_set_secret(m->im->state, "database.users", uid, text, m->im->err) : 0;
}

/* Every cluster has one user, its administrator: only more are worth a finding. */
static void tell_of_others(struct mapping *m)
{
    json_t *keys = json_array();
    struct buf names = BUF_INIT;
    size_t count = 0;

    for (size_t i = 0; i < m->count; i++) {
        if (m->people[i].seen || count++ >= NAMES_PER_FINDING)
            continue;
        finding_add_key(keys, "user", m->people[i].uid);
        buf_addf(&names, "%s'%.*s'", names.len ? ", " : "", name_bytes(m->people[i].name),
            m->people[i].name);
    }
    if (count > 1)
        finding_add(&m->im->findings, FINDING_USERS, json_incref(keys),
            "%zu users of the cluster had no rights in a database and are not restored: %s%s",
            count, names.data, count > NAMES_PER_FINDING ? " and others" : "");
    buf_release(&names);
    json_decref(keys);
}

static const char *channels_of(const struct import *im)
{
    static const char *const places[] = {"cluster_settings", "cluster"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        const char *text =
            object_text(objects_find(im->objects, places[i], NULL), "acl_pubsub_default");
        if (text)
            return strcasecmp(text, "allchannels") == 0 ? "allchannels" : "resetchannels";
    }
    return "resetchannels";
}

int roles_map(struct import *im)
{
    struct mapping m = {.im = im, .channels = channels_of(im)};
    const struct object *o;
    const char *uid;
    int rc = 0;

    read_people(&m);
    for (size_t at = 0; rc == 0 && (o = objects_next(im->objects, "bdb", &at, &uid));) {
        arena_clear(&im->scratch);
        if (!object_text(o, "acl_users"))
            rc = map_database(&m, o, uid);
    }
    if (rc == 0)
        tell_of_others(&m);
    free(m.people);
    return rc;
}
