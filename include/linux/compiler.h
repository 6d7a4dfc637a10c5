/* SPDX-License-Identifier: MIT */
/* <linux/compiler.h> for driver source. */
#ifndef DMAKIT_LINUX_COMPILER_H
#define DMAKIT_LINUX_COMPILER_H

#include <dmakit/barrier.h>

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#ifndef __maybe_unused
#define __maybe_unused __attribute__((unused))
#endif
#ifndef __must_check
#define __must_check __attribute__((warn_unused_result))
#endif
#ifndef __packed
#define __packed __attribute__((packed))
#endif
#ifndef __aligned
#define __aligned(bytes) __attribute__((aligned(bytes)))
#endif
#ifndef noinline
#define noinline __attribute__((noinline))
#endif
#ifndef __always_unused
#define __always_unused __attribute__((unused))
#endif
#ifndef fallthrough
#define fallthrough __attribute__((fallthrough))
#endif
#ifndef __force
#define __force
#endif
#ifndef __user
#define __user
#endif
#ifndef __iomem
#define __iomem
#endif

#endif
