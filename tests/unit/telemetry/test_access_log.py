"""The access log: one whole line of JSON for each exchange, whatever the browser sent."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry import log_writer
from broker.telemetry.access_log import AccessLog, log_name

KEY = b"a key of 16 byte"


def record(log: AccessLog, **changed: Any) -> None:
    values: dict[str, Any] = {
        "when": 1_700_000_000.25,
        "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "address": "192.0.2.7",
        "employee": "ab12",
        "population": "sales",
        "pool": "feed",
        "server": "http://127.0.0.1:8001",
        "method": b"GET",
        "path": b"/assets/main.css",
        "status": 200,
        "received": 0,
        "sent": 1024,
        "steps": (0.000002, 0.0, 0.25, 1.5),
        "outcome": "done",
    }
    log.record(**{**values, **changed})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def logged(target: Path, **changed: Any) -> dict[str, Any]:
    log = AccessLog(target)
    record(log, **changed)
    log.close()
    (line,) = lines(target)
    return line


def test_a_line_has_everything(tmp_path: Path) -> None:
    assert logged(tmp_path / "log") == {
        "time": "2023-11-14T22:13:20.250Z",
        "id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "address": "192.0.2.7",
        "employee": "ab12",
        "population": "sales",
        "pool": "feed",
        "server": "http://127.0.0.1:8001",
        "method": "GET",
        "path": "/assets/main.css",
        "status": 200,
        "received": 0,
        "sent": 1024,
        "identify_us": 2,
        "admit_us": 0,
        "route_us": 250_000,
        "relay_us": 1_500_000,
        "outcome": "done",
    }


def test_the_query_is_never_logged(tmp_path: Path) -> None:
    assert logged(tmp_path / "log", path=b"/reset?token=s3cret?more")["path"] == "/reset"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b'/"quoted"\\', '/"quoted"\\'),
        (b"/\x1b[31mred", "/\\x1b[31mred"),
        (b"/line\r\nbreak", "/line\\x0d\\x0abreak"),
        (b"/nul\x00del\x7f", "/nul\\x00del\\x7f"),
        ("/żółć".encode(), "/\\xc5\\xbc\\xc3\\xb3\\xc5\\x82\\xc4\\x87"),
        (b"/\xff\xfe\x9b", "/\\xff\\xfe\\x9b"),
    ],
)
def test_hostile_bytes_are_written_out(tmp_path: Path, path: bytes, expected: str) -> None:
    assert logged(tmp_path / "log", path=path)["path"] == expected


def test_a_lone_surrogate_in_a_name_does_not_break_the_line(tmp_path: Path) -> None:
    line = logged(tmp_path / "log", employee="caf\udce9", outcome="done")
    assert line["employee"] == "caf\\udce9"
    assert line["status"] == 200


@given(method=st.binary(), path=st.binary(), address=st.text(), outcome=st.text())
def test_any_input_makes_one_printable_line(
    tmp_path_factory: pytest.TempPathFactory, method: bytes, path: bytes, address: str, outcome: str
) -> None:
    target = tmp_path_factory.mktemp("log") / "log"
    log = AccessLog(target)
    record(log, method=method, path=path, address=address, outcome=outcome)
    log.close()
    written = target.read_bytes()
    assert written.count(b"\n") == 1
    assert written.endswith(b"}\n")
    line = json.loads(written)
    assert line["path"].isascii()
    assert line["path"].isprintable()
    assert line["method"].isprintable()


def test_it_is_buffered_until_64_kib_or_a_flush(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    record(log)
    assert (tmp_path / "log").stat().st_size == 0
    for _ in range(250):
        record(log)
    log.close()
    assert len(lines(tmp_path / "log")) == 251


def test_reopening_follows_a_rotation(tmp_path: Path) -> None:
    target = tmp_path / "log"
    log = AccessLog(target)
    record(log, request_id="before")
    target.rename(tmp_path / "log.1")
    log.reopen()
    record(log, request_id="after")
    log.close()
    assert [line["id"] for line in lines(tmp_path / "log.1")] == ["before"]
    assert [line["id"] for line in lines(target)] == ["after"]


def test_a_failed_reopening_keeps_the_old_file(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = AccessLog(directory / "log")
    directory.rename(tmp_path / "moved")
    log.reopen()
    record(log)
    log.close()
    assert len(lines(tmp_path / "moved" / "log")) == 1


def test_a_stuck_reader_costs_lines_but_never_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_BACKLOG", 3)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(pipe)
    for _ in range(20_000):  # far more than the pipe and the backlog hold
        record(log)
    log.flush()
    dropped = log.dropped
    assert 0 < dropped < 20_000
    received = bytearray()

    def drain() -> None:
        os.set_blocking(reader, True)
        while piece := os.read(reader, 65536):
            received.extend(piece)

    draining = threading.Thread(target=drain)
    draining.start()
    log.close()
    draining.join(10)
    os.close(reader)
    assert len(received.splitlines()) == 20_000 - dropped
    assert all(json.loads(line) for line in received.splitlines())


def test_a_full_disk_is_counted_and_survived() -> None:
    log = AccessLog(Path("/dev/full"))
    record(log)
    record(log)
    log.close()
    assert log.dropped == 2


def test_a_line_cut_off_by_a_full_disk_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "log"
    room = 500  # bytes until the disk is full: one line and a part of the next

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            room = 10_000
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real_write(descriptor, data[:room])
        room -= count
        return count

    real_write = os.write
    monkeypatch.setattr(os, "write", write)
    log = AccessLog(target)
    for number in range(3):
        record(log, request_id=str(number))
    log.flush()
    record(log, request_id="after")
    log.close()
    first, torn, after = target.read_bytes().splitlines()
    assert json.loads(first)["id"] == "0"
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)
    assert json.loads(after)["id"] == "after"
    assert log.dropped == 2


def test_pieces_for_a_pipe_are_whole_lines_of_at_most_pipe_buf() -> None:
    data = b"".join(b"%d" % number * 300 + b"\n" for number in range(100))
    long = b"x" * 9000 + b"\n"
    pieces = list(log_writer.pieces(data + long + data))
    assert b"".join(pieces) == data + long + data
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 4096 or piece == long for piece in pieces)


def test_off_writes_nothing() -> None:
    log = AccessLog("off")
    record(log)
    log.flush()
    log.reopen()
    log.close()
    assert log.dropped == 0


def test_the_file_is_not_for_everybody(tmp_path: Path) -> None:
    AccessLog(tmp_path / "log").close()
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(tmp_path / "nowhere" / "log")


class TestLogName:
    def test_the_hash_is_keyed_and_stable(self) -> None:
        assert log_name("amina", "hash", KEY) == log_name("amina", "hash", KEY)
        assert log_name("amina", "hash", KEY) != log_name("amina", "hash", b"another key, 16+")
        assert log_name("amina", "hash", KEY) != log_name("piotr", "hash", KEY)
        assert len(log_name("amina", "hash", KEY)) == 16

    @pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
    def test_a_hash_without_a_proper_key_is_refused(self, key: bytes) -> None:
        with pytest.raises(ValueError, match="16 to 64 bytes"):
            log_name("amina", "hash", key)

    def test_plain_is_printable_and_off_is_empty(self) -> None:
        assert log_name("żaneta", "plain", b"") == "żaneta"
        assert log_name("a\u202eb\n", "plain", b"") == "a\\u202eb\\x0a"
        assert log_name("amina", "off", b"") == ""
