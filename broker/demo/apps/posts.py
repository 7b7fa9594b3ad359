"""The feed's posts: one SQLite file that all servers of the feed share, so that what is written
on one is read on the other. Calls are short and synchronous; a connection belongs to one process.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

TEXT_LIMIT = 2000

WELCOME = (
    ("Aminata Diop", "dakar", "Good morning from Dakar! The new support team is online and ready."),
    ("Jan Kowalski", "warszawa", "Warsaw office: the network in building C is back. Dziękujemy!"),
    ("Claire Moreau", "network", "Field report: the fibre ring was closed three days early."),
    ("Piotr Zieliński", "sales", "Question of the week: what do customers ask you most at home?"),
    ("Fatou Ndiaye", "dakar", "Recipe exchange: the thiéboudienne thread now has 212 answers."),
    ("Luc Bernard", "remote-work", "Ten things that make a video call bearable. Number 3: a door."),
    ("Ewa Nowak", "warszawa", "Our volunteers delivered 1,400 laptops last week. Thank you all."),
    ("Moussa Sarr", "network", "Traffic doubled overnight, and nobody noticed. That is the point."),
)


@dataclass(frozen=True, slots=True)
class Post:
    """One post; ``number`` grows by one with each."""

    number: int
    author: str
    community: str
    text: str
    written: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Posts:
    """``path``: a file, or ``:memory:`` for a server of its own. ``now`` is Unix seconds."""

    def __init__(self, path: str, now: float) -> None:
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        # No write-ahead log: two servers that switch to it at the same moment are told "locked" at
        # once, whatever the timeout; a rollback journal waits its turn. Nothing here must last.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS posts (number INTEGER PRIMARY KEY AUTOINCREMENT,"
                " author TEXT NOT NULL, community TEXT NOT NULL, text TEXT NOT NULL,"
                " written REAL NOT NULL)"
            )
            if not self._db.execute("SELECT 1 FROM posts LIMIT 1").fetchone():
                for age, (author, community, text) in enumerate(reversed(WELCOME)):
                    written = now - 420 * (len(WELCOME) - age)
                    self.add(author, community, text, written)
        finally:
            self._db.execute("COMMIT")

    def add(self, author: str, community: str, text: str, now: float) -> Post:
        number = self._db.execute(
            "INSERT INTO posts (author, community, text, written) VALUES (?, ?, ?, ?)",
            (author, community, text[:TEXT_LIMIT], now),
        ).lastrowid
        return Post(int(number or 0), author, community, text[:TEXT_LIMIT], now)

    def latest(self, count: int = 20, community: str | None = None) -> list[Post]:
        """Newest first."""
        rows = self._db.execute(
            "SELECT number, author, community, text, written FROM posts"
            " WHERE ? IS NULL OR community = ? ORDER BY number DESC LIMIT ?",
            (community, community, count),
        )
        return [Post(*row) for row in rows]

    def after(self, number: int, count: int = 100) -> list[Post]:
        """Those written after ``number``, oldest first."""
        rows = self._db.execute(
            "SELECT number, author, community, text, written FROM posts"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (number, count),
        )
        return [Post(*row) for row in rows]

    def last_number(self) -> int:
        row = self._db.execute("SELECT max(number) FROM posts").fetchone()
        return int(row[0] or 0)

    def close(self) -> None:
        self._db.close()
