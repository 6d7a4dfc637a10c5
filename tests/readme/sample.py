#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the first C block of a page: sample.py PAGE."""

import re
import sys

text = open(sys.argv[1], encoding='utf-8').read()
blocks = re.findall(r'^```(\w*)\n(.*?)^```$', text, flags=re.S | re.M)
sys.stdout.write(next(block for language, block in blocks if language == 'c'))
