#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/tutorial.md: its driver prints what the page says, and mended it is right on every board.

Usage: test-tutorial.py PAGE DMAKIT BOARDS WRONG MENDED
"""

import os
import subprocess
import sys

from page import fenced, plain

page, dmakit, boards, wrong, mended = sys.argv[1:]
environment = {key: value for key, value in os.environ.items() if not key.startswith('DMAKIT_')}
with open(page, encoding='utf-8') as file:
    promised, on_raspberry_pi = fenced(file.read(), '')


def run(board):
    environment['DMAKIT_BOARD'] = os.path.join(boards, board + '.dts')
    done = subprocess.run([wrong], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=60,
                          check=False)
    if done.returncode != 1:
        sys.exit('on %s: exit code %d, not 1' % (board, done.returncode))
    return plain(done.stdout)


printed = run('coherent-pc')
# Standard output and error are two streams: their order is not promised.
if sorted(printed) != sorted(plain(promised)):
    sys.exit('the page promises:\n%s\nprinted:\n%s' % ('\n'.join(plain(promised)), '\n'.join(printed)))
printed = run('raspberry-pi-4')
if on_raspberry_pi.strip() not in printed or not any(line.lstrip().startswith('DRAM:') for line in printed):
    sys.exit('on the Raspberry Pi:\n' + '\n'.join(printed))
del environment['DMAKIT_BOARD']
done = subprocess.run([dmakit, 'check', '--boards', boards, '--seeds', '0..2', '--', mended], stdout=subprocess.PIPE, text=True,
                      env=environment, timeout=120, check=False)
if done.returncode:
    sys.exit('mended it is not right:\n' + done.stdout)
