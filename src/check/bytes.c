/* SPDX-License-Identifier: MIT */
#include "check/bytes.h"

#include "base/text.h"
#include "check/checker.h"
#include <stdio.h>
#include <string.h>

/* The program may be storing to what is looked at; a race detector has nothing to say there. */
#if defined(__clang__)
#define DK_UNSEEN __attribute__((disable_sanitizer_instrumentation, no_sanitize("thread")))
#else
#define DK_UNSEEN __attribute__((no_sanitize("thread")))
#endif

#define ROW 16u
#define MOST_ROWS 6u    /* of a picture, what lies before and behind included */
#define WHOLE_ROWS 4u   /* that reported bytes may fill to be shown without a gap */
#define LONGEST_PATH 48 /* a CPU address, in the column of offsets */

/* What a byte is, beside the letters of owners. */
#define OWNER_NOBODY '.'
#define OWNER_DEVICE 'D'
#define OWNER_CPU 'C'
#define OWNER_BOTH 'B'
#define OWNER_GONE 'g' /* the report's mapping, which is not live any more */

struct row {
    phys_addr_t phys; /* a multiple of ROW */
    u8 seen[ROW];     /* by the CPU */
    u8 dram[ROW];     /* by a device */
    char owners[ROW];
    bool after_gap; /* reported bytes between the row before and this one are left out */
};

struct picture {
    struct dk_checker *checker;
    const struct dk_report_draft *draft;
    phys_addr_t first, last; /* the bytes reported, as far as they follow each other in memory */
    struct row rows[MOST_ROWS];
    unsigned count;
    bool gone;
    bool differs;   /* some byte looks otherwise to a device */
    char used[128]; /* letters of owners that occur, a flag each */
};

/* ---- Where the bytes are ---- */

/* Whether @mapping's phys is that of memory, and its bytes follow each other there. */
static bool has_place(const struct dk_mapping *mapping, u64 offset)
{
    return mapping->kind <= DK_MAPPING_SG &&
           offset < (mapping->contiguous ? mapping->contiguous : mapping->size);
}

/* The physical address of the first byte reported; false: it is not in the machine's memory, or not known. */
static bool find_phys(struct dk_memory *memory, const struct dk_report_draft *draft, phys_addr_t *phys)
{
    struct dk_memory *owner;

    if (draft->cpu) {
        enum dk_address_kind kind = dk_address_find((const void *)draft->cpu, &owner, phys);

        return owner == memory &&
               (kind == DK_ADDRESS_LINEAR || kind == DK_ADDRESS_UNCACHED || kind == DK_ADDRESS_VMALLOC);
    }
    if (!draft->mapping || !has_place(draft->mapping, draft->offset))
        return false;
    *phys = draft->mapping->phys + draft->offset;
    return true;
}

/* How many bytes from @phys on follow each other for sure: of a piece, or to the end of a page. */
static u64 run_length(const struct dk_report_draft *draft, phys_addr_t phys)
{
    const struct dk_mapping *mapping = draft->mapping;

    if (mapping && has_place(mapping, draft->offset) && phys == mapping->phys + draft->offset)
        return (mapping->contiguous ? mapping->contiguous : mapping->size) - draft->offset;
    return PAGE_SIZE - (phys & (PAGE_SIZE - 1));
}

static DK_UNSEEN void copy(u8 *to, const char *from)
{
    unsigned i;

    for (i = 0; i < ROW; i++)
        to[i] = __atomic_load_n((const u8 *)from + i, __ATOMIC_RELAXED);
}

/* Adds the row at @phys, unless nothing can be seen there; false: the picture is full. */
static bool add_row(struct picture *picture, struct dk_memory *memory, phys_addr_t phys, bool after_gap)
{
    struct row *row = &picture->rows[picture->count];
    const char *seen, *dram;
    u64 run = ROW;

    if (picture->count == MOST_ROWS)
        return false;
    /* A look at memory whose refresh is off would pass for an access of the program's. */
    if (!dk_memory_is_ram(memory, phys, ROW) || dk_pasr_run(memory, phys, &run))
        return true;
    seen = dk_memory_cached(memory, phys);
    dram = dk_memory_two_views(memory) ? dk_memory_dram(memory, phys) : seen;
    if (!seen || !dram)
        return true;
    if (dram != seen && dk_memory_is_uncached(memory, phys, ROW))
        seen = dram;
    row->phys = phys;
    row->after_gap = after_gap;
    copy(row->seen, seen);
    copy(row->dram, dram);
    memset(row->owners, OWNER_NOBODY, ROW);
    picture->count++;
    picture->differs = picture->differs || memcmp(row->seen, row->dram, ROW);
    return true;
}

