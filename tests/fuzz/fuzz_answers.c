/* Readers of what others send or leave: the first byte says which one gets the rest. */

#include <string.h>

#include "../../src/sets/unpack.h"
#include "../../src/ssh/key.h"
#include "../../src/ssh/offer.h"
#include "../../src/ssh/rsa.h"
#include "../../src/store/cloud/xml.h"
#include "../../src/store/ftp/listing.h"
#include "../../src/store/http/index.h"
#include "../../src/survey/sentinel.h"
#include "fuzz.h"
#include "recluster/aof.h"
#include "recluster/backup_name.h"
#include "recluster/hosts.h"
#include "recluster/json.h"
#include "recluster/known_hosts.h"
#include "recluster/rpc.h"
#include "recluster/slots.h"
#include "recluster/store.h"

struct bytes {
    const char *text; /* ended by a NUL behind len */
    size_t len;
};

static int sink(void *arg, const void *data, size_t len, struct err *err)
{
    (void)err;
    size_t *sum = arg;
    for (size_t i = 0; i < len; i++)
        *sum += ((const uint8_t *)data)[i];
    return 0;
}

static void read_rpc(struct bytes b)
{
    struct rpc_input in = RPC_INPUT_INIT;
    struct rpc_message m;
    struct err err = ERR_INIT;
    int rc;

    for (size_t at = 0; at < b.len; at += 7) {
        buf_add(&in.buf, b.text + at, b.len - at < 7 ? b.len - at : 7);
        while ((rc = rpc_take(&in, &m, &err)) > 0)
            rpc_message_release(&m);
        if (rc < 0)
            break;
    }
    rpc_input_release(&in);
}

static void read_aof(struct bytes b)
{
    size_t sum = 0;
    struct aof_facts facts;
    struct err err = ERR_INIT;
    struct aof_reader *r = aof_reader_new(sink, &sum, NULL);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < b.len; at += 5)
        rc = aof_reader_feed(r, b.text + at, b.len - at < 5 ? b.len - at : 5, &err);
    if (rc == 0)
        (void)!aof_reader_end(r, &facts, &err);
    aof_reader_free(r);
}

static void read_aof_manifest(struct bytes b)
{
    struct aof_manifest m;
    struct err err = ERR_INIT;

    if (aof_manifest_parse(b.text, b.len, &m, &err) == 0)
        aof_manifest_release(&m);
}

static void read_packed(struct bytes b)
{
    size_t sum = 0;
    struct err err = ERR_INIT;
    struct unpack *u = unpack_new(sink, &sum);

    if (unpack_feed(u, b.text, b.len, &err) == 0)
        (void)!unpack_end(u, &err);
    FUZZ_ASSERT(unpack_compression(u));
    unpack_free(u);
}

static void read_known_hosts(struct bytes b)
{
    const char *at = b.text;
    struct known_key key;

    while (known_hosts_next(&at, "10.0.0.1", 2222, &key)) {
        FUZZ_ASSERT(key.key >= b.text && key.key + key.key_len <= b.text + b.len);
        (void)!known_key_is(&key, "AAAA");
    }
}

/* As the bytes come, in pieces. */
static void read_ssh_offer(struct bytes b)
{
    struct offer offer = OFFER_INIT;

    for (size_t at = 0; at < b.len; at += 11)
        offer_add(&offer, b.text + at, b.len - at < 11 ? b.len - at : 11);
    for (int kind = 0; kind < OFFER_KINDS; kind++) {
        AUTO_FREE char *names = offer_names(&offer, (enum offer_kind)kind);
        for (const char *c = names; c && *c; c++)
            FUZZ_ASSERT(*c >= ' ' && *c <= '~');
        FUZZ_ASSERT(!names || !offer_meets(names, ""));
    }
    free(offer_refusal(&offer, 100));
    offer_release(&offer);
}

static void read_ssh_key(struct bytes b)
{
    free(key_look(b.text).public);
    rsa_free(key_open_rsa(b.text, NULL));
}

static void read_index(struct bytes b)
{
    static const char *const types[] = {NULL, "text/html", "application/json"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct store_list list = STORE_LIST_INIT;
        struct err err = ERR_INIT;
        (void)!http_index_parse(b.text, b.len, types[i], "the page", &list, &err);
        store_list_release(&list);
    }
}

static void read_ftp(struct bytes b)
{
    struct store_list list = STORE_LIST_INIT;

    ftp_parse_mlsd(b.text, &list);
    ftp_parse_list(b.text, &list);
    store_list_release(&list);
}

static void on_element(void *arg, const char *path, const char *text)
{
    *(size_t *)arg += strlen(path) + strlen(text);
}

static void read_xml(struct bytes b)
{
    size_t sum = 0;
    struct err err = ERR_INIT;

    (void)!xml_walk(b.text, b.len, "the answer", on_element, &sum, &err);
}

/* Made, and never asked for anything: of the CCS file, and then with all that it takes to log in. */
static void read_location(struct bytes b)
{
    struct err err = ERR_INIT;
    json_t *location = json_read(b.text, b.len, JSON_DECODE_ANY, "the location", &err);
    json_t *rid = location ? store_location_of_ccs(location, NULL, &err) : NULL;

    store_close(rid ? store_open(rid, &err) : NULL);
    err = (struct err)ERR_INIT;
    store_close(location ? store_open(location, &err) : NULL);
    json_decref(rid);
    json_decref(location);
}

static void read_hosts(struct bytes b)
{
    struct err err = ERR_INIT;
    json_t *root = json_read(b.text, b.len, JSON_REJECT_DUPLICATES, "the hosts", &err);

    if (root)
        hosts_free(hosts_parse(root, &err));
    json_decref(root);
}

static void on_master(void *arg, const char *name, const char *ip, int port)
{
    *(size_t *)arg += strlen(name) + strlen(ip) + (size_t)port;
}

static void read_sentinel(struct bytes b)
{
    size_t sum = 0;
    sentinel_masters(b.text, b.len, on_master, &sum);
}

static void read_name(struct bytes b)
{
    struct backup_name name;

    if (!backup_name_parse(b.text, &name))
        return;
    AUTO_FREE char *again = backup_name_format(&name, ".rdb.gz");
    FUZZ_ASSERT(again);
}

static void read_slots(struct bytes b)
{
    struct slots slots = {{0}};
    struct err err = ERR_INIT;

    (void)!slots_parse(b.text, &slots, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct bytes) = {read_rpc, read_aof, read_aof_manifest,
        read_packed, read_known_hosts, read_index, read_ftp, read_xml, read_location, read_hosts,
        read_sentinel, read_name, read_slots, read_ssh_offer, read_ssh_key};

    if (size == 0)
        return 0;
    /* Letters, so that inputs can be written with an editor. */
    size_t which = (size_t)(data[0] - 'a') % ARRAY_SIZE(readers);
    char *text = xmalloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    readers[which]((struct bytes){text, size - 1});
    free(text);
    return 0;
}
