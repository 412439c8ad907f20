#include "xml_list.h"

#include <stdlib.h>
#include <string.h>

#include "xml.h"

struct page {
    const struct xml_list_form *form;
    const char *prefix;
    struct store_list *list;
    char *name, *next;
    int64_t bytes, modified_ms;
    bool truncated;
};

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

/* The entry ends after its members. */
static void add_entry(struct page *p)
{
    size_t prefix_len = strlen(p->prefix);

    if (p->name && strncmp(p->name, p->prefix, prefix_len) == 0)
        store_list_add(
            p->list, p->name + prefix_len, strlen(p->name) - prefix_len, p->bytes, p->modified_ms);
    set_text(&p->name, "");
    p->bytes = p->modified_ms = -1;
}

static void on_element(void *arg, const char *path, const char *text)
{
    struct page *p = arg;
    const struct xml_list_form *form = p->form;
    size_t entry_len = strlen(form->entry);

    if (strcmp(path, form->next) == 0)
        set_text(&p->next, text);
    else if (form->truncated && strcmp(path, form->truncated) == 0)
        p->truncated = strcmp(text, "true") == 0;
    if (strncmp(path, form->entry, entry_len) != 0)
        return;
    const char *member = path + entry_len;
    if (!*member)
        add_entry(p);
    else if (strcmp(member, form->name) == 0)
        set_text(&p->name, text);
    else if (strcmp(member, form->bytes) == 0)
        p->bytes = strtoll(text, NULL, 10);
    else if (strcmp(member, form->modified) == 0)
        p->modified_ms = form->time_ms(text);
}

int xml_list_read(const struct xml_list_form *form, const struct cloud *c,
    const struct http_reply *reply, struct store_list *list, char **ret_next, struct err *err)
{
    struct page p = {
        .form = form, .prefix = c->prefix, .list = list, .bytes = -1, .modified_ms = -1};
    int rc = xml_walk(reply->text.data, reply->text.len, c->label, on_element, &p, err);
    bool more = p.next && *p.next;

    if (rc == 0 && p.truncated && !more)
        rc = err_set(
            err, ERR_PROTOCOL, "'%s' lists more files without saying how to continue", c->label);
    if (rc == 0 && more && (p.truncated || !form->truncated)) {
        *ret_next = p.next;
        p.next = NULL;
    }
    free(p.name);
    free(p.next);
    return rc;
}
