#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README's code sample is examples/first/first.c, and what README says it prints is what it prints.

Usage: test-readme.py TOP FIRST
"""

import os
import re
import subprocess
import sys

from page import fenced, plain


def main():
    top, first = sys.argv[1:]
    readme = open(os.path.join(top, 'README.md'), encoding='utf-8').read()
    source = open(os.path.join(top, 'examples/first/first.c'), encoding='utf-8').read()
    sample = fenced(readme, 'c')[0]
    promised = fenced(readme, '')[0]
    failed = 0

    # The file has a licence and a heading besides.
    if sample.strip() != source[source.index('#include'):].strip():
        print('README.md: the sample is not examples/first/first.c')
        failed = 1
    environment = {key: value for key, value in os.environ.items() if not key.startswith('DMAKIT_')}
    done = subprocess.run([first], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                          timeout=60, check=False)
    if done.returncode != 1:
        print('first: exit code %d, not 1' % done.returncode)
        failed = 1
    printed = plain(done.stdout)
    # Standard output and error are two streams: their order is not promised.
    if sorted(printed) != sorted(plain(promised)):
        print('README.md promises:\n%s\nprinted:\n%s' % ('\n'.join(plain(promised)), '\n'.join(printed)))
        failed = 1
    environment['DMAKIT_BOARD'] = os.path.join(top, 'boards/coherent-pc.dts')
    done = subprocess.run([first], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
                          timeout=60, check=False)
    if 'without a sync the CPU reads "hello"' not in done.stdout:
        print('on the coherent PC: %r' % done.stdout)
        failed = 1
    for folder, name in re.findall(r'\]\((docs|examples)/([^)]*)\)', readme):
        if not os.path.exists(os.path.join(top, folder, name)):
            print('README.md: no %s/%s' % (folder, name))
            failed = 1
    return failed


sys.exit(main())
