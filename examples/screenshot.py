"""Makes docs/report.png: the page that `make demo` leaves, as a headless Chromium shows it.

python examples/screenshot.py
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / ".demo" / "checkout" / "workspace" / "report.html"


def main() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 1120}, color_scheme="light")
        tab.goto(PAGE.as_uri())
        tab.screenshot(path=str(ROOT / "docs" / "report.png"))
        browser.close()


if __name__ == "__main__":
    main()
