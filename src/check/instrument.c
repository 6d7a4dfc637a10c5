/* SPDX-License-Identifier: MIT */
/*
 * Instrumented programs: whether this is one, and what its accesses mean.
 */
#include "check/instrument.h"

#include "base/log.h"
#include "check/checker.h"
#include <dmakit/barrier.h>
#include <dmakit/instrument.h>
#include <sys/mman.h>

/* Static because the program is instrumented or not, whatever machines it makes. Atomic. */
static enum dk_instrumented instrumented;

/* ---- Finding out ---- */

#define PROBE_SIZE 64

/* What the probe was heard to access. Only while dk_instrument_start() runs, before main(). */
struct heard {
    struct dk_slot slot;
    bool store, load, copied_to, copied_from;
};

static struct heard *listening;

static void hear(struct heard *heard, uintptr_t address, size_t size, unsigned access)
{
    size_t at = address - (uintptr_t)heard->slot.start;
    bool store = access & DK_ACCESS_STORE;

    if (at < PROBE_SIZE) {
        heard->store |= store && !at;
        heard->copied_to |= store && at <= 32 && at + size >= 56;
    } else {
        at -= PROBE_SIZE;
        heard->load |= !store && at == 8;
        heard->copied_from |= !store && at <= 40 && at + size >= 64;
    }
}

/* A slot of address space for nothing but the probe: its accesses are reported as those to a machine's. */
static char *reserve(char **start)
{
    const size_t size = 2 * DK_SLOT_SIZE;
    char *whole =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (whole == MAP_FAILED)
        return NULL;
    *start = whole + (-(uintptr_t)whole & (DK_SLOT_SIZE - 1));
    if (((uintptr_t)*start >> DK_SLOT_SHIFT) < DK_SLOT_COUNT)
        return whole;
    munmap(whole, size);
    return NULL;
}

static void run_probe(dk_instrument_probe_function *probe, struct heard *heard)
{
    u8 owners[2 * PROBE_SIZE];
    size_t i;
    char *start, *whole = reserve(&start);

    if (!whole) {
        heard->store = heard->load = heard->copied_to = heard->copied_from = true;
        return;
    }
    for (i = 0; i < sizeof(owners); i++)
        owners[i] = DK_OWNER_NO_LOAD | DK_OWNER_NO_STORE;
    heard->slot = (struct dk_slot){ .start = start, .kind = DK_SLOT_CACHED };
    listening = heard;
    __atomic_store_n(&dk_slots[(uintptr_t)start >> DK_SLOT_SHIFT], &heard->slot, __ATOMIC_RELEASE);
    __atomic_store_n(&dk_slot_shadows[(uintptr_t)start >> DK_SLOT_SHIFT],
                     (uintptr_t)owners - (uintptr_t)start, __ATOMIC_RELEASE);
    probe(start, start + PROBE_SIZE);
    __atomic_store_n(&dk_slot_shadows[(uintptr_t)start >> DK_SLOT_SHIFT], 0, __ATOMIC_RELEASE);
    __atomic_store_n(&dk_slots[(uintptr_t)start >> DK_SLOT_SHIFT], NULL, __ATOMIC_RELEASE);
    listening = NULL;
    munmap(whole, 2 * DK_SLOT_SIZE);
}

void dk_instrument_start(dk_instrument_probe_function *probe)
{
    struct heard heard = { .store = false };
    enum dk_instrumented found = DK_INSTRUMENTED_FULLY;

    if (probe) {
        run_probe(probe, &heard);
        if (!heard.store || !heard.load)
            found = DK_INSTRUMENTED_DROPPED;
        else if (!heard.copied_to || !heard.copied_from)
            found = DK_INSTRUMENTED_WITHOUT_COPIES;
    }
    __atomic_store_n(&instrumented, found, __ATOMIC_RELEASE);
}

enum dk_instrumented dk_instrumented(void)
{
    return __atomic_load_n(&instrumented, __ATOMIC_ACQUIRE);
}

