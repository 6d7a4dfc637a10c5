/* SPDX-License-Identifier: MIT */
/* <linux/minmax.h> for driver source, in C: in C++ these names are functions of the standard library. */
#ifndef DMAKIT_LINUX_MINMAX_H
#define DMAKIT_LINUX_MINMAX_H

#ifndef __cplusplus

#define min(x, y) dk_minmax(x, <, y)
#define max(x, y) dk_minmax(x, >, y)
#define min_t(type, x, y) dk_minmax((type)(x), <, (type)(y))
#define max_t(type, x, y) dk_minmax((type)(x), >, (type)(y))
#define min3(x, y, z) min((__typeof__(x))min(x, y), z)
#define max3(x, y, z) max((__typeof__(x))max(x, y), z)
#define clamp(value, low, high) min((__typeof__(value))max(value, low), high)
#define clamp_t(type, value, low, high) min_t(type, max_t(type, value, low), high)

/* Each argument is evaluated once; comparing two types that do not compare is a warning. */
#define dk_minmax(x, than, y) dk_minmax_named(x, than, y, __COUNTER__)
#define dk_minmax_named(x, than, y, number) dk_minmax_pasted(x, than, y, number)
#define dk_minmax_pasted(x, than, y, number)                              \
    __extension__({                                                       \
        __typeof__(x) dk_x_##number = (x);                                \
        __typeof__(y) dk_y_##number = (y);                                \
        dk_x_##number than dk_y_##number ? dk_x_##number : dk_y_##number; \
    })

#define swap(a, b)                      \
    do {                                \
        __typeof__(a) dk_swapped = (a); \
        (a) = (b);                      \
        (b) = dk_swapped;               \
    } while (0)

#endif

#endif
