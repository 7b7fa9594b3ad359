"""Readable colours from the one colour a company configures.

Any ``#rrggbb`` may be configured, pale yellow or night blue; pages must stay readable in light and
dark. Contrast is that of WCAG 2.2 (relative luminance, 4.5:1 for text).
"""

from __future__ import annotations

LIGHT_GROUND = "#ffffff"
DARK_GROUND = "#1b1f27"
ENOUGH = 4.5

Rgb = tuple[int, int, int]


def parse(color: str) -> Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def luminance(color: str) -> float:
    """Relative luminance 0..1 (WCAG 2.2, "relative luminance")."""

    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(channel) for channel in parse(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio 1..21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(color: str, ground: str) -> str:
    """``color`` moved towards white or black only as far as text on ``ground`` needs."""
    target = 255 if luminance(ground) < 0.18 else 0
    for step in range(21):
        share = step / 20
        red, green, blue = (round(c + (target - c) * share) for c in parse(color))
        moved = f"#{red:02x}{green:02x}{blue:02x}"
        if contrast(moved, ground) >= ENOUGH:
            return moved
    return "#ffffff" if target else "#000000"


def ink_on(color: str) -> str:
    """Black or white, whichever reads better on ``color``."""
    return max("#ffffff", "#10131a", key=lambda ink: contrast(ink, color))


def palette(color: str) -> dict[str, str]:
    """The values that the style sheet takes: accent and its ink, for light and for dark."""
    light = readable(color, LIGHT_GROUND)
    dark = readable(color, DARK_GROUND)
    return {
        "accent_light": light,
        "ink_light": ink_on(light),
        "accent_dark": dark,
        "ink_dark": ink_on(dark),
        "brand": color,
        "on_brand": ink_on(color),
    }
