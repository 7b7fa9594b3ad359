"""Pictures made on the spot are real ones, of the sizes a page has."""

from __future__ import annotations

import struct
import zlib
from xml.etree import ElementTree

import pytest

from broker.demo.apps.pictures import initials, landscape


@pytest.mark.parametrize("name", ["dakar", "warszawa", "sales-5", ""])
def test_a_landscape_is_a_whole_png(name: str) -> None:
    picture = landscape(name, 64, 48)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, data = 8, b""
    kinds = []
    while at < len(picture):
        size, kind = struct.unpack_from(">I4s", picture, at)
        body = picture[at + 8 : at + 8 + size]
        (sum_,) = struct.unpack_from(">I", picture, at + 8 + size)
        assert sum_ == zlib.crc32(kind + body)
        kinds.append(kind)
        data += body if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    rows = zlib.decompress(data)
    assert len(rows) == 48 * 65
    assert set(rows[::65]) == {0}  # every row begins with "no filter"


def test_landscapes_are_as_large_as_photographs_on_a_page() -> None:
    sizes = [len(landscape(f"place-{number}")) for number in range(8)]
    assert all(1024 < size <= 60 * 1024 for size in sizes)
    assert landscape("dakar") == landscape("dakar")


def test_initials_cannot_be_turned_into_markup() -> None:
    picture = ElementTree.fromstring(initials('"><script>alert(1)</script> <b>'))
    assert [part.tag.rpartition("}")[2] for part in picture] == ["defs", "circle", "text"]
