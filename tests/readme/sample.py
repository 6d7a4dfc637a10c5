#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the first C block of a page: sample.py [--mended] PAGE; mended: with its first diff."""

import sys

import page

mend = sys.argv[1] == '--mended'
text = open(sys.argv[-1], encoding='utf-8').read()
source = page.fenced(text, 'c')[0]
sys.stdout.write(page.mended(source, page.fenced(text, 'diff')[0]) if mend else source)
