/* SPDX-License-Identifier: MIT */
/*
 * dmakit bench: rows of operations, each timed beside a floor or peer in the same process.
 *
 * bench.c reads the options and prints, bench-measure.c times, bench-rows.c has the rows but for those of
 * bouncing, contiguous memory and pools, which bench-bounce.c, bench-contig.c and bench-pool.c have;
 * bench-ring.c, bench-ring-loop.c and bench-iova.c have the programs of the check-depth and iova rows,
 * bench-pool-peers.c and bench-pool-dpdk.c other allocators.
 */
#ifndef DK_TOOLS_BENCH_H
#define DK_TOOLS_BENCH_H

#include <dmakit/dmakit.h>

#define BENCH_SEGMENTS 16
#define BENCH_BUFFER 256 /* bytes of a mapping */

struct bench_iova;
struct bench_ring;
struct bench_bounce;
struct bench_contig;
struct bench_pool;

/* What a row's functions work on. */
struct bench_state {
    struct dk_machine *machine;
    struct device *dev;             /* on @machine; reaches all of its memory, coherently */
    char *buffer;                   /* BENCH_BUFFER bytes of @machine */
    void *segments[BENCH_SEGMENTS]; /* what @sg points to, each of BENCH_BUFFER bytes */
    struct scatterlist sg[BENCH_SEGMENTS];
    struct device *translated; /* on @machine, behind an IOMMU */
    char *long_buffer;         /* what it maps: @long_size bytes, whole pages */
    size_t long_size;
    struct bench_iova *iova;
    struct bench_ring *ring;
    struct bench_bounce *bounce;
    struct bench_contig *contig;
    struct bench_pool *pool;
    /* The same at depth 0, for the peer of a row about the checker; else NULL. */
    struct dk_machine *plain_machine;
    struct bench_ring *plain_ring;
};

struct bench_subject {
    const char *name;
    void (*run)(struct bench_state *state, unsigned long count); /* the operation, @count times */
};

/* Peers of a row besides its first. */
#define BENCH_OTHERS 3

struct bench_row {
    struct bench_subject subject;              /* its name is the row's */
    struct bench_subject peer;                 /* runs interleaved with it */
    struct bench_subject others[BENCH_OTHERS]; /* so do these; the first without a function ends them */
    bool (*is_there)(const struct bench_subject *other); /* whether this computer has it; NULL: it has */
    const char *summary;
    double goal;                                 /* on the minimum; 0: none, or the next two say it */
    double goal_over_ns, goal_over_percent;      /* of the peer's minimum, both on top of it; 0 and 0: none */
    bool ratio;                                  /* unit x: times the peer; else ns an operation */
    bool threads;                                /* of several threads: the goal is on the median */
    int depth;                                   /* of the machine */
    int (*setup)(struct bench_state *state);     /* after the machine is up; 0 or -errno */
    void (*teardown)(struct bench_state *state); /* also after a setup that failed */
};

/* Bouncing's, in a file of their own. */
extern const struct bench_row dk_bench_bounce_rows[];
extern const size_t dk_bench_bounce_row_count;
/* Contiguous memory's. */
extern const struct bench_row dk_bench_contig_rows[];
extern const size_t dk_bench_contig_row_count;

/* Pools', in a file of their own. */
extern const struct bench_row dk_bench_pool_rows[];
extern const size_t dk_bench_pool_row_count;

/* How many rows there are, and the one at @index. */
size_t dk_bench_row_count(void);
const struct bench_row *dk_bench_row_at(size_t index);
/* The row called @name, or NULL. */
const struct bench_row *dk_bench_row_find(const char *name);

/* Brings up what @row needs. 0 or -errno; dk_bench_close() in both cases. */
int dk_bench_open(const struct bench_row *row, struct bench_state *state);
void dk_bench_close(const struct bench_row *row, struct bench_state *state);

/* A machine of the bench's own board with the checker at @depth. Error pointer as from dk_machine_create().
 */
struct dk_machine *dk_bench_machine(int depth);
/* A device called @name there, with a 64-bit mask. Error pointer. */
struct device *dk_bench_device(struct dk_machine *machine, const char *name);
/* The same below the bus with the alias @bus; NULL: the default one. */
struct device *dk_bench_device_on(struct dk_machine *machine, const char *bus, const char *name);

