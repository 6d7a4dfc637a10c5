/* SPDX-License-Identifier: MIT */
/*
 * Bus masters: a device's accesses to memory by bus address.
 */
#include "machine/bus.h"
#include "machine/iommu.h"
#include "machine/teardown.h"

struct access {
    struct device *dev;
    dma_addr_t dma;
    u64 length; /* bytes not yet moved */
    char *into; /* exactly one of the two is set */
    const char *from;
    /* Of the next bytes, these were told to the hooks: they lead to told_phys. */
    u64 told;
    phys_addr_t told_phys;
    u64 ticket; /* the hooks wait to hear what became of the bytes they were told of; 0: they do not */
    u64 ticket_run;
};

/* Why an access stops. */
struct refusal {
    enum dk_master_fault_kind kind;
    const char *reason; /* NULL: it does not */
};

static int fault(const struct access *access, struct refusal refusal)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    struct dk_device *dk = access->dev->dk;
    const struct dk_master_fault fault = {
        .dma = access->dma,
        .length = access->length,
        .write = access->from,
        .reason = refusal.reason,
        .kind = refusal.kind,
    };

    pthread_mutex_lock(&dk->resources_lock);
    dk->fault_count++;
    dk->last_fault = fault;
    pthread_mutex_unlock(&dk->resources_lock);
    if (machine->hooks.master_fault)
        machine->hooks.master_fault(machine->hooks.data, access->dev, &fault);
    return -EFAULT;
}

/* ---- Inside: between entering and leaving, nothing is called that could change what is mapped ---- */

/* What an access holds while it translates and moves. */
struct inside {
    struct dk_iommu_domain *domain; /* NULL: none, so nothing is mapped */
    unsigned attachment, phase;
};

static struct refusal enter(const struct access *access, struct inside *inside)
{
    struct dk_device *dk = access->dev->dk;

    *inside = (struct inside){ .domain = NULL };
    /* With fences on both sides, entering does not fail. */
    dk_grace_enter(&dk->attachment, &inside->attachment);
    inside->domain = __atomic_load_n(&dk->iommu, __ATOMIC_SEQ_CST);
    if (!inside->domain)
        return (struct refusal){ DK_MASTER_FAULT_UNMAPPED, "nothing is mapped there in the device's IOMMU" };
    if (!dk_grace_enter(&inside->domain->accesses, &inside->phase))
        return (struct refusal){ 0 };
    inside->domain = NULL;
    return (struct refusal){
        DK_MASTER_FAULT_OTHER,
        "the kernel refuses the barrier (membarrier) that keeps accesses and unmapping apart"
    };
}

static void leave(const struct access *access, const struct inside *inside)
{
    if (inside->domain)
        dk_grace_leave(&inside->domain->accesses, inside->phase);
    dk_grace_leave(&access->dev->dk->attachment, inside->attachment);
}

/* Where the next bytes lead. */
struct target {
    struct dk_bus_target at;
    bool stale;
    bool asleep; /* memory that is not refreshed */
};

static struct refusal locate(const struct access *access, struct dk_iommu_domain *domain,
                             struct target *target)
{
    u64 length = access->length;
    const char *reason = dk_bus_bound(access->dev, access->dma, &length);
    unsigned prot = 0;
    phys_addr_t phys;
    u64 run;

    if (reason)
        return (struct refusal){ DK_MASTER_FAULT_BUS, reason };
    if (!dk_iommu_find(domain, access->dma, length, &phys, &run, &prot))
        return (struct refusal){ DK_MASTER_FAULT_UNMAPPED, "nothing is mapped there in the device's IOMMU" };
    if (access->from && !(prot & DK_IOMMU_WRITE))
        return (struct refusal){ DK_MASTER_FAULT_PERMISSION,
                                 "the mapping there does not let the device write" };
    if (access->into && !(prot & DK_IOMMU_READ))
        return (struct refusal){ DK_MASTER_FAULT_PERMISSION,
                                 "the mapping there does not let the device read" };
    if (!dk_bus_lead(dk_device_machine(access->dev), phys, run, &target->at))
        return (struct refusal){ DK_MASTER_FAULT_BUS, "the mapping there leads to no memory" };
    target->stale = prot & DK_IOMMU_STALE;
    return (struct refusal){ 0 };
}