int dk_instrument_depth(int depth)
{
    if (depth < 3)
        return depth;
    switch (dk_instrumented()) {
    case DK_INSTRUMENTED_NOT:
        dk_log(DK_LOG_WARNING,
               "depth 3: this program's loads and stores are not seen: compile and link it with the flags of "
               "pkg-config dmakit-check");
        break;
    case DK_INSTRUMENTED_DROPPED:
        dk_log(
            DK_LOG_WARNING,
            "depth 3: this program's loads and stores are not seen, though it was compiled for it: link-time "
            "optimisation drops the instrumentation (build it with -fno-lto); depth 2 instead");
        return 2;
    case DK_INSTRUMENTED_WITHOUT_COPIES:
        dk_log(
            DK_LOG_WARNING,
            "depth 3: what this program copies with memcpy() is not seen: compile and link all of it with the "
            "flags of pkg-config dmakit-check");
        break;
    case DK_INSTRUMENTED_FULLY:
        break;
    }
    return depth;
}

/* ---- Accesses ---- */

/* @length bytes at @cpu are memory at @phys with the shadow @shadow, in one section. */
static void look(struct dk_checker *checker, const u8 *shadow, phys_addr_t phys, uintptr_t cpu, u64 length,
                 unsigned access, const char *call)
{
    const u8 wrong = dk_owner_forbids(access);
    u64 at = 0;

    while (at < length) {
        u8 owner = __atomic_load_n(shadow + at, __ATOMIC_RELAXED);

        if (owner & wrong)
            at += dk_owner_report(checker, phys + at, cpu + at, length - at, access, call);
        else if (owner & DK_OWNER_COHERENT)
            at += dk_owner_order(checker, phys + at, cpu + at, length - at, access);
        else
            at++;
    }
}

void dk_instrument_access(const volatile void *address, size_t size, unsigned access, const char *call)
{
    uintptr_t at = (uintptr_t)address;
    size_t run;

    for (; size; at += run, size -= run) {
        const struct dk_slot *slot = dk_slot_find((const void *)at);
        size_t rest = DK_SLOT_SIZE - (at & (DK_SLOT_SIZE - 1));
        struct dk_machine *machine;
        const u8 *shadow;
        phys_addr_t phys;

        if (slot && slot->kind == DK_SLOT_VMALLOC)
            rest = PAGE_SIZE - (at & (PAGE_SIZE - 1));
        run = size < rest ? size : rest;
        if (!slot)
            continue;
        if (!slot->memory) {
            if (listening && slot == &listening->slot)
                hear(listening, at, run, access);
            continue;
        }
        machine = dk_memory_machine(slot->memory);
        if (!machine->checker || !machine->checker->owner)
            continue;
        if (slot->kind == DK_SLOT_VMALLOC) {
            struct dk_memory *memory;

            if (dk_address_find((const void *)at, &memory, &phys) != DK_ADDRESS_VMALLOC)
                continue;
            shadow = dk_owner_shadow(machine, phys);
        } else {
            shadow = dk_slot_owner((const void *)at);
            phys = slot->phys + (at - (uintptr_t)slot->start);
        }
        if (shadow)
            look(machine->checker, shadow, phys, at, run, access, call);
    }
}

void dk_instrument_order(int order)
{
    const bool both = order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
    const bool acquire = order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME;

    if (order != __ATOMIC_RELAXED)
        dk_order_barrier(both || acquire, both || order == __ATOMIC_RELEASE);
}

void dk_instrument_fence(int order)
{
    dk_instrument_order(order);
    switch (order) {
    case __ATOMIC_RELAXED:
        break;
    case __ATOMIC_CONSUME:
    case __ATOMIC_ACQUIRE:
        dk_fence(__ATOMIC_ACQUIRE);
        break;
    case __ATOMIC_RELEASE:
        dk_fence(__ATOMIC_RELEASE);
        break;
    case __ATOMIC_ACQ_REL:
        dk_fence(__ATOMIC_ACQ_REL);
        break;
    default:
        dk_fence(__ATOMIC_SEQ_CST);
    }
}
