"""Every target against its grammar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.fuzz.grammars import GRAMMARS
from tests.fuzz.targets import TARGETS

EXAMPLES = {"requests": 150, "responses": 80, "target": 300}


def test_every_target_has_a_grammar() -> None:
    assert set(GRAMMARS) == set(TARGETS)


@pytest.mark.parametrize("target", GRAMMARS)
def test_grammar(target: str) -> None:
    @settings(max_examples=EXAMPLES.get(target, 400), deadline=None)
    @given(GRAMMARS[target])
    def check(data: bytes) -> None:
        TARGETS[target].check(data)

    check()
