# SPDX-License-Identifier: MIT
"""embed.py BLOB SOURCE NAME: writes BLOB as the C array NAME into SOURCE."""
import sys

blob, source, name = sys.argv[1:]
with open(blob, 'rb') as f:
    data = f.read()
with open(source, 'w', encoding='ascii') as f:
    f.write('/* Generated from a device tree; see src/board/meson.build. */\n#include "board/parse.h"\n\n')
    f.write(f'const unsigned char {name}[] = {{\n')
    for at in range(0, len(data), 16):
        f.write('    ' + ' '.join(f'0x{byte:02x},' for byte in data[at:at + 16]) + '\n')
    f.write(f'}};\nconst size_t {name}_size = sizeof({name});\n')
