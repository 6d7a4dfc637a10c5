#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The driver of docs/drivers.md: right everywhere, and with its sync forgotten wrong where the page says.

Usage: test-drivers.py DMAKIT BOARDS RIGHT WRONG
"""

import json
import os
import subprocess
import sys

dmakit, boards, right, wrong = sys.argv[1:]
environment = {key: value for key, value in os.environ.items() if not key.startswith('DMAKIT_')}


def check(program, *options):
    return subprocess.run([dmakit, 'check', '--boards', boards, '--seeds', '0..2', *options, '--', program],
                          stdout=subprocess.PIPE, text=True, env=environment, timeout=120, check=False)


done = check(right)
if done.returncode:
    sys.exit('the right driver is not right:\n' + done.stdout)
runs = json.loads(check(wrong, '--format', 'json').stdout)['runs']
clean = {os.path.basename(run['board']) for run in runs if run['status'] == 'ok' and run['seed'] == 0}
if clean != {'coherent-pc.dts'}:
    sys.exit('without its sync the driver is right on %s' % sorted(clean))
if any(run['reports'] for run in runs):
    sys.exit('a report that nobody expected: %s' % runs)
