"""What the demo refuses before anything starts, and what it says."""

from __future__ import annotations

import io
import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.demo import arrive, premises
from broker.demo.announcement import Voice, welcome
from broker.demo.certificates import certificates
from broker.demo.pages import Page
from broker.demo.plan import Plan, Ports, ready_object

PORTS = Ports(ldap=1636, feed=(9001, 9002), wiki=(9003, 9004))


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(premises.CannotStart, match=f"Port {port} is in use.*--admin-port"):
            premises.free_ports(0, port)


def test_the_same_port_twice_is_refused() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(premises.CannotStart, match="in use"):
        premises.free_ports(port, port)


def test_any_free_ports_are_two_different_ones() -> None:
    public, admin = premises.free_ports(0, 0)
    assert 0 < public != admin > 0


def test_a_folder_is_for_one_demo_at_a_time(tmp_path: Path) -> None:
    with (
        premises.folder_of_our_own(tmp_path),
        pytest.raises(premises.CannotStart, match="--state"),
        premises.folder_of_our_own(tmp_path),
    ):
        pass
    with premises.folder_of_our_own(tmp_path) as folder:
        assert folder == tmp_path


def test_sockets_lie_where_their_paths_are_short_enough(tmp_path: Path) -> None:
    short = Path(f"/tmp/{tmp_path.name}")
    short.mkdir()
    try:
        assert premises.run_dir(short) == short / "run"
    finally:
        (short / "run").rmdir()
        short.rmdir()
    long = tmp_path / ("x" * premises.LONGEST_SOCKET)
    long.mkdir()
    elsewhere = premises.run_dir(long)
    try:
        assert not elsewhere.is_relative_to(tmp_path)
        assert len(str(elsewhere)) < premises.LONGEST_SOCKET
    finally:
        elsewhere.rmdir()


def known(state: Path) -> tuple[dict[str, object], Plan]:
    plan = Plan(public_port=9443, admin_port=9444, seats=60, workers=2, state=state)
    files = certificates(state / "tls", datetime.now(UTC))
    console = {"console": "http://127.0.0.1:9444/console/#code"}
    return ready_object(plan, PORTS, files, "the-token") | console, plan


def test_scripts_get_one_line_and_people_the_rest(tmp_path: Path) -> None:
    out, aside = io.StringIO(), io.StringIO()
    object_, plan = known(tmp_path)
    voice = Voice(out, aside)
    voice.progress(1, 5, "certificates")
    voice.ready(object_, plan)
    ready = [line for line in out.getvalue().splitlines() if line.startswith("READY ")]
    assert [json.loads(line.removeprefix("READY ")) for line in ready] == [object_]
    assert "certificates" in aside.getvalue()
    assert "the-token" not in welcome(object_, plan)


def test_a_terminal_is_not_buried_under_the_line_for_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    object_, plan = known(tmp_path)
    Voice(out, io.StringIO()).ready(object_, plan)
    assert "READY" not in out.getvalue()
    assert "The demo runs" in out.getvalue()


def test_the_welcome_says_how_to_trust_the_ca_and_what_to_try(tmp_path: Path) -> None:
    object_, plan = known(tmp_path)
    text = welcome(object_, plan)
    assert f"--cacert {tmp_path / 'tls' / 'ca.pem'}" in text
    assert "--resolve feed.localhost:9443:127.0.0.1" in text
    assert f"demo arrive 100 --state {tmp_path}" in text
    assert "/oracle" in text
    assert "bring-it-home" in text


def test_a_reader_who_went_away_ends_nothing(tmp_path: Path) -> None:
    out = io.StringIO()
    out.close()
    object_, plan = known(tmp_path)
    Voice(out, io.StringIO()).ready(object_, plan)


@pytest.mark.parametrize(
    ("count", "populations", "says"),
    [
        (1, ("managers", "salse"), "There is no population salse: choose from managers, sales"),
        (201, ("managers", "sales"), "Only 200 employees are in managers, sales."),
    ],
)
def test_arrivals_that_make_no_sense_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    count: int,
    populations: tuple[str, ...],
    says: str,
) -> None:
    object_, _ = known(tmp_path)
    (tmp_path / "ready.json").write_text(json.dumps(object_))
    assert arrive.main(count, populations, state=tmp_path) == 2
    assert says in capsys.readouterr().err


def test_a_page_is_read_as_a_browser_reads_it() -> None:
    page = Page(
        "https://localhost/.broker/login?next=1",
        200,
        '<form method="post" action="/.broker/login"><input type="hidden" name="csrf" '
        'value="a&amp;b"><img src="/photos/a.png"><img src="/photos/a.png">'
        '<link href="/static/x.css"><a href="/other">',
    )
    assert page.form_address() == "https://localhost/.broker/login"
    assert page.hidden() == {"csrf": "a&b"}
    assert list(page.assets()) == [
        "https://localhost/photos/a.png",
        "https://localhost/static/x.css",
    ]
    assert Page("", 200, '<input name="password">').outcome == "login"
    outcomes = [Page("", status, "").outcome for status in (200, 503, 403, 401, 500)]
    assert outcomes == ["seated", "failed", "refused", "failed", "failed"]
