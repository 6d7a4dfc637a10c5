/* SPDX-License-Identifier: MIT */
/*
 * The model's half of a device's registers. The driver's half is io.h.
 */
#ifndef DMAKIT_REGISTERS_H
#define DMAKIT_REGISTERS_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;

/*
 * What a model does when the driver accesses its registers, or another device does (master.h). @offset: bytes
 * into the region, a multiple of
 * @width, which is 1, 2, 4 or 8; the access lies inside the region. Called in the driver's thread and
 * context, or in that of the other device's model, which may be atomic, with no lock of the library held;
 * several threads may call at once. A NULL read gives all ones, a NULL write drops the value.
 */
struct dk_register_ops {
    uint64_t (*read)(void *model, uint64_t offset, unsigned width);
    void (*write)(void *model, uint64_t offset, unsigned width, uint64_t value);
};

/*
 * Gives @dev a register region of @size bytes: its first free one, so the first call makes region 0, the next
 * region 1, and so on (platform_get_resource()). The machine chooses its physical address, above all RAM. It
 * lives until @dev is removed; from then on reads give all ones, and dk_device_remove() returns only when no
 * other thread is in @ops any more.
 * @ops and @model are the caller's until then.
 *
 * 0; -EINVAL a NULL @dev or @ops, or a @size of 0 or above 512 MiB; -ENODEV @dev was removed; -ENOSPC the
 * machine's register space is full; -ENOMEM. May sleep.
 */
DK_PUBLIC int dk_registers_add(struct device *dev, uint64_t size, const struct dk_register_ops *ops,
                               void *model);

DK_END_DECLS

#endif
