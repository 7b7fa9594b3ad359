"""The JSON Schema of the configuration, for editors: ``config/broker.schema.json``.

Generated from the models: ``python -m broker.configuration.schema > config/broker.schema.json``; a
test keeps it current. A value may be written ``${NAME}`` where the schema wants a number or a
pattern, so every such place allows that too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from broker.settings import Settings

_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}


def schema() -> dict[str, Any]:
    """The schema as data (JSON Schema 2020-12)."""
    document: dict[str, Any] = _allow_variables(Settings.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "Configuration of the broker",
    }


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _allow_variables(node: Any) -> Any:
    if isinstance(node, list):
        return [_allow_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    if _is_strict_leaf(node):
        kept = {key: node[key] for key in ("description", "default", "title") if key in node}
        return {"anyOf": [{k: v for k, v in node.items() if k not in kept}, _VARIABLE], **kept}
    return {
        key: value if key in ("default", "required", "enum") else _allow_variables(value)
        for key, value in node.items()
    }


def _is_strict_leaf(node: dict[str, Any]) -> bool:
    return (
        node.get("type") in ("integer", "number", "boolean")
        or "enum" in node
        or (node.get("type") == "string" and "pattern" in node)
    )


if __name__ == "__main__":
    sys.stdout.write(schema_text())
