"""The catalogues have every text that employees read, in every language, and are compiled."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from broker.site.language import DOMAIN, LANGUAGES, LOCALES

if TYPE_CHECKING:
    from pathlib import Path

    from babel.messages.catalog import Catalog

ROOT = LOCALES.parent.parent
HOW = "run the commands of broker/locales/README.md"
FIELD = re.compile(r"%\((\w+)\)s|<(/?\w+)>")


def po_file(language: str) -> Path:
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def catalogue(language: str) -> Catalog:
    with po_file(language).open("rb") as file:
        return read_po(file, locale=language)


@pytest.fixture(scope="module")
def texts_in_the_code() -> set[str | tuple[str, ...]]:
    with (LOCALES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    keywords = {**DEFAULT_KEYWORDS, "mark": None, "translate": None}
    found = extract_from_dir(ROOT, methods, options, keywords)
    return {message for _file, _line, message, _comments, _context in found}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language: str, texts_in_the_code: set[str | tuple[str, ...]]) -> None:
    messages = {message.id: message for message in catalogue(language) if message.id}
    assert set(messages) == texts_in_the_code, HOW
    if language != "en":
        for message in messages.values():
            strings = message.string if isinstance(message.string, tuple) else (message.string,)
            assert all(strings), f"{language}: not translated: {message.id}"
            assert not message.fuzzy, f"{language}: not checked by a person: {message.id}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_fields_and_marks(language: str) -> None:
    """A lost ``%(name)s`` or ``<b>`` would be a hole in a sentence."""
    for message in catalogue(language):
        if isinstance(message.id, str) and message.id and message.string:
            assert sorted(FIELD.findall(str(message.string))) == sorted(FIELD.findall(message.id))


@pytest.mark.parametrize("language", LANGUAGES)
def test_compiled_catalogues_are_current(language: str) -> None:
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    assert po_file(language).with_suffix(".mo").read_bytes() == compiled.getvalue(), HOW


def test_every_text_is_given_to_a_function_that_the_extraction_knows() -> None:
    """``gettext(language)("text")`` works, and its text is found by nobody."""
    hidden = re.compile(r"gettext\([^()]*\)\(")
    for file in (ROOT / "broker").rglob("*.py"):
        assert not hidden.search(file.read_text("utf-8")), file
