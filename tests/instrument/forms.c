/* SPDX-License-Identifier: MIT */
/*
 * Every form of access that a C program has. Each is made to memory that the device owns, where it must be
 * reported, to the byte, at its own line; and to the same memory after a sync, and to ordinary memory, where
 * it must not.
 *
 * A program of its own, compiled by each compiler at each level of optimisation with the flags of
 * dmakit-check.
 */
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE 256

/* What a form is to do: bytes [load, load + loads) are loaded, [store, store + stores) stored. */
struct form {
    const char *name;
    void (*run)(char *at, char *other);
    unsigned load, loads;
    unsigned store, stores;
    const char *call; /* the C library's function, or "" */
};

struct bits {
    unsigned low : 3;
    unsigned high : 20;
    unsigned : 0;
    unsigned last : 7;
};
struct words {
    unsigned long word[6];
};
struct page_like {
    char bytes[200];
};
struct __attribute__((packed)) packed {
    char first;
    int number;
    long long last;
};
typedef int vector_16 __attribute__((vector_size(16)));
typedef int vector_32 __attribute__((vector_size(32)));
typedef int unaligned __attribute__((aligned(1)));

static volatile unsigned long long sink;
static volatile double float_sink;
static struct words words_sink;
static struct page_like page_sink;
static int sum_length = 64;
static int place; /* a file */

static void complain(const char *what, const struct dk_report *report);

#define FORM __attribute__((noinline)) static void

