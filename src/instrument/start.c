/* SPDX-License-Identifier: MIT */
/*
 * Tells the library that the run time is there. The flags of dmakit-check link this file in, whether or not
 * anything of the run time is called.
 */
#include "instrument/instrument.h"

extern __attribute__((weak)) dk_instrument_probe_function dk_instrument_probe;

/* The name that the link's -u asks for. */
DK_EXPORT void dk_instrument_run_time(void);

__attribute__((constructor)) void dk_instrument_run_time(void)
{
    dk_instrument_start(dk_instrument_probe);
}

/* Each object file calls it before main(). */
DK_EXPORT void __tsan_init(void);

void __tsan_init(void)
{
}