static bool are_told(const struct dk_hooks *hooks)
{
    return hooks->master_access && !__atomic_load_n(&hooks->master_access_idle, __ATOMIC_ACQUIRE);
}

/* Whether the hooks are yet to hear of the bytes that lead to @target; if not, its run is at most what they
 * heard of. */
static bool is_news(const struct access *access, struct target *target)
{
    if (!are_told(&dk_device_machine(access->dev)->hooks))
        return false;
    if (!access->told || access->told_phys != target->at.phys || access->told > target->at.run)
        return true;
    target->at.run = access->told;
    return false;
}

/* One run of consecutive memory. */
static struct refusal move(const struct access *access, phys_addr_t phys, u64 run)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    bool snoops = machine->cache && access->dev->dma_coherent;
    int error;

    if (access->from)
        error = snoops ? dk_cache_snoop_write(machine, phys, access->from, run)
                       : dk_cache_device_write(machine, phys, access->from, run);
    else
        error = snoops ? dk_cache_snoop_read(machine, phys, access->into, run)
                       : dk_cache_device_read(machine, phys, access->into, run);
    if (error)
        return (struct refusal){ DK_MASTER_FAULT_OTHER, "the host has no memory left for the machine's" };
    return (struct refusal){ 0 };
}

/* What became of the bytes that the hooks were told of last. */
static __attribute__((noinline)) void tell_end(struct access *access, bool moved)
{
    const struct dk_hooks *hooks = &dk_device_machine(access->dev)->hooks;

    hooks->bytes_moved(hooks->data, access->told_phys, access->ticket_run, access->ticket, moved);
    access->ticket = 0;
}

static inline void tell_moved(struct access *access, bool moved)
{
    if (__builtin_expect(access->ticket != 0, 0))
        tell_end(access, moved);
}

static inline void tell(struct access *access, phys_addr_t phys, u64 run)
{
    const struct dk_hooks *hooks = &dk_device_machine(access->dev)->hooks;
    const struct dk_master_move move = { access->dev, access->dma, phys, run, access->from };

    tell_moved(access, false);
    access->ticket = hooks->master_access(hooks->data, &move);
    access->ticket_run = run;
    access->told = run;
    access->told_phys = phys;
}

static void advance(struct access *access, u64 run)
{
    access->dma += run;
    access->length -= run;
    access->told = 0;
    if (access->from)
        access->from += run;
    else
        access->into += run;
}

/* What is to be done outside, after the bytes so far were moved. */
enum errand { NOTHING, TELL, REGISTERS, ASLEEP, STALE };

/* Moves runs until all is done, or something is to be done outside for the run at *target. */
static struct refusal move_inside(struct access *access, const struct inside *inside, struct target *target,
                                  enum errand *errand)
{
    struct refusal refusal = { 0 };

    *errand = NOTHING;
    while (access->length && *errand == NOTHING) {
        refusal = locate(access, inside->domain, target);
        if (refusal.reason)
            return refusal;
        target->asleep = !target->at.registers && dk_pasr_run(dk_device_machine(access->dev)->memory,
                                                              target->at.phys, &target->at.run);
        if (is_news(access, target)) {
            *errand = TELL;
        } else if (target->at.registers) {
            *errand = REGISTERS;
        } else if (target->asleep) {
            *errand = ASLEEP;
        } else {
            refusal = move(access, target->at.phys, target->at.run);
            if (refusal.reason)
                return refusal;
            tell_moved(access, true);
            advance(access, target->at.run);
            *errand = target->stale ? STALE : NOTHING;
        }
    }
    return refusal;
}

/* ---- Outside ---- */

static void tell_stale(const struct access *access, u64 run)
{
    struct dk_machine *machine = dk_device_machine(access->dev);

    if (machine->hooks.master_stale)
        machine->hooks.master_stale(machine->hooks.data, access->dev, access->dma - run, run, access->from);
}

