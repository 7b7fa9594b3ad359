"""``broker check`` on the file alone, and the findings that need no network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trustme
import yaml

from broker.cli.main import main
from broker.cli.probes import _descriptors, _expiry, _folders, _listener_certificates
from broker.configuration import load
from broker.gateway.certificates import read_chain
from tests.unit.configuration.test_faults import KEYS, valid

if TYPE_CHECKING:
    from pathlib import Path

    from broker.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A valid configuration with TLS, written to ``config.yaml``."""
    monkeypatch.setenv("KEYS", KEYS)
    authority = trustme.CA()
    leaf = authority.issue_cert("home.test", "*.apps.test")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(tmp_path / "chain.pem", append=number > 0)
    document = valid()
    document["run_dir"] = "run"
    document["hosts"][0]["origin"] = "https://feed.apps.test"
    document["listeners"][0]["tls"] = {
        "certificates": [{"certificate": "chain.pem", "key": "key.pem"}]
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return load(path)


def test_all_faults_at_once_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("site: test\nworkers: 0\nwokers: 1\nhome: http://x\n", "utf-8")
    assert main(["check", "-c", str(path)]) == 1
    out = capsys.readouterr().out
    for place in (":2: workers:", ":3: wokers:", ":4: home:", ":1: admin: is missing"):
        assert f"{path}{place}" in out
    assert "faults; the broker would not work like this" in out


def test_a_valid_file_offline(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--offline", "-c", str(tmp_path / "config.yaml")]) == 0
    assert "is valid" in capsys.readouterr().out


def test_json_names_findings(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text("utf-8").replace("limit: 10", "limit: 0", 1), "utf-8")
    main(["check", "--offline", "--json", "-c", str(path)])
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {finding["level"] for finding in report["findings"]} == {"warning", "ok"}


def test_certificates_must_fit_the_hosts(settings: Settings) -> None:
    (listener,) = settings.listeners
    good = list(_listener_certificates(listener, ["home.test", "feed.apps.test"]))
    assert [finding.level for finding in good] == ["ok"]
    (_, bad) = _listener_certificates(listener, ["other.test"])
    assert (bad.level, bad.text) == ("fault", "no certificate is made out to other.test")


def test_a_key_of_another_certificate(settings: Settings, tmp_path: Path) -> None:
    trustme.CA().issue_cert("x.test").private_key_pem.write_to_path(tmp_path / "key.pem")
    (finding,) = _listener_certificates(settings.listeners[0], ["home.test"])
    assert finding.level == "fault"
    assert "cannot be used" in finding.text


def test_an_expired_certificate(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("home.test", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "old.pem")
    finding = _expiry("listener", read_chain(tmp_path / "old.pem"))
    assert finding.level == "fault"
    assert "of home.test has expired on 2020-01-01" in finding.text


def test_an_authority_in_between_that_has_expired(tmp_path: Path) -> None:
    """Clients refuse the whole chain."""
    between = tmp_path / "chain.pem"
    trustme.CA().issue_cert("home.test").cert_chain_pems[0].write_to_path(between)
    old = trustme.CA().issue_cert("between", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    old.cert_chain_pems[0].write_to_path(between, append=True)
    assert _expiry("listener", read_chain(between)).level == "fault"


def test_descriptors_say_how_many_exchanges_they_allow(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1128))
    finding = _descriptors(settings)
    assert finding.level == "ok"
    assert "500 exchanges on each worker, 1000 on 2 workers" in finding.text
    monkeypatch.setattr("resource.getrlimit", lambda _: (128, 130))
    finding = _descriptors(settings)
    assert finding.level == "warning"
    assert "fewer than connections.limit (10): raise LimitNOFILE" in finding.text


def test_a_run_dir_too_long_for_sockets(settings: Settings, tmp_path: Path) -> None:
    assert not list(_folders(settings.model_copy(update={"run_dir": tmp_path})))
    long = settings.model_copy(update={"run_dir": tmp_path / ("x" * 108)})
    assert any("is too long" in finding.text for finding in _folders(long))
    (tmp_path / "file").touch()
    inside = settings.model_copy(update={"run_dir": tmp_path / "file" / "run"})
    assert any("is no folder" in finding.text for finding in _folders(inside))
