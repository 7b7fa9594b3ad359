"""The contract of file descriptors, and the rhythm of restarts."""

from __future__ import annotations

import pytest

from broker.supervisor.plan import ChildFds
from broker.supervisor.slot import how, restart_delay


@pytest.mark.parametrize("sockets", [(), ((0, 7),), ((0, 7), (0, 8), (1, 9))])
def test_descriptors_survive_the_command_line(sockets: tuple[tuple[int, int], ...]) -> None:
    fds = ChildFds(sockets, 10, 11)
    assert ChildFds.decode(fds.encode()) == fds
    assert " " not in fds.encode()
    assert fds.all() == (*(descriptor for _, descriptor in sockets), 10, 11)


@pytest.mark.parametrize("word", ["", "1/2", "0:x/1/2", "0/1/2", "0:1/2/3/4"])
def test_a_broken_word_is_an_error(word: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        ChildFds.decode(word)


def test_the_first_restart_is_immediate_and_the_next_ones_wait_longer() -> None:
    delays = [restart_delay(deaths, 0.5, 30.0) for deaths in range(10)]
    assert delays == [0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert restart_delay(10_000, 0.5, 30.0) == 30.0


def test_how_a_process_ended_in_words() -> None:
    assert how(1) == "exit 1"
    assert how(-9) == "SIGKILL"
    assert how(-64 - 99) == "signal 163"