/* DRAM that is not refreshed answers, but it keeps nothing: a read finds a pattern, a write is lost. */
static void move_asleep(const struct access *access, phys_addr_t phys, u64 run)
{
    struct dk_machine *machine = dk_device_machine(access->dev);

    if (access->into)
        dk_pasr_garbage(machine->memory, phys, access->into, run);
    if (machine->hooks.master_asleep)
        machine->hooks.master_asleep(machine->hooks.data, access->dev, access->dma, phys, run, access->from);
}

static struct refusal run_errand(struct access *access, enum errand errand, const struct target *target)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    u64 run = target->at.run;

    if (errand == TELL) {
        tell(access, target->at.phys, run);
    } else if (errand == REGISTERS) {
        if (dk_registers_move(machine, target->at.phys, run, access->into, access->from))
            return (struct refusal){ DK_MASTER_FAULT_BUS,
                                     "the device whose registers are there was removed" };
        advance(access, run);
    } else if (errand == ASLEEP) {
        move_asleep(access, target->at.phys, run);
        tell_moved(access, false);
        advance(access, run);
    }
    if (errand == STALE || ((errand == REGISTERS || errand == ASLEEP) && target->stale))
        tell_stale(access, run);
    return (struct refusal){ 0 };
}

/* Without an IOMMU: windows and memory do not change under an access. */
static struct refusal access_directly(struct access *access)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    struct target target = { .stale = false };
    struct refusal refusal = { 0 };

    while (!refusal.reason && access->length) {
        const char *reason = dk_bus_walk(access->dev, access->dma, access->length, &target.at);

        if (reason)
            return (struct refusal){ DK_MASTER_FAULT_BUS, reason };
        target.asleep = !target.at.registers && dk_pasr_run(machine->memory, target.at.phys, &target.at.run);
        if (are_told(&machine->hooks))
            tell(access, target.at.phys, target.at.run);
        if (target.at.registers || target.asleep) {
            refusal = run_errand(access, target.asleep ? ASLEEP : REGISTERS, &target);
            continue;
        }
        refusal = move(access, target.at.phys, target.at.run);
        if (refusal.reason)
            return refusal;
        tell_moved(access, true);
        advance(access, target.at.run);
    }
    return refusal;
}

static struct refusal may_access(const struct access *access)
{
    if (dk_device_is_removed(access->dev))
        return (struct refusal){ DK_MASTER_FAULT_OTHER, "the device was removed" };
    if (dk_memory_forked(dk_device_machine(access->dev)->memory))
        return (struct refusal){ DK_MASTER_FAULT_OTHER,
                                 "the machine belongs to the process that this one was forked from" };
    return (struct refusal){ 0 };
}

static int perform(struct access *access)
{
    struct refusal refusal = { 0 };

    if (access->length)
        refusal = may_access(access);
    if (!refusal.reason && !dk_device_translated(access->dev))
        refusal = access_directly(access);
    while (!refusal.reason && access->length) {
        enum errand errand = NOTHING;
        struct target target;
        struct inside inside;

        refusal = enter(access, &inside);
        if (!refusal.reason)
            refusal = move_inside(access, &inside, &target, &errand);
        leave(access, &inside);
        if (!refusal.reason)
            refusal = run_errand(access, errand, &target);
    }
    tell_moved(access, false);
    return refusal.reason ? fault(access, refusal) : 0;
}

int dk_master_read(struct device *dev, dma_addr_t address, void *into, size_t length)
{
    struct access access = { .dev = dev, .dma = address, .length = length, .into = into };

    return dev ? perform(&access) : -EINVAL;
}

int dk_master_write(struct device *dev, dma_addr_t address, const void *from, size_t length)
{
    struct access access = { .dev = dev, .dma = address, .length = length, .from = from };

    return dev ? perform(&access) : -EINVAL;
}

unsigned long dk_master_fault_count(const struct device *dev)
{
    unsigned long count;

    pthread_mutex_lock(&dev->dk->resources_lock);
    count = dev->dk->fault_count;
    pthread_mutex_unlock(&dev->dk->resources_lock);
    return count;
}

bool dk_master_last_fault(const struct device *dev, struct dk_master_fault *fault)
{
    bool any;

    pthread_mutex_lock(&dev->dk->resources_lock);
    any = dev->dk->fault_count;
    if (any)
        *fault = dev->dk->last_fault;
    pthread_mutex_unlock(&dev->dk->resources_lock);
    return any;
}
