# SPDX-License-Identifier: MIT
"""corpus.py FOLDER BOARD...: fills FOLDER with the boards as blobs, for fuzz-board to start from."""
import os
import subprocess
import sys

folder, *boards = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
for board in boards:
    name = os.path.splitext(os.path.basename(board))[0] + '.dtb'
    kind = 'dts' if board.endswith('.dts') else 'dtb'
    subprocess.run(['dtc', '-q', '-I', kind, '-O', 'dtb', '-o', os.path.join(folder, name), board], check=True)
