/* SPDX-License-Identifier: MIT */
#include "base/hooks.h"

void dk_hooks_finding(const struct dk_hooks *hooks, const struct dk_finding *finding)
{
    if (hooks && hooks->finding)
        hooks->finding(hooks->data, finding);
}
