#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Examples built as instrumented programs say nothing when they are right, on any board.

Usage: test-examples BOARDS-FOLDER RING-NIC [PROGRAM...]
"""

import os
import pathlib
import subprocess
import sys

SEEDS = 2 if 'DMAKIT_TEST_FAST' in os.environ else 3


def run(program, *arguments, board, seed):
    environment = dict(os.environ, DMAKIT_BOARD=str(board), DMAKIT_OPTIONS=f'depth=3:seed={seed}')
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False,
                          timeout=120)


def main():
    boards = sorted(pathlib.Path(sys.argv[1]).glob('*.dts'))
    ring_nic = sys.argv[2]
    for board in boards:
        for seed in range(SEEDS):
            done = run(ring_nic, 'right', board=board, seed=seed)
            if done.returncode or '==dmakit==' in done.stderr:
                sys.exit(f'ring-nic on {board} with seed {seed}: exit {done.returncode}\n{done.stderr}')
    for program in sys.argv[3:]:
        done = run(program, board='', seed=1)
        if done.returncode or '==dmakit==' in done.stderr:
            sys.exit(f'{program}: exit {done.returncode}\n{done.stderr}')

    # What it is for: the load itself, in the driver.
    hostile = next(board for board in boards if board.name == 'hostile.dts')
    done = run(ring_nic, 'no-sync-for-cpu', board=hostile, seed=0)
    first = done.stderr[:done.stderr.find('\n\n')]
    if 'stale-read' not in first or 'nic_checksum' not in first or 'driver.c' not in first:
        sys.exit(f'ring-nic no-sync-for-cpu: another report comes first:\n{done.stderr}')
    print(f'{len(boards)} boards, {SEEDS} seeds, {len(sys.argv) - 2} programs')


main()
