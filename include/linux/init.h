/* SPDX-License-Identifier: MIT */
/* <linux/init.h> for driver source: sections mean nothing here. */
#ifndef DMAKIT_LINUX_INIT_H
#define DMAKIT_LINUX_INIT_H

#ifndef __init
#define __init
#endif
#ifndef __exit
#define __exit
#endif
#define __initdata
#define __initconst
#define __exitdata

#endif
