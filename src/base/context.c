/* SPDX-License-Identifier: MIT */
#include "base/context.h"

u64 dk_access_clock;

struct dk_context *dk_context(void)
{
    static _Thread_local struct dk_context context;

    return &context;
}
