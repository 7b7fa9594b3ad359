"""axe-core in a page: what it finds that keeps somebody out (WCAG 2.2, levels A and AA).

axe-core comes from npm (``tests/node``, pinned with its hash; ``lock/node-packages test``). It is
evaluated by the browser's debugger, so the page's content security policy stays as it is.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page

SCRIPT = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
RUN = """async (levels) => {
  const found = await axe.run(document, {
    runOnly: { type: "tag", values: levels },
    rules: { "target-size": { enabled: true } },
  });
  if (!found.passes.length) throw new Error("axe looked at nothing");
  return found.violations.map((each) => `${each.id}: ${each.help}\\n` +
    each.nodes.map((node) => `    ${node.html}\\n    ${node.failureSummary}`).join("\\n"));
}"""


@cache
def script() -> str:
    if not SCRIPT.exists():
        assert not os.environ.get("CI"), "axe-core is missing: lock/node-packages test"
        pytest.skip("axe-core is missing: lock/node-packages test")
    return SCRIPT.read_text("utf-8")


async def barriers(page: Page) -> list[str]:
    """One text for each rule that is broken, with where."""
    await page.evaluate(script())
    found: list[str] = await page.evaluate(RUN, LEVELS)
    return found