FORM load_char(char *p, char *o)
{
    (void)o;
    sink = (unsigned char)p[3];
}
FORM load_short(char *p, char *o)
{
    (void)o;
    sink = *(unsigned short *)(p + 4);
}
FORM load_int(char *p, char *o)
{
    (void)o;
    sink = *(unsigned *)(p + 8);
}
FORM load_long_long(char *p, char *o)
{
    (void)o;
    sink = *(unsigned long long *)(p + 16);
}
FORM load_double(char *p, char *o)
{
    (void)o;
    float_sink = *(double *)(p + 24);
}
FORM load_pointer(char *p, char *o)
{
    (void)o;
    sink = (uintptr_t) * (void **)(p + 32);
}
FORM store_char(char *p, char *o)
{
    (void)o;
    p[3] = 1;
}
FORM store_short(char *p, char *o)
{
    (void)o;
    *(short *)(p + 4) = 1;
}
FORM store_int(char *p, char *o)
{
    (void)o;
    *(int *)(p + 8) = 1;
}
FORM store_long_long(char *p, char *o)
{
    (void)o;
    *(long long *)(p + 16) = 1;
}
FORM store_double(char *p, char *o)
{
    (void)o;
    *(double *)(p + 24) = 1.5;
}
FORM store_same_value(char *p, char *o)
{
    (void)o;
    *(volatile int *)(p + 8) = 0;
}
FORM load_unaligned(char *p, char *o)
{
    (void)o;
    sink = (unsigned)*(unaligned *)(p + 33);
}
FORM store_unaligned(char *p, char *o)
{
    (void)o;
    *(unaligned *)(p + 37) = 5;
}
FORM load_packed(char *p, char *o)
{
    (void)o;
    sink = (unsigned)((struct packed *)p)->number;
}
FORM store_packed(char *p, char *o)
{
    (void)o;
    ((struct packed *)p)->last = 7;
}
FORM load_volatile(char *p, char *o)
{
    (void)o;
    sink = *(volatile unsigned *)(p + 8);
}
FORM store_volatile(char *p, char *o)
{
    (void)o;
    *(volatile unsigned *)(p + 8) = 1;
}
FORM load_bits(char *p, char *o)
{
    (void)o;
    sink = ((struct bits *)p)->last;
}
FORM load_once(char *p, char *o)
{
    (void)o;
    sink = READ_ONCE(*(unsigned *)(p + 8));
}
FORM store_once(char *p, char *o)
{
    (void)o;
    WRITE_ONCE(*(unsigned *)(p + 8), 3);
}
FORM load_acquire(char *p, char *o)
{
    (void)o;
    sink = smp_load_acquire((u16 *)(p + 8));
}
FORM store_release(char *p, char *o)
{
    (void)o;
    smp_store_release((u64 *)(p + 8), 3);
}
FORM atomic_1(char *p, char *o)
{
    (void)o;
    __atomic_fetch_or((u8 *)(p + 1), 1, __ATOMIC_SEQ_CST);
}
FORM atomic_8(char *p, char *o)
{
    (void)o;
    __atomic_exchange_n((u64 *)(p + 8), 1, __ATOMIC_ACQ_REL);
}
FORM atomic_cas(char *p, char *o)
{
    u32 expected = 99;

    (void)o;
    __atomic_compare_exchange_n((u32 *)(p + 8), &expected, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}
FORM increment(char *p, char *o)
{
    (void)o;
    ++*(unsigned *)(p + 12);
}
FORM load_struct(char *p, char *o)
{
    (void)o;
    words_sink = *(struct words *)p;
}
FORM store_struct(char *p, char *o)
{
    (void)o;
    *(struct words *)p = words_sink;
}
FORM load_big(char *p, char *o)
{
    (void)o;
    page_sink = *(struct page_like *)p;
}
FORM store_big(char *p, char *o)
{
    (void)o;
    *(struct page_like *)p = page_sink;
}
FORM clear_struct(char *p, char *o)
{
    (void)o;
    *(struct words *)p = (struct words){ { 0 } };
}
FORM load_vector_16(char *p, char *o)
{
    *(vector_16 *)o = *(vector_16 *)(p + 16);
}
FORM store_vector_16(char *p, char *o)
{
    *(vector_16 *)(p + 16) = *(vector_16 *)o;
}
#ifndef __clang__
FORM load_vector_32(char *p, char *o)
{
    *(vector_32 *)o = *(vector_32 *)(p + 32);
}
FORM store_vector_32(char *p, char *o)
{
    *(vector_32 *)(p + 32) = *(vector_32 *)o;
}
#endif
FORM load_loop(char *p, char *o)
{
    unsigned sum = 0;
    int i;

    (void)o;
    for (i = 0; i < sum_length; i++)
        sum += (unsigned char)p[i];
    sink = sum;
}
FORM store_loop(char *p, char *o)
{
    int i;

    for (i = 0; i < sum_length; i++)
        p[i] = (char)(o[i] + 1);
}
/* Constant sizes: what compilers would expand. */
FORM memcpy_from_8(char *p, char *o)
{
    memcpy(o, p + 8, 8);
}
FORM memcpy_to_16(char *p, char *o)
{
    memcpy(p + 16, o, 16);
}
FORM memcpy_from_n(char *p, char *o)
{
    memcpy(o, p, (size_t)sum_length);
}
FORM memmove_within(char *p, char *o)
{
    (void)o;
    memmove(p + 8, p, 32);
}
FORM memset_24(char *p, char *o)
{
    (void)o;
    memset(p, 0, 24);
}
FORM memcmp_8(char *p, char *o)
{
    sink = (unsigned)memcmp(p + 8, o, 8);
}
FORM memcmp_zero(char *p, char *o)
{
    sink = !memcmp(o, p, 4);
}
FORM memchr_16(char *p, char *o)
{
    (void)o;
    sink = memchr(p, 'x', 16) != NULL;
}
FORM strlen_of(char *p, char *o)
{
    (void)o;
    sink = strlen(p);
}
FORM strcpy_to(char *p, char *o)
{
    (void)o;
    strcpy(p, "seven..");
}
FORM strcmp_with(char *p, char *o)
{
    (void)o;
    sink = (unsigned)strcmp(p, "abc");
}
FORM strncpy_to(char *p, char *o)
{
    (void)o;
    strncpy(p, "ab", 12);
}
FORM strcat_to(char *p, char *o)
{
    (void)o;
    if (strcat(p, "abc") != p)
        complain("returned something else", NULL);
}
FORM strchr_found(char *p, char *o)
{
    (void)o;
    if (strchr(p, 0) != p)
        complain("returned something else", NULL);
}
FORM strchr_not_found(char *p, char *o)
{
    (void)o;
    if (strchr(p, 'x'))
        complain("returned something else", NULL);
}
FORM snprintf_to(char *p, char *o)
{
    (void)o;
    snprintf(p, 32, "%d-%s", 12, "ab");
}
FORM read_file(char *p, char *o)
{
    (void)o;
    sink = (unsigned long long)pread(place, p, 20, 0);
}
FORM write_file(char *p, char *o)
{
    (void)o;
    sink = (unsigned long long)pwrite(place, p, 20, 0);
}

#define AT(function, ...)                \
    {                                    \
#function, function, __VA_ARGS__ \
    }
static struct form forms[] = {
    AT(load_char, 3, 1, 0, 0, ""),
    AT(load_short, 4, 2, 0, 0, ""),
    AT(load_int, 8, 4, 0, 0, ""),
    AT(load_long_long, 16, 8, 0, 0, ""),
    AT(load_double, 24, 8, 0, 0, ""),
    AT(load_pointer, 32, sizeof(void *), 0, 0, ""),
    AT(store_char, 0, 0, 3, 1, ""),
    AT(store_short, 0, 0, 4, 2, ""),
    AT(store_int, 0, 0, 8, 4, ""),
    AT(store_long_long, 0, 0, 16, 8, ""),
    AT(store_double, 0, 0, 24, 8, ""),
    AT(store_same_value, 0, 0, 8, 4, ""),
    AT(load_unaligned, 33, 4, 0, 0, ""),
    AT(store_unaligned, 0, 0, 37, 4, ""),
    AT(load_packed, 1, 4, 0, 0, ""),
    AT(store_packed, 0, 0, 5, 8, ""),
    AT(load_volatile, 8, 4, 0, 0, ""),
    AT(store_volatile, 0, 0, 8, 4, ""),
    AT(load_bits, 4, 1, 0, 0, ""),
    AT(load_once, 8, 4, 0, 0, ""),
    AT(store_once, 0, 0, 8, 4, ""),
    AT(load_acquire, 8, 2, 0, 0, ""),
    AT(store_release, 0, 0, 8, 8, ""),
    AT(atomic_1, 1, 1, 1, 1, ""),
    AT(atomic_8, 8, 8, 8, 8, ""),
    AT(atomic_cas, 8, 4, 8, 4, ""),
#ifdef __clang__
    /* Of a load and a store in one place clang reports the store alone. */
    AT(increment, 0, 0, 12, 4, ""),
#else
    AT(increment, 12, 4, 12, 4, ""),
#endif
    AT(load_struct, 0, sizeof(struct words), 0, 0, ""),
    AT(store_struct, 0, 0, 0, sizeof(struct words), ""),
    AT(load_big, 0, 200, 0, 0, ""),
    AT(store_big, 0, 0, 0, 200, ""),
    AT(clear_struct, 0, 0, 0, sizeof(struct words), ""),
    AT(load_vector_16, 16, 16, 0, 0, ""),
    AT(store_vector_16, 0, 0, 16, 16, ""),
#ifndef __clang__
    /* Clang instruments no access of more than 16 bytes. */
    AT(load_vector_32, 32, 32, 0, 0, ""),
    AT(store_vector_32, 0, 0, 32, 32, ""),
#endif
    AT(load_loop, 0, 64, 0, 0, ""),
    AT(store_loop, 0, 0, 0, 64, ""),
    AT(memcpy_from_8, 8, 8, 0, 0, "memcpy"),
    AT(memcpy_to_16, 0, 0, 16, 16, "memcpy"),
    AT(memcpy_from_n, 0, 64, 0, 0, "memcpy"),
    AT(memmove_within, 0, 32, 8, 32, "memmove"),
    AT(memset_24, 0, 0, 0, 24, "memset"),
    AT(memcmp_8, 8, 8, 0, 0, "memcmp"),
    AT(memcmp_zero, 0, 4, 0, 0, "memcmp"),
    AT(memchr_16, 0, 16, 0, 0, "memchr"),
    AT(strlen_of, 0, 1, 0, 0, "strlen"),
    AT(strcpy_to, 0, 0, 0, 8, "strcpy"),
    AT(strcmp_with, 0, 1, 0, 0, "strcmp"),
    AT(strncpy_to, 0, 0, 0, 12, "strncpy"),
    AT(strcat_to, 0, 1, 0, 4, "strcat"),
    AT(strchr_found, 0, 1, 0, 0, "strchr"),
    AT(strchr_not_found, 0, 1, 0, 0, "strchr"),
    AT(snprintf_to, 0, 0, 0, 6, "snprintf"),
    AT(read_file, 0, 0, 0, 20, "pread"),
    AT(write_file, 0, 20, 0, 0, "pwrite"),
};

/* ---- What is reported ---- */

static bool loaded[SIZE], stored[SIZE];
static unsigned long reports, wrong_reports;
static const struct form *now;
static u64 last_length;

static void complain(const char *what, const struct dk_report *report)
{
    wrong_reports++;
    fprintf(stderr, "forms: %s: %s\n", now->name, what);
    if (report)
        dk_report_print(report, stderr);
}

static void take(const struct dk_report *report, void *data)
{
    bool store = !strcmp(report->access.kind, "store");
    bool *hit = store ? stored : loaded;
    const struct dk_frame *frame = &report->access.stack.frames[0];
    u64 i;

    (void)data;
    reports++;
    last_length = report->bytes.length;
    if (strcmp(report->class_name, store ? "cpu-write-while-device-owns" : "cpu-read-while-device-owns"))
        complain("another class", report);
    if (!report->access.stack.count || !frame->function || strcmp(frame->function, now->name))
        complain("another function", report);
    else if (!frame->file || !strstr(frame->file, "forms.c") || !frame->line)
        complain("another file, or no line", report);
    /* Clang makes library calls of structure copies. */
    if (*now->call && strcmp(report->access.name, now->call))
        complain("another call", report);
    for (i = 0; i < report->bytes.length && report->bytes.offset + i < SIZE; i++)
        hit[report->bytes.offset + i] = true;
}

/* A report is kept once for a place, so loops are looked at through the shadow's own answer: every byte. */
static void expect(const char *what, const bool *hit, unsigned first, unsigned length, bool loop)
{
    unsigned i;

    for (i = 0; i < SIZE; i++) {
        bool wanted = i - first < length;

        if (hit[i] != wanted && !(loop && wanted && i > first)) {
            fprintf(stderr, "forms: %s: byte %u %s %s\n", now->name, i, what,
                    wanted ? "and silent" : "reported");
            wrong_reports++;
            return;
        }
    }
}

static void check(struct dk_machine *machine, struct device *dev, char *other)
{
    char *buffer = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_BIDIRECTIONAL);
    unsigned long before = dk_check_count(machine, NULL), accesses, wanted;
    bool loop = strstr(now->name, "_loop") != NULL;

    if (dma_mapping_error(dev, dma)) {
        complain("cannot be mapped", NULL);
        return;
    }
    last_length = 0;
    memset(loaded, 0, sizeof(loaded));
    memset(stored, 0, sizeof(stored));
    now->run(buffer, other);
    accesses = dk_check_count(machine, NULL) - before;
    /* Each access is counted once. A loop's first report has the width that the compiler chose. */
    wanted = (now->loads > 0) + (now->stores > 0);
    if (loop && last_length)
        wanted = (unsigned long)sum_length / last_length;
    if (accesses != wanted) {
        fprintf(stderr, "forms: %s: counted %lu times\n", now->name, accesses);
        wrong_reports++;
    }
    expect("loaded", loaded, now->load, now->loads, loop);
    expect("stored", stored, now->store, now->stores, loop);

    before = dk_check_count(machine, NULL);
    dma_sync_single_for_cpu(dev, dma, SIZE, DMA_BIDIRECTIONAL);
    now->run(buffer, other);
    if (dk_check_count(machine, NULL) != before)
        complain("reported though it was synced for the CPU", NULL);
    dma_sync_single_for_device(dev, dma, SIZE, DMA_BIDIRECTIONAL);
    dma_unmap_single(dev, dma, SIZE, DMA_BIDIRECTIONAL);
    now->run(buffer, other);
    if (dk_check_count(machine, NULL) != before)
        complain("reported though it was unmapped", NULL);
    kfree(buffer);
}

int main(void)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };
    struct dk_machine *machine = dk_machine_create(NULL, &options);
    char *other = aligned_alloc(64, SIZE);
    struct device *dev;
    size_t i;

    if (IS_ERR(machine) || !other)
        return 2;
    place = fileno(tmpfile());
    memset(other, 0, SIZE);
    dk_machine_enter(machine);
    dk_check_set_sink(machine, take, NULL);
    dev = dk_device_add(NULL, "forms");
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        now = &forms[i];
        if (pwrite(place, other, 20, 0) != 20)
            return 2;
        check(machine, dev, other);
    }
    free(other);
    dk_machine_destroy(machine);
    printf("%zu forms, %lu reports, %lu wrong\n", i, reports, wrong_reports);
    return wrong_reports != 0;
}
