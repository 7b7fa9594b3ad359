"""Pictures made on the spot, so that the demo needs no files and no network: landscapes as PNG
(about 5 to 60 KiB) and initials as SVG (about 1 KiB). The same name always gives the same picture.
"""

from __future__ import annotations

import colorsys
import math
import random
import struct
import zlib
from functools import lru_cache
from html import escape
from itertools import accumulate, pairwise

SHADES = 48
HILLS = 4
# Hues (0..1) of sky and hills that go together: dusk, noon, dawn, sea, evening, heath.
FAMILIES = ((0.07, 0.58), (0.57, 0.36), (0.95, 0.62), (0.52, 0.47), (0.09, 0.92), (0.62, 0.74))


@lru_cache(maxsize=64)
def landscape(name: str, width: int = 512, height: int = 256) -> bytes:
    """A PNG: a sky and hills in one family of colours (PNG specification, W3C, palette type 3).

    Built column by column from ready-made gradients, then turned into rows by slicing: a few
    milliseconds in plain Python.
    """
    dice = random.Random(name)
    hues = dice.choice(FAMILIES)
    palette = bytearray()
    for layer in range(HILLS + 1):
        for shade in range(SHADES):
            palette += _colour(hues, layer, shade / (SHADES - 1))
    lines = [_ridge(dice, width, height, layer) for layer in range(HILLS)]
    noise = dice.randbytes(4096)
    grain = dice.choice((0, 1, 1, 2))
    columns = bytearray()
    for x in range(width):
        edges = [*accumulate((0, *(min(line[x], height) for line in lines)), max), height]
        for layer, (top, bottom) in enumerate(pairwise(edges)):
            first, span = layer * SHADES, max(1, height - top)
            for y in range(top, bottom):
                wobble = noise[(x * 37 + y * 11) % 4096] % (2 * grain + 1) if grain else 0
                shade = (y - top) * (SHADES - 1) // span + wobble
                columns.append(first + min(SHADES - 1, shade))
    rows = b"".join(b"\0" + columns[y::height] for y in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", bytes(palette))
        + _chunk(b"IDAT", zlib.compress(rows, 6))
        + _chunk(b"IEND", b"")
    )


def initials(name: str) -> str:
    """An SVG disc with the initials of a person or a login name."""
    words = [word for word in name.replace(".", " ").replace("-", " ").split() if word]
    letters = "".join(word[0] for word in words[:2]).upper() or "?"
    hue = random.Random(name).randrange(360)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 80" role="img" '
        f'aria-label="{escape(name)}"><defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1">'
        f'<stop offset="0" stop-color="hsl({hue} 62% 58%)"/>'
        f'<stop offset="1" stop-color="hsl({(hue + 40) % 360} 60% 40%)"/></linearGradient></defs>'
        '<circle cx="40" cy="40" r="40" fill="url(#g)"/><text x="40" y="40" dy=".36em" fill="#fff" '
        'font-family="system-ui,sans-serif" font-size="30" font-weight="600" text-anchor="middle">'
        f"{escape(letters)}</text></svg>"
    )


def _ridge(dice: random.Random, width: int, height: int, layer: int) -> list[int]:
    """The upper edge of one hill for every column: a sum of three waves."""
    base = height * (0.42 + 0.15 * layer)
    waves = [
        (height * dice.uniform(0.02, 0.10) / k, dice.uniform(0.6, 1.6) * k, dice.uniform(0, 7))
        for k in (1, 2, 5)
    ]
    return [
        int(base + sum(a * math.sin(f * math.tau * x / width + p) for a, f, p in waves))
        for x in range(width)
    ]


def _colour(hues: tuple[float, float], layer: int, depth: float) -> bytes:
    if layer == 0:
        rgb = colorsys.hls_to_rgb((hues[0] + 0.05 * depth) % 1, 0.62 + 0.26 * depth, 0.58)
    else:
        light = 0.58 - 0.11 * layer - 0.08 * depth
        rgb = colorsys.hls_to_rgb((hues[1] + 0.02 * layer) % 1, light, 0.34)
    return bytes(int(255 * part) for part in rgb)


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
