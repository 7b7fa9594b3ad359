"""A QR code as an image that stands in the page itself: no script, no further request."""

from __future__ import annotations

import segno

QUIET_ZONE = 4  # modules, ISO/IEC 18004


def qr_image(text: str) -> str:
    """A ``data:`` address of an SVG, black on white whatever the page's colours are: many readers
    do not know it the other way round."""
    return segno.make_qr(text, error="m").svg_data_uri(
        border=QUIET_ZONE, dark="#000", light="#fff", omitsize=True
    )
