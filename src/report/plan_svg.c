/* The layout as a picture: a band for each rack, a card for each host. */

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "html.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/report.h"
#include "text.h"

enum {
    MARGIN = 24,
    COLUMNS = 4,
    GAP = 16,
    CARD = 238,
    BANDS = COLUMNS * (CARD + 2 * GAP) + (COLUMNS - 1) * GAP, /* as wide as racks of one host */
    WIDE_GAP = (BANDS - COLUMNS * CARD) / (COLUMNS + 1),      /* in a band that is as wide */
    WIDTH = BANDS + 2 * MARGIN,
    PAD = 14,
    HEAD = 64, /* of a card: name, bar, bytes */
    CHIP = 22,
    CHIP_ROW = 28,
    CHIP_ROWS_MAX = 6,
    BAND_HEAD = 34,
    COLOURS = 8,
    HOSTS_MAX = 400,
};

/* Literal colours: not every viewer supports variables. */
static const char style[] =
    "<style>"
    "text{font:13px system-ui,-apple-system,Segoe UI,Roboto,DejaVu Sans,sans-serif}.t{font-size:2"
    "0px;font-weight:600}.b{font-weight:600}.s{font-size:12px}.p text,.r text{font-size:12px}.p t"
    "ext{font-weight:600}.r rect{fill:none;stroke-width:1.5;stroke-dasharray:4 3}"
    "text{fill:#1b2330}.s{fill:#5b6675}.bad{fill:#b3261e}.bg{fill:#f6f7f9}.band{fill:#ffffff;stro"
    "ke:#dde2e9}.card{fill:#f6f7f9;stroke:#dde2e9}.bar{fill:#dde2e9}.used{fill:#2f7fd6}.over{fill"
    ":#b3261e}.p text{fill:#ffffff}.p.c0 rect{fill:#2f7fd6}.r.c0 rect{stroke:#2f7fd6}.p.c1 rect{f"
    "ill:#b06c00}.r.c1 rect{stroke:#b06c00}.p.c2 rect{fill:#23874e}.r.c2 rect{stroke:#23874e}.p.c"
    "3 rect{fill:#9257c9}.r.c3 rect{stroke:#9257c9}.p.c4 rect{fill:#c94f7c}.r.c4 rect{stroke:#c94"
    "f7c}.p.c5 rect{fill:#2c8790}.r.c5 rect{stroke:#2c8790}.p.c6 rect{fill:#7d6650}.r.c6 rect{str"
    "oke:#7d6650}.p.c7 rect{fill:#5b6ee1}.r.c7 rect{stroke:#5b6ee1}"
    "@media (prefers-color-scheme:dark){"
    "text{fill:#e6eaf0}.s{fill:#9aa6b5}.bad{fill:#ff9c94}.bg{fill:#12161c}.band{fill:#1b2129;stro"
    "ke:#343e4a}.card{fill:#232b35;stroke:#343e4a}.bar{fill:#3c4754}.used{fill:#5aa2ee}.over{fill"
    ":#ff9c94}.p text{fill:#12161c}.p.c0 rect{fill:#5aa2ee}.r.c0 rect{stroke:#5aa2ee}.p.c1 rect{f"
    "ill:#e9a63c}.r.c1 rect{stroke:#e9a63c}.p.c2 rect{fill:#4fbf80}.r.c2 rect{stroke:#4fbf80}.p.c"
    "3 rect{fill:#b383e2}.r.c3 rect{stroke:#b383e2}.p.c4 rect{fill:#e27a9f}.r.c4 rect{stroke:#e27"
    "a9f}.p.c5 rect{fill:#5cc0c7}.r.c5 rect{stroke:#5cc0c7}.p.c6 rect{fill:#b39a78}.r.c6 rect{str"
    "oke:#b39a78}.p.c7 rect{fill:#8594f5}.r.c7 rect{stroke:#8594f5}"
    "}</style>\n";

PRINTF_LIKE(5, 6)
static void text_at(struct buf *out, const char *class, int x, int y, const char *fmt, ...)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    va_list args;

    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    buf_addf(out, "<text class=\"%s\" x=\"%d\" y=\"%d\">", class, x, y);
    html_escape(out, text.data);
    buf_adds(out, "</text>\n");
}

/* The approximate width of the font's letters. */
static int width_of(const char *text)
{
    return (int)text_width(text) * 8 + 14;
}

/* One chip; moves *x and *y after it. False: the card is full. */
static bool chip(
    struct buf *out, const struct plan_placed *placed, int left, int top, int *x, int *y)
{
    const char *uid = json_text(placed->shard, "uid", "?");
    bool replica = strcmp(json_text(placed->shard, "role", ""), "replica") == 0;
    char bytes[HUMAN_TEXT_MAX];
    int width = width_of(uid);

