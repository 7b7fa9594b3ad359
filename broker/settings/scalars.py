"""The kinds of value in a configuration: durations, sizes, names, addresses, secrets, paths.

Each says in its error what it should look like. Secrets and paths that are relative are taken from
the folder of the configuration file, which the loader passes as validation context; without a
context (models built in code) they stay as they are. Reads secret files and tries whether
others can be read; no other I/O.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)\Z")
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_NUMBER = re.compile(r"\d+(\.\d+)?\Z")
_TCP = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})\Z")
_SERVER = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:(?P<port>\d{1,5}))?\Z|unix:/.+\Z"
)
_ORIGIN = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?\Z")


class Model(BaseModel):
    """Frozen, and strict about unknown keys; a string under a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_address(address: str) -> tuple[str, int] | Path:
    """``host:port`` (``[::1]:port``) as a pair, ``unix:/PATH`` as a path. Raises ValueError."""
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if not path.is_absolute():
            raise ValueError("should be unix: and an absolute path, like unix:/run/broker.sock")
        return path
    match = _TCP.fullmatch(address)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError("should be HOST:PORT, like 127.0.0.1:8443, or unix:/PATH")
    return match["host"].strip("[]"), int(match["port"])


def duration(value: Any) -> Any:
    """Seconds of a text such as 10s or 14d; numbers are seconds already. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("should be a duration like 250ms, 10s, 15m, 12h or 14d")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("should be a duration like 250ms, 10s, 15m, 12h or 14d")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _size(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a size like 64KiB, 100MiB or 2GiB")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        match = _SIZE.fullmatch(value.strip())
        if not match:
            raise ValueError("should be a size like 64KiB, 100MiB or 2GiB")
        return int(match[1]) * _BYTES[match[2]]
    return value


def _address(value: str) -> str:
    parse_address(value)
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("should be an address or network, like 10.0.0.7 or 10.0.0.0/8") from None
    return value


def origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError("should be an origin like https://feed.example.com, lower case, no path")
    return value


def server(value: str) -> str:
    match = _SERVER.fullmatch(value)
    if match is None or int(match["port"] or 0) > 65_535:
        raise ValueError(
            "should be a server like http://10.0.0.7:8080 or https://feed.internal, without a "
            "path, or unix:/PATH"
        )
    return value


def _folder(info: ValidationInfo) -> Path | None:
    context: dict[str, Path] = info.context or {}
    return context.get("folder")


def _anchored(value: Path, info: ValidationInfo) -> Path:
    folder = _folder(info)
    return value if folder is None else folder / value


def _readable(value: Path, info: ValidationInfo) -> Path:
    """Whether it can be opened; what is in it is its reader's business."""
    path = _anchored(value, info)
    if _folder(info) is not None:
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


LARGEST_PICTURE = 64 * 1024  # bytes: every page loads it, on a phone too


def picture_type(content: bytes) -> str | None:
    """The media type of a picture by its first bytes; None: none that pages can show."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    if b"<svg" in content[:1000]:
        return "image/svg+xml"
    return None


def _picture(value: Path, info: ValidationInfo) -> Path:
    path = _readable(value, info)
    if _folder(info) is not None:
        content = path.read_bytes()
        if len(content) > LARGEST_PICTURE:
            raise ValueError(f"{path} has {len(content)} bytes; at most {LARGEST_PICTURE}")
        if picture_type(content) is None:
            raise ValueError(f"{path} is no SVG, PNG, JPEG or WebP")
    return path


def _secret(value: Any, info: ValidationInfo) -> Any:
    folder = _folder(info)
    if folder is None or not isinstance(value, str) or not value.startswith("file:"):
        return value
    path = folder / value.removeprefix("file:")
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"cannot be read from {path}: {cause}") from None
    return text


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("is empty")
    return value


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}]}
    )


Duration = Annotated[
    float, BeforeValidator(duration), Field(ge=0), _schema(r"^\d+(\.\d+)?(ms|s|m|h|d)$")
]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0), _schema(r"^\d+(B|KiB|MiB|GiB)$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(origin)]
Server = Annotated[str, AfterValidator(server)]
AnchoredPath = Annotated[Path, AfterValidator(_anchored)]
Picture = Annotated[Path, AfterValidator(_picture)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
Pseudonym = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$")]
Weight = Annotated[int, Field(ge=1, le=1000)]
Secret = Annotated[SecretStr, BeforeValidator(_secret), AfterValidator(_not_empty)]