/* A row before the bytes reported, theirs (of many the first two and the last), and one behind. */
static void take_rows(struct picture *picture, struct dk_memory *memory)
{
    phys_addr_t first = picture->first & ~(phys_addr_t)(ROW - 1);
    phys_addr_t last = picture->last & ~(phys_addr_t)(ROW - 1);
    u64 rows = (last - first) / ROW + 1;
    phys_addr_t at;

    if (first >= ROW)
        add_row(picture, memory, first - ROW, false);
    if (rows <= WHOLE_ROWS) {
        for (at = first; at <= last; at += ROW)
            add_row(picture, memory, at, false);
    } else {
        add_row(picture, memory, first, false);
        add_row(picture, memory, first + ROW, false);
        add_row(picture, memory, last, true);
    }
    if (last + ROW > last)
        add_row(picture, memory, last + ROW, false);
}

/* ---- Whose they are ---- */

static void own(struct picture *picture, phys_addr_t phys, u64 size, char owner)
{
    unsigned r, i;

    for (r = 0; r < picture->count; r++) {
        struct row *row = &picture->rows[r];

        if (!size || row->phys + (ROW - 1) < phys || row->phys > phys + (size - 1))
            continue;
        for (i = 0; i < ROW; i++) {
            /* Two owners at once: a device is the one to mind. */
            if (row->phys + i >= phys && row->phys + i <= phys + (size - 1) && row->owners[i] != OWNER_DEVICE)
                row->owners[i] = owner;
        }
    }
}

/* Coherent memory is the device's and the CPU's at all times; the rest changes hands. */
static char owner_of(const struct dk_record *record)
{
    return record->mapping.kind == DK_MAPPING_COHERENT || record->mapping.kind == DK_MAPPING_BLOCK
               ? OWNER_BOTH
               : OWNER_DEVICE;
}

static void own_run(phys_addr_t phys, u64 size, bool cpu, void *data)
{
    own(data, phys, size, cpu ? OWNER_CPU : OWNER_DEVICE);
}

static bool own_record(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    const struct dk_mapping *mapping = &record->mapping;
    const struct dk_record *piece;
    struct picture *picture = data;

    if (picture->draft->mapping && mapping->number == picture->draft->mapping->number)
        picture->gone = false;
    if (mapping->kind > DK_MAPPING_BLOCK || mapping->kind == DK_MAPPING_RESOURCE ||
        mapping->kind == DK_MAPPING_IOVA)
        return true;
    if (record->handover) {
        dk_handover_each_owned(picture->checker, record->handover, own_run, picture);
        return true;
    }
    own(picture, mapping->phys, mapping->contiguous ? mapping->contiguous : mapping->size, owner_of(record));
    for (piece = record->pieces; piece; piece = piece->pieces)
        own(picture, piece->by_phys.start, piece->by_phys.size, owner_of(record));
    return true;
}

/* Every live mapping of every device is asked: reports are rare. */
static void find_owners(struct picture *picture)
{
    const struct dk_mapping *mapping = picture->draft->mapping;
    struct dk_mappings *mappings = __atomic_load_n(&picture->checker->devices, __ATOMIC_ACQUIRE);
    unsigned r, i;

    picture->gone = mapping && mapping->kind <= DK_MAPPING_SG && mapping->number;
    if (picture->gone)
        own(picture, mapping->phys, mapping->contiguous ? mapping->contiguous : mapping->size, OWNER_GONE);
    for (; mappings; mappings = mappings->next) {
        dk_lock_take(&mappings->lock);
        dk_intervals_each(&mappings->live, own_record, picture);
        dk_lock_give(&mappings->lock);
    }
    for (r = 0; r < picture->count; r++) {
        for (i = 0; i < ROW; i++)
            picture->used[(unsigned char)picture->rows[r].owners[i]] = 1;
    }
}

/* ---- Drawing ---- */

/* A row's place: bytes into the mapping, else the CPU address. */
static void add_place(const struct picture *picture, const struct row *row, struct dk_text *text)
{
    const struct dk_report_draft *draft = picture->draft;
    char place[LONGEST_PATH];

    if (draft->mapping)
        snprintf(place, sizeof(place), "%+lld", (long long)(draft->offset + (row->phys - picture->first)));
    else
        snprintf(place, sizeof(place), "0x%llx", (u64)draft->cpu + (row->phys - picture->first));
    dk_text_add(text, "%7s:", place);
}

