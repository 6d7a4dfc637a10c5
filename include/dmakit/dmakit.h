/* SPDX-License-Identifier: MIT */
/*
 * Everything.
 */
#ifndef DMAKIT_DMAKIT_H
#define DMAKIT_DMAKIT_H

#include <dmakit/barrier.h>
#include <dmakit/board.h>
#include <dmakit/check.h>
#include <dmakit/cma-regions.h>
#include <dmakit/cma.h>
#include <dmakit/coherent-remap.h>
#include <dmakit/completion.h>
#include <dmakit/delay.h>
#include <dmakit/device.h>
#include <dmakit/dma-alloc.h>
#include <dmakit/dma-map-ops.h>
#include <dmakit/dma-mapping.h>
#include <dmakit/dmabounce.h>
#include <dmakit/dmapool.h>
#include <dmakit/error.h>
#include <dmakit/fail.h>
#include <dmakit/gfp.h>
#include <dmakit/instrument.h>
#include <dmakit/interrupt.h>
#include <dmakit/io.h>
#include <dmakit/iommu.h>
#include <dmakit/list.h>
#include <dmakit/log.h>
#include <dmakit/machine.h>
#include <dmakit/master.h>
#include <dmakit/memory-info.h>
#include <dmakit/mempool.h>
#include <dmakit/migrate.h>
#include <dmakit/movable.h>
#include <dmakit/mutex.h>
#include <dmakit/notifier.h>
#include <dmakit/of.h>
#include <dmakit/page.h>
#include <dmakit/pasr.h>
#include <dmakit/pci.h>
#include <dmakit/platform.h>
#include <dmakit/registers.h>
#include <dmakit/reserved-memory.h>
#include <dmakit/scatterlist.h>
#include <dmakit/shrinker.h>
#include <dmakit/slab.h>
#include <dmakit/spinlock.h>
#include <dmakit/thread-number.h>
#include <dmakit/types.h>
#include <dmakit/usb.h>
#include <dmakit/vma.h>
#include <dmakit/vmalloc.h>

#endif
