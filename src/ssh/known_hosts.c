#include "recluster/known_hosts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/base64.h"
#include "recluster/file.h"
#include "recluster/mem.h"
#include "recluster/sign.h"
#include "recluster/ssh.h"

enum { FILE_BYTES_MAX = 64 << 20 };

/* A word of a line, or a pattern of a list. */
struct part {
    const char *text;
    size_t len;
};

static struct part next_word(const char **at, const char *end)
{
    static const char blanks[] = " \t\r";

    while (*at < end && strchr(blanks, **at))
        ++*at;
    struct part word = {*at, 0};
    while (*at < end && !strchr(blanks, **at))
        ++*at;
    word.len = (size_t)(*at - word.text);
    return word;
}

static bool is(struct part word, const char *text)
{
    return word.len == strlen(text) && memcmp(word.text, text, word.len) == 0;
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Case is ignored. Only the last star is tried again, which is enough. */
static bool matches(struct part pattern, const char *name)
{
    const char *p = pattern.text, *end = p + pattern.len;
    const char *star = NULL, *retry = NULL;

    while (*name) {
        if (p < end && *p == '*') {
            star = p++;
            retry = name;
        } else if (p < end && (*p == '?' || lower(*p) == lower(*name))) {
            p++;
            name++;
        } else if (star) {
            p = star + 1;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*')
        p++;
    return p == end;
}

/* "|1|salt|hash", both in base 64: SHA-1's HMAC of the name. */
static bool matches_hash(struct part hashed, const char *name)
{
    const char *salt64 = hashed.text + 3, *end = hashed.text + hashed.len;
    const char *bar = memchr(salt64, '|', (size_t)(end - salt64));
    unsigned char mac[SIGN_SHA1_BYTES];
    size_t salt_len, hash_len;

    if (!bar)
        return false;
    AUTO_FREE unsigned char *salt = base64_decode(salt64, (size_t)(bar - salt64), &salt_len);
    AUTO_FREE unsigned char *hash = base64_decode(bar + 1, (size_t)(end - bar - 1), &hash_len);
    if (!salt || !hash || salt_len < SIGN_SHA1_BYTES || hash_len < SIGN_SHA1_BYTES)
        return false;
    sign_hmac_sha1(salt, SIGN_SHA1_BYTES, name, strlen(name), mac);
    return memcmp(mac, hash, SIGN_SHA1_BYTES) == 0;
}

static bool is_about(struct part list, const char *name)
{
    bool found = false;

    if (list.len > 3 && memcmp(list.text, "|1|", 3) == 0)
        return matches_hash(list, name);
    for (const char *at = list.text, *end = at + list.len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct part pattern = {at, (size_t)((comma ? comma : end) - at)};
        at += pattern.len + 1;
        bool negated = pattern.len && *pattern.text == '!';
        if (negated)
            pattern = (struct part){pattern.text + 1, pattern.len - 1};
        if (!matches(pattern, name))
            continue;
        if (negated)
            return false;
        found = true;
    }
    return found;
}

static bool parse_line(struct part line, const char *host, const char *full, struct known_key *ret)
{
    const char *at = line.text, *end = at + line.len;
    struct part word = next_word(&at, end);

    *ret = (struct known_key){.mark = KNOWN_KEY};
    if (word.len && *word.text == '@') {
        if (is(word, "@revoked"))
            ret->mark = KNOWN_REVOKED;
        else if (is(word, "@cert-authority"))
            ret->mark = KNOWN_AUTHORITY;
        else
            return false;
        word = next_word(&at, end);
    }
    if (!word.len || *word.text == '#')
        return false;
    struct part type = next_word(&at, end), key = next_word(&at, end);
    if (!key.len)
        return false;
    if (!is_about(word, full)) {
        ret->bare = true;
        if (full == host || !is_about(word, host))
            return false;
    }
    ret->type = type.text;
    ret->type_len = type.len;
    ret->key = key.text;
    ret->key_len = key.len;
    return true;
}

bool known_hosts_next(const char **text, const char *host, int port, struct known_key *ret)
{
    AUTO_FREE char *with_port = port == SSH_PORT ? NULL : xasprintf("[%s]:%d", host, port);
    bool found = false;

    while (**text && !found) {
        struct part line = {*text, strcspn(*text, "\n")};
        *text += line.len + ((*text)[line.len] == '\n');
        found = parse_line(line, host, with_port ? with_port : host, ret);
    }
    return found;
}

bool known_key_is(const struct known_key *key, const char *text)
{
    return is((struct part){key->key, key->key_len}, text);
}

int known_hosts_read(const char *path, struct buf *text, struct err *err)
{
    AUTO_FREE char *real = path_expand_home(path);

    if (file_read(real, FILE_BYTES_MAX, text, err) < 0)
        return -1;
    buf_addc(text, '\n');
    return 0;
}

int known_hosts_read_usual(struct buf *text, struct err *err)
{
    static const char *const usual[] = {"~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"};

    for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
        struct err why = ERR_INIT;
        if (known_hosts_read(usual[i], text, &why) < 0 && why.code != ERR_NOT_FOUND) {
            *err = why;
            return -1;
        }
    }
    return 0;
}

void known_hosts_add(struct buf *text, const char *key)
{
    const char *type = key + strspn(key, " \t");
    size_t type_len = strcspn(type, " \t\r\n");
    const char *blanks = type + type_len, *key64 = blanks + strspn(blanks, " \t");
    size_t len = strcspn(key64, " \t\r\n");

    if (type_len && len)
        buf_addf(text, "* %.*s %.*s\n", (int)type_len, type, (int)len, key64);
    else if (type_len)
        buf_addf(text, "* fingerprint %.*s\n", (int)type_len, type);
}
