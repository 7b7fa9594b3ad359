"""Whatever colour a company configures, text stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.portal.palette import (
    DARK_GROUND,
    ENOUGH,
    LIGHT_GROUND,
    contrast,
    luminance,
    palette,
)

COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def test_contrast_is_that_of_wcag() -> None:
    assert luminance("#000000") == 0
    assert luminance("#ffffff") == pytest.approx(1)
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@given(COLORS)
def test_every_colour_becomes_readable(color: str) -> None:
    found = palette(color)
    assert contrast(found["accent_light"], LIGHT_GROUND) >= ENOUGH
    assert contrast(found["accent_dark"], DARK_GROUND) >= ENOUGH
    assert contrast(found["ink_light"], found["accent_light"]) >= ENOUGH
    assert contrast(found["ink_dark"], found["accent_dark"]) >= ENOUGH


def test_a_readable_colour_is_left_alone() -> None:
    assert palette("#2457c5")["accent_light"] == "#2457c5"
    assert palette("#2457c5")["brand"] == "#2457c5"