    if (*x + width > left + CARD - PAD && *x > left + PAD) {
        *x = left + PAD;
        *y += CHIP_ROW;
    }
    if (*y >= top + HEAD + CHIP_ROWS_MAX * CHIP_ROW)
        return false;
    buf_addf(out,
        "<g class=\"%s c%zu\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"5\"/>"
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
        replica ? "r" : "p", placed->database_index % COLOURS, *x, *y, width, CHIP, *x + width / 2,
        *y + 15);
    html_escape(out, uid);
    buf_adds(out, "</text>");
    html_element(out, "title", NULL, "%s shard:%s, %s, port %" PRId64 ", %s",
        json_text(placed->database, "label", "?"), uid, json_text(placed->shard, "role", "?"),
        (int64_t)json_int(placed->shard, "port", 0),
        human_bytes((uint64_t)(int64_t)json_int(placed->shard, "memory", 0), bytes));
    buf_adds(out, "</g>\n");
    *x += width + 6;
    return true;
}

/* As many characters as fit on a card. */
static void card_name(struct buf *out, int x, int y, const char *name)
{
    enum { SHOWN = 26 };
    const char *end = name;
    size_t count = 0;

    while (*end && count++ < SHOWN)
        doc_next_char(&end);
    text_at(out, "b", x, y, "%.*s%s", (int)(end - name), name, *end ? "…" : "");
}

static void memory_bar(struct buf *out, const json_t *host, int x, int y)
{
    int64_t whole = json_int(host, "memory", 0), part = json_int(host, "planned_memory", 0);
    char planned[HUMAN_TEXT_MAX], memory[HUMAN_TEXT_MAX];
    double share = whole > 0 ? (double)part / (double)whole : 0;
    int width = CARD - 2 * PAD;

    if (json_is_false(json_object_get(host, "usable"))) {
        text_at(out, "s bad", x, y + 8, "can't be used");
        return;
    }
    buf_addf(out, "<rect class=\"bar\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"8\" rx=\"4\"/>", x,
        y, width);
    if (part > 0)
        buf_addf(out,
            "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"8\" rx=\"4\"/>\n",
            share > 1 ? "over" : "used", x, y, share > 1 ? width : share * width);
    text_at(out, "s", x, y + 24, "%s of %s", human_bytes((uint64_t)(part > 0 ? part : 0), planned),
        human_bytes((uint64_t)(whole > 0 ? whole : 0), memory));
}

/* Draws a card, or without `out` only measures it. Returns its height. */
static int card(struct buf *out, const json_t *host, const struct plan_layout *layout, int left,
    int top, int height)
{
    CLEANUP(buf_release) struct buf chips = BUF_INIT;
    size_t count, i = 0;
    const struct plan_placed *placed = plan_layout_of(layout, json_text(host, "name", ""), &count);
    int x = left + PAD, y = top + HEAD;

    while (i < count && chip(&chips, &placed[i], left, top, &x, &y))
        i++;
    int bottom = count == 0 ? top + HEAD : (i < count ? y + 4 : y + CHIP_ROW);
    if (i < count)
        bottom += 16;
    if (out) {
        buf_addf(out,
            "<rect class=\"card\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n", left,
            top, CARD, height);
        card_name(out, left + PAD, top + 22, json_text(host, "name", "?"));
        memory_bar(out, host, left + PAD, top + 32);
        buf_add(out, chips.data, chips.len);
        if (i < count)
            text_at(out, "s", left + PAD, bottom - 6, "and %zu more", count - i);
    }
    return bottom + 6 - top;
}

/* A rack that is being placed. */
struct band {
    const char *rack;
    size_t hosts; /* of it that are shown */
    size_t columns;
    int height;
};

static int band_gap(size_t columns)
{
    return columns == COLUMNS ? WIDE_GAP : GAP;
}

static int band_width(size_t columns)
{
    return (int)columns * (CARD + band_gap(columns)) + band_gap(columns);
}

/* Draws the cards of a rack, or without `out` only measures them. Returns the y below. */
static int band_cards(struct buf *out, const json_t *plan, const struct plan_layout *layout,
    const struct band *band, int left, int top)
{
    const json_t *row[COLUMNS];
    size_t in_row = 0, seen = 0, i;
    int gap = band_gap(band->columns);
    json_t *host;

    json_array_foreach (json_object_get(plan, "hosts"), i, host) {
        if (i >= HOSTS_MAX || strcmp(json_text(host, "rack", ""), band->rack) != 0)
            continue;
        row[in_row++] = host;
        seen++;
        if (in_row < band->columns && seen < band->hosts)
            continue;
        int height = 0;
        for (size_t k = 0; k < in_row; k++) {
            int own = card(NULL, row[k], layout, 0, 0, 0);
            height = own > height ? own : height;
        }
        for (size_t k = 0; out && k < in_row; k++)
            card(out, row[k], layout, left + gap + (int)k * (CARD + gap), top, height);
        top += height + GAP;
        in_row = 0;
    }
    return top;
}

