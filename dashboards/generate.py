"""``python -m dashboards.generate``: write the JSON that Grafana takes (provisioning or import).

The JSON is committed: whoever runs Grafana needs neither Python nor the SDK. A test compares it
with what this module would write.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import boards

FOLDER = Path(__file__).parent / "grafana"


def texts() -> dict[str, str]:
    """File name -> what belongs into it."""
    return {
        f"{name}.json": JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"
        for name, dashboard in boards.every().items()
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