/* The column in front of the byte at @phys: brackets stand around the bytes reported. */
static char before(const struct picture *picture, phys_addr_t phys)
{
    if (phys == picture->first)
        return '[';
    /* Behind the last byte of a row it has been drawn in that row. */
    return phys == picture->last + 1 && phys % ROW ? ']' : ' ';
}

static void add_row_text(const struct picture *picture, const struct row *row, struct dk_text *text)
{
    unsigned i;

    dk_text_add(text, "  %s",
                row->phys + (ROW - 1) >= picture->first && row->phys <= picture->last ? "=>" : "  ");
    add_place(picture, row, text);
    for (i = 0; i < ROW; i++)
        dk_text_add(text, "%c%02x", before(picture, row->phys + i), row->seen[i]);
    dk_text_add(text, "%c ", row->phys + ROW == picture->last + 1 ? ']' : ' ');
    for (i = 0; i < ROW; i++)
        dk_text_add(text, "%c", row->seen[i] >= 0x20 && row->seen[i] < 0x7f ? row->seen[i] : '.');
    dk_text_add(text, "  %.*s\n", (int)ROW, row->owners);
}

/* The bytes of @row that look otherwise to a device, each below the CPU's. */
static void add_dram_text(const struct row *row, struct dk_text *text)
{
    char line[ROW * 3 + 1] = "";
    size_t end = 0;
    unsigned i;

    if (!memcmp(row->seen, row->dram, ROW))
        return;
    for (i = 0; i < ROW; i++) {
        if (row->seen[i] == row->dram[i]) {
            memcpy(line + i * 3, "   ", 4);
        } else {
            snprintf(line + i * 3, 4, " %02x", row->dram[i]);
            end = i * 3 + 3;
        }
    }
    dk_text_add(text, "      DRAM: %.*s\n", (int)end, line);
}

static void add_legend(const struct picture *picture, struct dk_text *text)
{
    static const struct {
        char letter;
        const char *meaning;
    } letters[] = {
        { OWNER_DEVICE, "the device's" },   { OWNER_CPU, "mapped, the CPU's" },
        { OWNER_BOTH, "coherent, both's" }, { OWNER_GONE, "this mapping's, which is gone" },
        { OWNER_NOBODY, "not mapped" },
    };
    const char *separator = "";
    unsigned i;

    dk_text_add(text, "    (owners: ");
    for (i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if (!picture->used[(unsigned char)letters[i].letter])
            continue;
        dk_text_add(text, "%s%c %s", separator, letters[i].letter, letters[i].meaning);
        separator = ", ";
    }
    dk_text_add(text, "; [ ] the bytes reported%s)\n",
                picture->differs ? "; DRAM: what a device sees there" : "");
}

/* Whether any of the bytes reported is in the picture, not only what lies around them. */
static bool shows(const struct picture *picture)
{
    unsigned r;

    for (r = 0; r < picture->count; r++) {
        if (picture->rows[r].phys <= picture->last && picture->rows[r].phys + (ROW - 1) >= picture->first)
            return true;
    }
    return false;
}

void dk_bytes_picture(struct dk_checker *checker, const struct dk_report_draft *draft, char *buffer,
                      size_t size)
{
    struct dk_memory *memory = checker->machine->memory;
    struct picture picture = { .checker = checker, .draft = draft };
    struct dk_text text = { buffer, size, 0 };
    u64 length = draft->length;
    unsigned r;

    buffer[0] = '\0';
    if (!length || !find_phys(memory, draft, &picture.first))
        return;
    if (length > run_length(draft, picture.first))
        length = run_length(draft, picture.first);
    picture.last = picture.first + (length - 1);
    if (picture.last < picture.first)
        return;
    take_rows(&picture, memory);
    if (!shows(&picture))
        return;
    find_owners(&picture);
    dk_text_add(&text, "  memory there, %s:\n",
                draft->mapping ? "by bytes into the mapping" : "by CPU address");
    for (r = 0; r < picture.count; r++) {
        const struct row *row = &picture.rows[r];

        if (row->after_gap)
            dk_text_add(&text, "         ...: %llu bytes are left out\n",
                        row->phys - picture.rows[r - 1].phys - ROW);
        add_row_text(&picture, row, &text);
        add_dram_text(row, &text);
    }
    add_legend(&picture, &text);
}
