"""The YAML text: plain data, the line of every value, and what is wrong with the text itself.

Read with the core types of YAML 1.2 (``off`` and ``12:30`` are text, not false and 750) and
nothing that a configuration does not need: no tags, no merge keys, one document. A key that stands
twice is a fault, not the last one's victory. ``${NAME}`` in a value is replaced from the
environment, ``$${`` stands for itself; comments and keys are left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from broker.configuration.faults import Fault, Path

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class _CoreLoader(yaml.SafeLoader):
    """Scalars by YAML 1.2's core schema (YAML 1.2.2, section 10.3.2)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


@dataclass
class Source:
    """``data`` is None when there is nothing to validate. ``lines`` counts from 1."""

    data: dict[str, Any] | None = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """The line of the value, or of the nearest thing around it that is written down."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str, environ: Mapping[str, str]) -> Source:
    """Parse ``text``; never raises for what is in it."""
    source = Source()
    try:
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        says = " ".join(filter(None, (error.context, error.problem)))
        if "${" in text.split("\n")[line - 1]:
            says += ' (inside { } and [ ] write "${NAME}" in quotes)'
        source.faults.append(Fault(line, (), f"is not YAML: {says}"))
        return source
    except yaml.YAMLError as error:
        source.faults.append(Fault(1, (), f"is not YAML: {str(error).splitlines()[0]}"))
        return source
    if not isinstance(root, MappingNode):
        source.faults.append(Fault(1, (), "should be a mapping of keys, like `site: example`"))
        return source
    source.data = _Reader(source, environ).mapping(root, ())
    return source


class _Reader:
    """Turns nodes into data, noting lines and faults in the source on the way."""

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ
        self._open: set[int] = set()
        self._loader = _CoreLoader("")

    def value(self, node: Node, path: Path) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._fault(node, path, "contains itself")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            assert isinstance(node, SequenceNode)
            return self._sequence(node, path)
        finally:
            self._open.discard(id(node))

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.value == "<<":
                self._fault(key_node, path, "keys are plain words here; no merge, no nesting")
                continue
            key = key_node.value
            at = (*path, key)
            if key in found:
                first = self._source.lines[at]
                self._fault(key_node, at, f"stands twice; the first one is in line {first}")
                continue
            self._source.lines[at] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, at)
        return found

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        found = []
        for index, item in enumerate(node.value):
            self._source.lines[*path, index] = item.start_mark.line + 1
            found.append(self.value(item, (*path, index)))
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag.startswith("!") or node.tag.endswith((":binary", ":timestamp")):
            self._fault(node, path, f"tags like {node.tag} have no meaning here")
            return None
        if "${" not in node.value:
            return self._loader.construct_object(node)
        # Stays text whatever it looks like (a password may be all digits); a number's model reads
        # it as a number.
        return _VARIABLE.sub(lambda match: self._variable(match, node, path), node.value)

    def _variable(self, match: re.Match[str], node: ScalarNode, path: Path) -> str:
        name = match[1]
        if name is None:
            return "${"
        if not _NAME.fullmatch(name):
            self._fault(node, path, "${...} should hold the name of an environment variable")
            return ""
        found = self._environ.get(name)
        if found is None:
            self._fault(node, path, f"the environment variable {name} is not set")
            return ""
        return found

    def _fault(self, node: Node, path: Path, sentence: str) -> None:
        self._source.faults.append(Fault(node.start_mark.line + 1, path, sentence))
