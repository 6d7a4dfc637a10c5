/* SPDX-License-Identifier: MIT */
/*
 * What the tests of pools share: the places that they run in, a machine and a device for each way in which
 * coherent memory is found.
 */
#ifndef TESTS_POOL_POOL_H
#define TESTS_POOL_POOL_H

#include "../api/api.h"

#define BEHIND_IOMMU(coherence)                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"iommu\"; compatible = \"dmakit,iommu\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                        \
    " mmu: iommu@0 { compatible = \"dmakit,mmu\"; #iommu-cells = <1>; };"                                                  \
    " nic@1 { compatible = \"dmakit,nic\"; iommus = <&mmu 7>; }; aliases { nic = \"/nic@1\"; }; };"

/* Its own coherent memory, from an address on that is aligned to a page and to nothing else. */
#define ODD_MEMORY_BOARD                                                                                    \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"odd\"; compatible = \"dmakit,odd\";" \
    " dma-noncoherent; memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"        \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; own: own@41001000 {"               \
    " compatible = \"shared-dma-pool\"; reg = <0x41001000 0x801000>; no-map; }; };"                         \
    " nic@1 { compatible = \"dmakit,nic\"; memory-region = <&own>; }; aliases { nic = \"/nic@1\"; }; };"

struct pool_place {
    const char *name;
    const char *dts;
    const char *arguments;
    const char *bus; /* a device is added below it; NULL: the board's "nic" */
};

static const struct pool_place pool_places[] = {
    { "coherent", COHERENT_BOARD, NULL, NULL },
    { "noncoherent", NONCOHERENT_BOARD, NULL, NULL },
    { "bounced", COHERENT_BOARD, "swiotlb=force", NULL },
    { "bounced, noncoherent", NONCOHERENT_BOARD, "swiotlb=force", NULL },
    { "iommu", BEHIND_IOMMU("dma-coherent;"), NULL, NULL },
    { "iommu, noncoherent", BEHIND_IOMMU("dma-noncoherent;"), NULL, NULL },
    { "iommu, lazy", BEHIND_IOMMU("dma-noncoherent;"), "iommu.strict=0", NULL },
    { "own memory", ODD_MEMORY_BOARD, NULL, NULL },
    { "offset", "hostile.dts", NULL, "offset" },
    { "narrow", "hostile.dts", NULL, "narrow" },
    { "restricted", "hostile.dts", NULL, "bounce" },
};
#define POOL_PLACES (sizeof(pool_places) / sizeof(pool_places[0]))

/* The machine and the device of @place, with the checker at @depth. */
static inline struct device *pool_device(const struct pool_place *place, int depth,
                                         struct dk_machine **machine)
{
    struct device *dev;

    *machine = machine_with(place->dts, place->arguments, 0, depth);
    dev = place->bus ? device_below(*machine, place->bus, "pools") : dk_device_find(*machine, "nic");
    assert_non_null(dev);
    if (!strcmp(place->name, "own memory"))
        assert_int_equal(of_reserved_mem_device_init(dev), 0);
    return dev;
}

/* The numbers of the only pool of @dev in dk_device_pools(). */
struct pool_numbers {
    size_t used, all, size, pages;
};

static inline struct pool_numbers pool_numbers(struct device *dev)
{
    struct pool_numbers numbers = { 0, 0, 0, 0 };
    char text[256], name[64];

    assert_true(dk_device_pools(dev, text, sizeof(text)) < (ssize_t)sizeof(text));
    assert_int_equal(sscanf(text, "poolinfo - 0.1\n%63s %zu %zu %zu %zu\n", name, &numbers.used, &numbers.all,
                            &numbers.size, &numbers.pages),
                     5);
    return numbers;
}

#endif
