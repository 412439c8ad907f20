#include "xml.h"

#include <stdbool.h>
#include <string.h>

#include <expat.h>

#include "recluster/buf.h"

enum { DEPTH_MAX = 32, TEXT_BYTES_MAX = 64 << 10, DOCUMENT_BYTES_MAX = 1 << 30 };

struct walk {
    XML_Parser parser;
    xml_element on_element;
    void *arg;
    struct buf path, text;
    size_t ends[DEPTH_MAX]; /* length of the path without the element of that depth */
    int depth;
    bool too_much;
};

static void refuse(struct walk *w)
{
    w->too_much = true;
    XML_StopParser(w->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct walk *w = arg;
    const char *local = strrchr(name, '\n'); /* after the name space */

    (void)attributes;
    if (w->depth == DEPTH_MAX || w->path.len > TEXT_BYTES_MAX) {
        refuse(w);
        return;
    }
    w->ends[w->depth++] = w->path.len;
    buf_addf(&w->path, "%s%s", w->path.len ? "/" : "", local ? local + 1 : name);
    buf_clear(&w->text);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct walk *w = arg;

    (void)name;
    if (w->too_much)
        return;
    w->on_element(w->arg, w->path.data, w->text.data);
    w->path.len = w->ends[--w->depth];
    if (w->path.alloc)
        w->path.data[w->path.len] = '\0';
    buf_clear(&w->text);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
    struct walk *w = arg;

    if (w->text.len + (size_t)len > TEXT_BYTES_MAX)
        refuse(w);
    else
        buf_add(&w->text, text, (size_t)len);
}

int xml_walk(const void *data, size_t len, const char *what, xml_element on_element, void *arg,
    struct err *err)
{
    struct walk w = {.on_element = on_element, .arg = arg, .path = BUF_INIT, .text = BUF_INIT};
    int rc = 0;

    if (len > DOCUMENT_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the answer of '%s' is too long", what);
    w.parser = XML_ParserCreateNS(NULL, '\n');
    if (!w.parser)
        return err_set(err, ERR_FAILED, "cannot start expat");
    XML_SetUserData(w.parser, &w);
    XML_SetElementHandler(w.parser, on_start, on_end);
    XML_SetCharacterDataHandler(w.parser, on_text);
    if (XML_Parse(w.parser, data, (int)len, 1) == XML_STATUS_ERROR)
        rc = err_set(err, ERR_PROTOCOL, "'%s' gave an answer that is not proper XML: %s", what,
            w.too_much ? "too long or too deep" : XML_ErrorString(XML_GetErrorCode(w.parser)));
    XML_ParserFree(w.parser);
    buf_release(&w.path);
    buf_release(&w.text);
    return rc;
}
