#include "recluster/ssh_setup.h"

#include <stdbool.h>
#include <string.h>

#include "recluster/file.h"

enum { KEY_FILE_BYTES_MAX = 1 << 20 };

static const char ciphers[] = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
                              "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

ssh_session ssh_setup_session(const char *user)
{
    const bool no = false;
    const struct {
        enum ssh_options_e option;
        const void *value;
    } options[] = {
        {SSH_OPTIONS_PROCESS_CONFIG, &no},
        {SSH_OPTIONS_SSH_DIR, "/"},
        {SSH_OPTIONS_KNOWNHOSTS, "/dev/null"},
        {SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null"},
        {SSH_OPTIONS_USER, user},
        {SSH_OPTIONS_CIPHERS_S_C, ciphers},
        {SSH_OPTIONS_CIPHERS_C_S, ciphers},
    };
    ssh_session session = ssh_new();

    for (size_t i = 0; session && i < ARRAY_SIZE(options); i++)
        if (ssh_options_set(session, options[i].option, options[i].value) < 0) {
            ssh_free(session);
            session = NULL;
        }
    return session;
}

static int no_passphrase(
    const char *prompt, char *text, size_t size, int echo, int verify, void *userdata)
{
    (void)prompt, (void)text, (void)size, (void)echo, (void)verify, (void)userdata;
    return -1;
}

ssh_key ssh_setup_key(const char *text, const char *passphrase)
{
    ssh_key key = NULL;

    return ssh_pki_import_privkey_base64(text, passphrase, no_passphrase, NULL, &key) == SSH_OK
               ? key
               : NULL;
}

ssh_key ssh_setup_key_file(const char *path, const char *passphrase)
{
    struct buf text = BUF_INIT;
    struct err ignored = ERR_INIT;
    ssh_key key = NULL;

    if (file_read(path, KEY_FILE_BYTES_MAX, &text, &ignored) == 0)
        key = ssh_setup_key(text.data, passphrase);
    explicit_bzero(text.data, text.len);
    buf_release(&text);
    return key;
}

int ssh_server_key_read(ssh_session session, struct ssh_server_key *ret)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t len;

    *ret = (struct ssh_server_key){.type = NULL};
    if (ssh_get_server_publickey(session, &key) == SSH_OK &&
        ssh_pki_export_pubkey_base64(key, &ret->key64) == SSH_OK &&
        ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == SSH_OK)
        ret->fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
    ret->type = ssh_key_type_to_char(ssh_key_type(key));
    ssh_clean_pubkey_hash(&hash);
    ssh_key_free(key);
    if (ret->fingerprint && ret->type)
        return 0;
    ssh_server_key_release(ret);
    return -1;
}

void ssh_server_key_release(struct ssh_server_key *k)
{
    ssh_string_free_char(k->key64);
    ssh_string_free_char(k->fingerprint);
    *k = (struct ssh_server_key){.type = NULL};
}
