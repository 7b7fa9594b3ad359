"""Times as the waiting page tells them: numbers with the signs of their units, which are the same
in all its languages. ``static/wait.js`` does it again; a browser test keeps the two equal."""

from __future__ import annotations


def duration(seconds: int) -> str:
    """``45 s``, ``12 min``, ``1 h``, ``1 h 20 min``; spaces that do not break."""
    if seconds < 90:
        return f"{seconds}\u00a0s"
    minutes = (seconds + 30) // 60
    if minutes < 60:
        return f"{minutes}\u00a0min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u00a0h" + (f"\u00a0{minutes}\u00a0min" if minutes else "")


def span(p50: int | None, p90: int | None) -> str:
    """``5 min - 12 min`` with an en dash, one time when both are the same, "" for none."""
    if p50 is None or p90 is None:
        return ""
    first, last = duration(p50), duration(p90)
    return first if first == last else f"{first} \u2013 {last}"
