"""The clocks of a process, read here and handed to the parts as callables."""

from __future__ import annotations

import time


def boot_time() -> float:
    """CLOCK_BOOTTIME in seconds: goes on through suspend, never jumps. For deadlines and fences."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def civil_time() -> float:
    """Seconds since 1970: for tokens and logs, never for a lease."""
    return time.time()