static struct band band_of(const json_t *plan, const struct plan_layout *layout, const char *rack)
{
    struct band band = {.rack = rack};
    size_t i;
    json_t *host;

    json_array_foreach (json_object_get(plan, "hosts"), i, host) {
        band.hosts += i < HOSTS_MAX && strcmp(json_text(host, "rack", ""), rack) == 0;
    }
    band.columns = band.hosts < COLUMNS ? band.hosts : COLUMNS;
    band.height = band_cards(NULL, plan, layout, &band, 0, BAND_HEAD);
    return band;
}

static void draw_band(struct buf *out, const json_t *plan, const struct plan_layout *layout,
    const struct band *band, int left, int top)
{
    buf_addf(out, "<rect class=\"band\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n",
        left, top, band_width(band->columns), band->height);
    text_at(out, "s", left + band_gap(band->columns), top + 22, "%s%s",
        *band->rack ? "Rack " : "Rack not known", band->rack);
    band_cards(out, plan, layout, band, left, top + BAND_HEAD);
}

/* All racks; small ones are side by side. Returns the y below. */
static int bands(struct buf *out, const json_t *plan, const struct plan_layout *layout, int top)
{
    struct band row[COLUMNS];
    size_t in_row = 0;
    int right = MARGIN;

    for (size_t r = 0; r <= layout->rack_count; r++) {
        bool end = r == layout->rack_count;
        struct band band = {.rack = ""};
        if (!end)
            band = band_of(plan, layout, layout->racks[r]);
        if (!end && !band.hosts)
            continue;
        if (in_row && (end || right + band_width(band.columns) > WIDTH - MARGIN)) {
            int height = 0, left = MARGIN;
            for (size_t k = 0; k < in_row; k++)
                height = row[k].height > height ? row[k].height : height;
            for (size_t k = 0; k < in_row; k++) {
                row[k].height = height;
                draw_band(out, plan, layout, &row[k], left, top);
                left += band_width(row[k].columns) + GAP;
            }
            top += height + GAP;
            in_row = 0;
            right = MARGIN;
        }
        right += band_width(band.columns) + GAP;
        row[in_row++] = band;
    }
    return top;
}

/* A colour for each database; returns the y below. */
static int legend(struct buf *out, const json_t *plan, int y)
{
    enum { SHOWN = 24 };
    const json_t *databases = json_object_get(plan, "databases");
    size_t i;
    json_t *database;
    int x = MARGIN;

    json_array_foreach (databases, i, database) {
        CLEANUP(buf_release) struct buf text = BUF_INIT;
        const char *name = json_text(database, "name", "");
        bool more = i == SHOWN;
        if (more)
            buf_addf(&text, "and %zu more", json_array_size(databases) - i);
        else
            buf_addf(&text, "%s  %s%s", json_text(database, "label", "?"),
                text_width(name) > 30 ? "" : name,
                json_has(database, "skipped") ? " (left out)" : "");
        int width = width_of(text.data) + 24;
        if (x + width > WIDTH - MARGIN) {
            x = MARGIN;
            y += 24;
        }
        if (!more)
            buf_addf(out,
                "<g class=\"p c%zu\"><rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"4\"/></g>",
                i % COLOURS, x, y);
        text_at(out, "s", more ? x : x + 20, y + 11, "%s", text.data);
        x += width;
        if (more)
            break;
    }
    return y + 30;
}

void report_plan_svg(const json_t *plan, struct buf *out)
{
    CLEANUP(buf_release) struct buf body = BUF_INIT;
    size_t hosts = json_count(plan, "hosts");
    struct plan_layout layout;
    char time[HUMAN_TEXT_MAX];
    bool feasible = json_flag(plan, "feasible");

    plan_layout_init(&layout, plan);
    text_at(&body, "t", MARGIN, 44, "Plan %.12s", json_text(plan, "hash", ""));
    text_at(&body, feasible ? "s" : "s bad", MARGIN, 66,
        "%s%s, about %s; filled: primary, dashed: replica",
        feasible ? "can be executed" : "cannot be executed",
        json_flag(plan, "offline") ? ", planned offline" : "",
        human_duration((int64_t)(plan_total_seconds(plan) * 1000), time));
    int y = legend(&body, plan, 84);
    y = bands(&body, plan, &layout, y);
    if (hosts > HOSTS_MAX) {
        text_at(&body, "s", MARGIN, y + 12, "and %zu more hosts", hosts - HOSTS_MAX);
        y += 24;
    }
    buf_addf(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>Where each shard goes</title>\n",
        WIDTH, y + 8, WIDTH, y + 8);
    buf_adds(out, style);
    buf_addf(out, "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", WIDTH, y + 8);
    buf_add(out, body.data, body.len);
    buf_adds(out, "</svg>\n");
    plan_layout_release(&layout);
}
