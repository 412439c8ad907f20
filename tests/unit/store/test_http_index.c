#include "http/index.h"

#include <string.h>

#include "driver.h"
#include "recluster/buf.h"
#include "test.h"

/* What is expected: "name size modified_s" a line, in the order of the page. */
static const struct {
    const char *what, *type, *text, *expected;
} pages[] = {
    {"nginx", "text/html",
        "<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n<h1>Index of /</h1><hr><pre>"
        "<a href=\"../\">../</a>\r\n"
        "<a href=\"sub/\">sub/</a>                    31-Jan-2026 13:05                   -\r\n"
        "<a href=\"a%20b%2B%25%C3%A9.rdb\">a b+%\xc3\xa9.rdb</a>  31-Jan-2026 13:05       "
        "1048576\r\n"
        "<a href=\"big.rdb\">big.rdb</a>              31-Jan-2026 13:05                 12M\r\n"
        "</pre><hr></body>\r\n</html>\r\n",
        "a b+%\xc3\xa9.rdb 1048576 1769864700\nbig.rdb -1 -1\n"},
    {"Apache", "text/html;charset=UTF-8",
        "<!DOCTYPE HTML><table><tr><th><a href=\"?C=N;O=D\">Name</a></th></tr>\n"
        "<tr><td><a href=\"/\">Parent Directory</a></td></tr>\n"
        "<tr><td><a href=\"x.rdb.gz\">x.rdb.gz</a></td><td align=\"right\">2026-01-31 13:05  </td>"
        "<td align=\"right\">1.2K</td></tr>\n",
        "x.rdb.gz -1 -1\n"},
    {"entities and quotes", NULL,
        " <A class='a>b' HREF = 'q&quot;&#39;&#x26;&amp;&apos;.rdb'>x</A><a href=plain.rdb>y</a>"
        "<a data-href=\"no.rdb\">z</a><a href=\"./dot.rdb\">d</a>",
        "q\"'&&'.rdb -1 -1\nplain.rdb -1 -1\ndot.rdb -1 -1\n"},
    {"links elsewhere", "text/html",
        "<a href=\"http://other/x.rdb\">x</a><a href=\"mailto:a\">x</a><a href=\"//h/x\">x</a>"
        "<a href=\"#top\">x</a><a href=\"..\">x</a><a href=\"a/b\">x</a><a href=\"a%2Fb\">x</a>"
        "<a href=\"a%00b\">x</a><a href=\"\">x</a><a name=\"x\">x</a><a href=\"x.rdb?v=1\">x</a>"
        "<a href=\"a:b.rdb\">x</a><a href=\"a%3Ab.rdb\">x</a><a href=\"%2e%2e\">x</a>",
        "a:b.rdb -1 -1\n"},
    {"cut off", "text/html", "<a href=\"x.rdb\">x</a><a href=\"y.rdb", "x.rdb -1 -1\n"},
    {"cut off in columns", "text/html", "<a href=\"x.rdb\">x</a> 31-Jan-2026 13:05  1048",
        "x.rdb -1 -1\n"},
    {"empty page", "text/html", "", ""},
    {"nginx JSON", "application/json",
        "[\n{ \"name\":\"sub\", \"type\":\"directory\", \"mtime\":\"Sat, 31 Jan 2026 13:05:00 "
        "GMT\" },\n"
        "{ \"name\":\"a \\\"b\\n\", \"type\":\"file\", \"mtime\":\"Sat, 31 Jan 2026 13:05:09 "
        "GMT\", "
        "\"size\":692 }\n]",
        "a \"b\n 692 1769864709\n"},
    {"names", "text/plain", " [\"x.rdb\", \"../etc\", \"a/b\", \"\", 5, {\"name\": 7}, \"y.rdb\"]",
        "x.rdb -1 -1\ny.rdb -1 -1\n"},
    {"names and sizes", NULL, "[{\"name\":\"x\",\"size\":12},{\"name\":\"y\",\"size\":-3}]",
        "x 12 -1\ny -1 -1\n"},
};

static const struct {
    const char *what, *type, *text;
} no_indexes[] = {
    {"an object", "application/json", "{\"files\":[]}"},
    {"cut JSON", "application/json", "[{\"name\":\"x\""},
    {"JSON with a NUL in a name", "application/json", "[\"a\\u0000b\"]"},
    {"text", "text/plain", "hello"},
    {"nothing", NULL, ""},
    {"an RDB file", "application/octet-stream", "REDIS0010"},
};

static void pages_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        struct store_list list = STORE_LIST_INIT;
        struct err err = ERR_INIT;
        struct buf got = BUF_INIT;
        assert_ok(http_index_parse(pages[i].text, strlen(pages[i].text), pages[i].type, "http://h/",
                      &list, &err),
            err);
        for (size_t k = 0; k < list.count; k++) {
            const struct store_entry *e = &list.entries[k];
            int64_t ms = e->modified_ms;
            buf_addf(&got, "%s %lld %lld\n", e->name, (long long)e->bytes,
                (long long)(ms < 0 ? ms : ms / 1000));
        }
        if (strcmp(got.data, pages[i].expected) != 0)
            fail_msg("%s:\n%snot\n%s", pages[i].what, got.data, pages[i].expected);
        store_list_release(&list);
        buf_release(&got);
    }
}

/* Whatever comes, cut anywhere: no crash, no endless loop. */
static void cut_pages_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        for (size_t len = 0; len <= strlen(pages[i].text); len++) {
            struct store_list list = STORE_LIST_INIT;
            struct err err = ERR_INIT;
            void *copy = xmemdup(pages[i].text, len);
            int rc = http_index_parse(copy, len, pages[i].type, "http://h/", &list, &err);
            assert_true(rc == 0 || err.code == ERR_PROTOCOL);
            store_list_release(&list);
            free_ptr(&copy);
        }
    }
}

static void other_answers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(no_indexes); i++) {
        struct store_list list = STORE_LIST_INIT;
        struct err err;
        assert_error(http_index_parse(no_indexes[i].text, strlen(no_indexes[i].text),
                         no_indexes[i].type, "http://h/", &list, &err),
            err, ERR_PROTOCOL, "'http://h/'");
        store_list_release(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_read),
        cmocka_unit_test(cut_pages_end),
        cmocka_unit_test(other_answers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
