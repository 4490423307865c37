"""Measure reports of 5,000 devices: the time to write each format, and the page's speed in Chromium.

    PYTHONPATH=scripts:. python tests/harness/benchmarks/page.py

Prints processor time per form; of the page, in milliseconds: first paint, loaded, and, until the next frame
is drawn, a search, a search that finds everything, a filter and a sort.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tests.report import documents

from certhash.report import FORMATS, render

ROUNDS = 5
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)

NAVIGATION = """() => {
  const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
  return [performance.getEntriesByName("first-contentful-paint")[0].startTime, loaded];
}"""
DRAWN = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
SEARCH = f"""async (text) => {{
  const form = document.querySelector("form[data-for=matrix]");
  const [input] = form.getElementsByTagName("input");
  const start = performance.now();
  input.value = text;
  input.dispatchEvent(new Event("input"));
  {DRAWN}
  return performance.now() - start;
}}"""
FILTER = f"""async (verdict) => {{
  const select = document.querySelector("form[data-for=matrix] select");
  const start = performance.now();
  select.value = verdict;
  select.dispatchEvent(new Event("change"));
  {DRAWN}
  return performance.now() - start;
}}"""
SORT = f"""async () => {{
  const start = performance.now();
  document.querySelector("#matrix thead button").click();
  {DRAWN}
  return performance.now() - start;
}}"""


def main() -> int:
    """Measure, and print a line for every figure."""
    estate = documents.estate()
    for form in FORMATS:
        start = time.process_time()
        size = len(render(estate, form).encode())
        print(f"{form:8} {time.process_time() - start:6.2f} s  {size / 1e6:6.1f} MB")
    program = shutil.which("chromium")
    if program is None:
        print("missing: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "estate.html"
        path.write_text(render(estate, "html"), encoding="utf-8")
        arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else list(QUIET)
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        rounds = []
        for _ in range(ROUNDS):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            rounds.append(_measure(page))
            page.close()
        browser.close()
    for name in rounds[0]:
        values = sorted(each[name] for each in rounds)
        print(f"{name:32} {statistics.median(values):6.0f} ms  ({values[0]:.0f} to {values[-1]:.0f})")
    return 0


def _measure(page: Page) -> dict[str, float]:
    painted, loaded = page.evaluate(NAVIGATION)
    page.locator("#matrix").scroll_into_view_if_needed()
    return {
        "first paint": painted,
        "loaded": loaded,
        "first search, 256 devices found": page.evaluate(SEARCH, "001F6C0001"),
        "search, 5,000 found": page.evaluate(SEARCH, "sep"),
        "filter, 100 found": page.evaluate(FILTER, "mismatch"),
        "sort 5,000": page.evaluate(SORT),
    }


if __name__ == "__main__":
    sys.exit(main())
