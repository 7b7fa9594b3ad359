"""The report: verdicts follow from numbers, the page holds everything and fetches nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loadtest.report.drawing import clock, short
from loadtest.report.model import (
    Chart,
    ErrorCount,
    Figure,
    LimitUse,
    Mark,
    Objective,
    Run,
    Series,
    Wait,
    dump,
    load,
)
from loadtest.report.page import amount, html
from loadtest.report.writing import write

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "</script><script>alert(1)</script>"


def run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "name": "weekday",
        "kind": "load",
        "title": "weekday",
        "started": "2026-11-25T10:00:00Z",
        "seconds": 60.0,
        "over_admissions": 0,
        "objectives": [Objective.judge("pages", 0.2, 0.5, unit="s")],
        **changes,
    }
    return Run(**values)


def chart(**changes: Any) -> Chart:
    line = Series(name="occupied", points=[(0.0, 1.0), (1.0, None), (2.0, 3.0)], style="area")
    values: dict[str, Any] = {"id": "seats", "title": "Seats", "unit": "", "series": [line]}
    return Chart(**{**values, **changes})


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "ok"),
    [
        (0.5, 0.5, False, True),
        (0.51, 0.5, False, False),
        (6.0, 6.0, True, True),
        (5.9, 6.0, True, False),
        (None, 1.0, False, False),
        (None, 0.0, True, False),
    ],
)
def test_a_verdict_follows_from_two_numbers(
    value: float | None, limit: float, at_least: bool, ok: bool
) -> None:
    assert Objective.judge("it", value, limit, at_least=at_least).ok is ok


def test_a_run_is_as_good_as_its_worst_objective_and_without_any_proves_nothing() -> None:
    good, bad = Objective.judge("a", 1, 2), Objective.judge("b", 3, 2)
    assert run(objectives=[good]).ok
    assert not run(objectives=[good, bad]).ok
    assert run(objectives=[good, bad]).missed() == [bad]
    assert not run(objectives=[]).ok


def test_the_file_is_read_back_as_it_was_and_a_later_form_is_refused() -> None:
    written = run(
        charts=[chart()],
        marks=[Mark(at=1, text="raise")],
        waits=[Wait(population="sales", seconds=3, ended="seated", told_p50=2)],
        limits=[LimitUse(name="seats", limit=3, broker=2, counter=None)],
        errors=[ErrorCount(kind="502", count=1)],
        figures=[Figure(name="views", value=None)],
    )
    text = dump(written)
    assert json.loads(text)["ok"] is True
    assert load(text) == written
    with pytest.raises(ValueError, match="format 2"):
        load(dump(run(format=2)))
    with pytest.raises(msgspec.ValidationError, match="title"):
        load(b'{"name": "x", "kind": "load"}')


def test_the_page_says_what_was_missed() -> None:
    text = html(run(objectives=[Objective.judge("logins", 3.1, 2, unit="s", why="slow")]))
    assert "<strong>No.</strong> 1 of 1 objectives is missed: logins 3.1 s (≤ 2 s)." in text
    assert "3.1 s" in text
    assert "<strong>Yes.</strong>" in html(run())
    assert "nothing is proved" in html(run(objectives=[]))


def test_nothing_is_fetched_and_nothing_in_a_name_is_code() -> None:
    evil = chart(title=EVIL, series=[Series(name=EVIL, points=[(0.0, 1.0)])])
    text = html(run(charts=[evil], notes=[EVIL], errors=[ErrorCount(kind=EVIL, count=1)]))
    assert "<script>alert" not in text
    namespaces = ("http://www.w3.org/", "http://creativecommons", "http://purl.org")
    assert [
        u for u in re.findall(r"https?://[^\s\"<]+", text) if not u.startswith(namespaces)
    ] == []
    assert text.count("<script") == 2


@pytest.mark.parametrize("style", ["line", "step", "area", "dash", "dots", "bars"])
@pytest.mark.parametrize("log", [False, True])
def test_every_style_is_drawn_in_the_page_s_own_colours(style: Any, log: bool) -> None:
    points = [(0.0, 1.0), (1.0, None), (2.0, 300.0)]
    line = Series(name="one", points=points, style=style, role="second")
    text = html(run(charts=[chart(series=[line], log=log, x="number", x_label="seconds")]))
    assert "var(--second)" in text
    assert not re.search(r"#01[0-9a-f]{2}07", text)
    assert 'id="seats-' in text


def test_a_chart_without_points_is_left_out() -> None:
    assert 'id="seats"' not in html(run(charts=[chart(series=[Series(name="x", points=[])])]))


def test_marks_lie_in_rows_when_their_words_would_touch() -> None:
    marks = [Mark(at=10, text="raise to 6x"), Mark(at=11, text="everyone"), Mark(at=59, text="end")]
    text = html(run(charts=[chart()], marks=marks))
    assert re.findall(r"--row:(\d)", text) == ["0", "1", "0"]
    assert text.count('class="flipped"') == 1


def test_each_run_has_a_folder_and_latest_is_the_last(tmp_path: Path) -> None:
    first, second = write(run(), tmp_path), write(run(), tmp_path)
    assert first.name == "weekday-20261125T100000Z"
    assert second.name == "weekday-20261125T100000Z-2"
    assert (tmp_path / "latest").resolve() == second
    assert load((tmp_path / "latest" / "report.json").read_bytes()) == run()
    assert (first / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "latest",
        first.name,
        second.name,
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "not measured"),
        (0.231, "s", "231 ms"),
        (2.14, "s", "2.14 s"),
        (200, "s", "3 min 20 s"),
        (3000, "s", "50 min"),
        (9000, "s", "2.5 h"),
        (99.17, "%", "99.2 %"),
        (41_000, "", "41,000"),
        (0.5, "", "0.5"),
        (3, "seats", "3 seats"),
    ],
)
def test_numbers_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_numbers_on_axes() -> None:
    assert [short(n) for n in (0, 0.05, 999, 3400, 12_000, 1.2e6)] == [
        "0", "0.05", "999", "3,400", "12k", "1.2M",
    ]  # fmt: skip
    assert [clock(n) for n in (45, 750, 3900)] == ["0:45", "12:30", "1:05:00"]
