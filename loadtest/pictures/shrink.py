"""Pictures small enough for a repository: PNG's best packing, then fewer colours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 150 * 1024


class TooLarge(Exception):
    """A picture that does not belong into a repository."""


def write(picture: bytes, path: Path) -> int:
    """The size in bytes. Only where it would be too large it loses colours: undithered, so that
    flat areas stay flat. Raises TooLarge."""
    with Image.open(io.BytesIO(picture)) as found:
        every = found.convert("RGB")
    packed = _packed(every)
    if len(packed) > LARGEST:
        packed = _packed(every.quantize(256, dither=Image.Dither.NONE))
    if len(packed) > LARGEST:
        raise TooLarge(f"{path.name} would be {len(packed) // 1024} KiB")
    path.write_bytes(packed)
    return len(packed)


def _packed(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
