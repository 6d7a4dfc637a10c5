#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""board-expected.py PROGRAM: PROGRAM's documents of the boards in the folder $DMAKIT_TEST_BOARDS, against those in
expected/, which were written by hand from what `dtc -I dtb -O dts` shows.

All of `memory` and `reserved`, the devices that are listed (in this order), how many devices there are, and
nodes that must not be among them. Exit 77 when there is no board to compare.
"""
import json
import os
import subprocess
import sys

expected_folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'expected')
boards = os.environ.get('DMAKIT_TEST_BOARDS')
compared = wrong = 0


def complain(board, text):
    global wrong
    wrong += 1
    print('%s: %s' % (board, text))


for name in sorted(os.listdir(expected_folder)):
    board = os.path.join(boards or '', name.replace('.json', '.dtb'))
    if not boards or not os.path.exists(board):
        continue
    compared += 1
    with open(os.path.join(expected_folder, name), encoding='utf-8') as f:
        expected = json.load(f)
    printed = json.loads(subprocess.run([sys.argv[1], board], check=True, stdout=subprocess.PIPE).stdout)
    for part in ('model', 'compatible', 'memory', 'reserved'):
        if printed[part] != expected[part]:
            complain(name, '%s: %s, not %s' % (part, printed[part], expected[part]))
    devices = {device['node']: device for device in printed['devices']}
    if len(printed['devices']) != expected['device_count']:
        complain(name, '%d devices, not %d' % (len(printed['devices']), expected['device_count']))
    for device in expected['devices']:
        if devices.get(device['node']) != device:
            complain(name, '%s, not %s' % (devices.get(device['node']), device))
    listed = [device['node'] for device in expected['devices']]
    if [node for node in devices if node in set(listed)] != listed:
        complain(name, 'the devices are not in the order of the tree')
    for node in expected['absent']:
        if node in devices:
            complain(name, '%s is listed' % node)

if not compared:
    print('skipped: DMAKIT_TEST_BOARDS names no folder with these boards')
    sys.exit(77)
print('%d boards, %d differences' % (compared, wrong))
sys.exit(1 if wrong else 0)
