"""The clocks of a process, read here and handed to the parts as callables."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Calls into C without a Python frame: an exchange reads them five times.

boot_time: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""CLOCK_BOOTTIME in seconds: goes on through suspend, never jumps. For deadlines and fences."""

civil_time: Final[Callable[[], float]] = time.time
"""Seconds since 1970: for tokens and logs, never for a lease."""
