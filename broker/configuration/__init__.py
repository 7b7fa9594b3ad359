"""From a YAML file to checked settings, or to all of its faults at once, each with its place.

``load`` reads the file, puts ``${ENV}`` and ``file:`` secrets in, validates every value against the
models and then the sections against each other. Nothing is tried out here: that is ``broker
check``'s second half. Talks to the file system only; never prints a value that it was given.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from broker.configuration.cross_checks import contradictions, doubts
from broker.configuration.draft import Draft
from broker.configuration.faults import Fault, Path, faults_of
from broker.configuration.source import Source, read
from broker.errors import ConfigurationError
from broker.settings import Settings

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

__all__ = ["digest", "load", "load_with_doubts"]


def load(path: pathlib.Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``path``. Raises ConfigurationError; its ``faults`` are ``FILE:LINE: ...``.

    ``${NAME}`` is looked up in ``environ`` (None: the process's own). Relative paths start in the
    file's folder.
    """
    return load_with_doubts(path, environ)[0]


def load_with_doubts(
    path: pathlib.Path, environ: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and what is allowed but probably not meant, written like faults."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        reason = f"{path}: cannot be read: {cause}"
        raise ConfigurationError(reason, (reason,)) from None
    source = read(text, os.environ if environ is None else environ)
    context = {"folder": path.absolute().parent}
    found = list(source.faults)
    settings = None
    if source.data is not None:
        try:
            settings = Settings.model_validate(source.data, context=context)
        except ValidationError as error:
            found += [fault for fault in faults_of(error, source) if _new(fault, found)]
            draft = Draft.of_valid_parts(source.data, error, context)
        else:
            draft = Draft.of(settings)
        found += [_placed(source, at, say) for at, say in contradictions(draft)]
    if found or settings is None:
        lines = tuple(f"{path}:{fault}" for fault in sorted(found))
        count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
        raise ConfigurationError(f"{path}: {count}", lines)
    weak = sorted(_placed(source, at, say) for at, say in doubts(settings))
    return settings, tuple(f"{path}:{doubt}" for doubt in weak)


def digest(settings: Settings) -> str:
    """Names what this configuration proposes for the site's limits document.

    Brokers of one site may differ in addresses and folders and still agree on the limits; so only
    what becomes part of the document counts. 16 hexadecimal digits.
    """
    pools = {"connections", "populations", "lease", "keep_for", "ceiling", "guard"}
    proposal = settings.model_dump(
        mode="json",
        include={
            "seats": True,
            "connections": True,
            "populations": True,
            "levels": True,
            "pools": dict.fromkeys(settings.pools, pools),
        },
    )
    # The order of populations and pools decides who is asked first, so it counts as well.
    stated = json.dumps([proposal, list(settings.pools)], sort_keys=True)
    return hashlib.sha256(stated.encode()).hexdigest()[:16]


def _placed(source: Source, path: Path, sentence: str) -> Fault:
    return Fault(source.line_of(path), path, sentence)


def _new(fault: Fault, known: list[Fault]) -> bool:
    """Whether a value is at fault for the first time: one that could not be read is told once."""
    return all(fault.path != other.path for other in known)