/* ---- Timing -----------------------------------------------------------------------------------------------
 */

struct bench_figures {
    double min;
    double median;
};

struct bench_measure {
    struct bench_figures subject;              /* ns an operation, or times the peer */
    struct bench_figures peer;                 /* ns an operation */
    struct bench_figures others[BENCH_OTHERS]; /* those that are not there: 0 */
};

/*
 * Times @row and its peer in turns, BENCH_ROUNDS rounds of at least BENCH_ROUND_NS each.
 */
#define BENCH_ROUNDS 31
#define BENCH_ROUND_NS 2e6
void dk_bench_measure(const struct bench_row *row, struct bench_state *state, struct bench_measure *measure);

/* The most that the subject's minimum, or median, may be, in the row's unit; 0: there is no goal. */
double dk_bench_goal(const struct bench_row *row, const struct bench_measure *measure);

/* ---- Other allocators, for the pool rows ------------------------------------------------------------------
 */

/* One block of @size bytes, from the library of that name if the computer has it. */
struct bench_allocator {
    void *(*alloc)(size_t size);
    void (*free)(void *block);
};
extern const char dk_bench_mimalloc[], dk_bench_jemalloc[];
/* NULL: it is not there. Loads it at the first call, for good. */
const struct bench_allocator *dk_bench_allocator(const char *name);

/* DPDK's rte_mempool of 64-byte blocks. False: not built with it, or it does not start. */
bool dk_bench_dpdk_start(void);
void dk_bench_dpdk_pairs(unsigned long count);

/* ---- The program of the check-depth rows ------------------------------------------------------------------
 */

/* A ring on a new device of @machine, with its buffers mapped. Error pointer. */
struct bench_ring *dk_bench_ring_create(struct dk_machine *machine);
/* NULL is fine. */
void dk_bench_ring_destroy(struct bench_ring *ring);
/*
 * @count packets of 256 bytes come in by DMA; the driver unmaps each buffer, sums its bytes one by one, and
 * maps it again.
 */
void dk_bench_ring_run(struct bench_ring *ring, unsigned long count);
/* The same without the mapping calls, as it would be without the API. */
void dk_bench_ring_run_plain(struct bench_ring *ring, unsigned long count);
/* CRC-32 of 256 bytes of ordinary memory, which no device ever sees, @count times. */
void dk_bench_ordinary_run(struct bench_ring *ring, unsigned long count);
/* The same of an instrumented program, where there is one (BENCH_INSTRUMENTED). */
void dk_bench_ring_run_checked(struct bench_ring *ring, unsigned long count);
void dk_bench_ring_run_plain_checked(struct bench_ring *ring, unsigned long count);
void dk_bench_ordinary_run_checked(struct bench_ring *ring, unsigned long count);
/* libdmakit-check's: tells the library that the program is an instrumented one. */
void dk_instrument_run_time(void);

/* How many packets came in so far; 0 when a sum was wrong. */
unsigned long dk_bench_ring_received(const struct bench_ring *ring);

/* ---- The program of the iova rows -------------------------------------------------------------------------
 */

/* An address space with 4096 ranges of 1 to 64 pages taken. Error pointer. */
struct bench_iova *dk_bench_iova_create(void);
/* NULL is fine. */
void dk_bench_iova_destroy(struct bench_iova *bench);
/* Takes and gives back a page @count times. */
void dk_bench_iova_run(struct bench_iova *bench, unsigned long count);
/* Gives back a random one of the ranges and takes one of another size, @count times. */
void dk_bench_iova_run_fragmented(struct bench_iova *bench, unsigned long count);
/* The floor of it: chooses the range and the size, and goes to an array for them. */
void dk_bench_iova_run_choices(struct bench_iova *bench, unsigned long count);

/* Does nothing, in a file of its own, so that it is called. */
dma_addr_t dk_bench_nothing(struct device *dev, const void *cpu, size_t size,
                            enum dma_data_direction direction, unsigned long attrs);

#endif
