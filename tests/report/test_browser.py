"""The page of the report in a real Chromium: drawn, quiet, harmless, and for everyone."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from report_helpers import EVIL, run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the machine has it. Where it has none tests are left out, but for those of CI."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI_BROWSER"):
            pytest.fail("no Chromium is here, and CI_BROWSER asks for one; apt-get install chromium")
        pytest.skip("no Chromium is here (apt-get install chromium, or CHROMIUM=PATH)")
    with sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield one
        one.close()


class Opened:
    """A page that is open, with what it said and asked for."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page: Page = browser.new_context(**context).new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()


@pytest.fixture(scope="module")
def opened(browser: Browser, three: Path) -> Iterator[Opened]:
    one = Opened(browser, three / "reports/index.html", viewport={"width": 1280, "height": 900})
    yield one
    one.page.context.close()


def test_every_chart_is_drawn_without_a_word_or_a_request(opened: Opened, three: Path) -> None:
    assert opened.said == []
    own = (three / "reports/index.html").as_uri()
    assert [url for url in opened.asked if not url.startswith("data:")] == [own]
    places = opened.page.locator("[data-chart]")
    names = {places.nth(i).get_attribute("data-chart") for i in range(places.count())}
    assert names == {path.stem for path in (three / "reports/charts").glob("*.csv")}
    for i in range(places.count()):
        name = places.nth(i).get_attribute("data-chart")
        marks = places.nth(i).locator(
            "svg [aria-roledescription$='mark'], svg g[role='graphics-object'] path"
        )
        assert marks.count() > 0, name


def test_nothing_leaves_the_page_though_it_is_asked_to(opened: Opened) -> None:
    """The policy of the page forbids what no script of it does."""
    policy = opened.page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content") or ""
    assert {"default-src 'none'", "form-action 'none'", "base-uri 'none'"} <= set(policy.split("; "))
    told = "fetch('http://127.0.0.1:9/').then(() => 'went', error => error.message)"
    assert opened.page.evaluate(told) == "Failed to fetch"
    assert any("violates" in line and "Content Security Policy" in line for line in opened.said)
    opened.said.clear()


def test_the_first_screen_has_verdict_glance_and_chart(opened: Opened) -> None:
    heights = opened.page.evaluate(
        "['h1', '.glance', '.opening [data-chart] svg'].map("
        "what => document.querySelector(what).getBoundingClientRect().bottom + window.scrollY)"
    )
    assert max(heights) <= 900
    words = opened.page.locator("h1").inner_text()
    assert re.match(r"(Verified|Falsified|Inconclusive), toy scale: alchemist at 50.%, model xs, is ", words)


def test_a_rating_is_counted_in_or_out_by_a_switch(opened: Opened) -> None:
    chart = opened.page.locator("[data-chart='cost-fd']")
    before = chart.locator("svg").inner_html()
    chart.get_by_role("checkbox").uncheck()
    opened.page.wait_for_timeout(200)
    assert chart.locator("svg").inner_html() != before
    chart.get_by_role("checkbox").check()
    opened.page.wait_for_timeout(200)
    assert chart.locator("svg").inner_html() == before


def test_a_verdict_opens_by_keyboard(opened: Opened) -> None:
    card = opened.page.locator("details.card").first
    assert not card.locator("table").is_visible()
    card.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    assert card.locator("table").is_visible()
    opened.page.keyboard.press("Enter")


def test_the_gallery_follows_menu_words_and_brush(opened: Opened) -> None:
    page, menu = opened.page, opened.page.locator("#explore-menu")
    count = page.locator("#explore-count")
    shown = page.locator("#gallery figure")
    assert count.inner_text().startswith("203 of 203 pairs; rating alchemist, subset alchemist, 50")
    assert shown.count() == 60
    page.get_by_role("button", name="Show more").click()
    assert shown.count() == 120
    menu.get_by_label("Show").select_option("kept")
    kept = int(count.inner_text().split()[0])
    assert 90 <= kept <= 110
    assert set(shown.locator("span").all_inner_texts()) == {"kept: drawn, by a Gaussian about rank 62.5 %"}
    menu.get_by_label("Show").select_option("pruned")
    menu.get_by_label("to", exact=False).last.press("Tab")
    menu.locator("[name=high]").fill("25")
    assert count.inner_text().startswith("51 of 203")
    assert set(shown.locator("span").all_inner_texts()) == {"pruned: in the top 25 %, which is thrown away"}
    menu.locator("[name=high]").fill("100")
    menu.get_by_label("Show").select_option("kept and pruned")
    menu.get_by_label("Subset").select_option("topk, 20\N{NO-BREAK SPACE}%")
    assert "kept: among the best 20 %" in shown.first.inner_text()
    menu.get_by_label("Order").select_option("worst first")
    assert "pruned: below the best 20 %" in shown.first.inner_text()
    menu.get_by_label("Caption has").fill("no such words")
    assert count.inner_text().startswith("0 of 203")
    menu.get_by_label("Caption has").fill("")
    bars = page.locator("[data-chart=explore] svg")
    bars.scroll_into_view_if_needed()
    box = bars.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function("!document.getElementById('explore-count').textContent.startsWith('203 of')")
    assert 0 < int(count.inner_text().split()[0]) < 203
    menu.get_by_label("Rating").select_option("loss")
    told = re.compile("^203 of 203 pairs; rating loss, subset topk")  # no brush there
    expect(count).to_have_text(told)
    page.wait_for_timeout(300)
    expect(count).to_have_text(told)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_in_both_themes_and_on_a_phone_axe_finds_no_fault(
    browser: Browser, three: Path, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 844}
    one = Opened(browser, three / "reports/index.html", viewport=size, color_scheme=scheme)
    assert one.said == []
    for part in one.page.locator("details").all():
        part.evaluate("part => part.open = true")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off"
    found = Axe().run(one.page).response["violations"]
    faults = [(f["id"], f["nodes"][0]["html"][:200]) for f in found if f["impact"] in ("serious", "critical")]
    assert faults == []
    one.page.context.close()


def test_printed_it_is_black_on_white_and_no_wider_than_paper(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 1032, "height": 700})  # A4 across, less its margins
    look = "getComputedStyle(document.body)"
    white = page.evaluate(f"[{look}.color, {look}.backgroundColor]")
    assert white == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert not any(page.locator(what).first.is_visible() for what in ("nav", ".menu", "#explore-more"))
    assert page.locator(".opening [data-chart] svg").is_visible()
    wide = (
        "[...document.querySelectorAll('table')].filter(t => t.offsetParent && t.scrollWidth > 1032).length"
    )
    assert page.evaluate(wide) == 0
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") > 3
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_hostile_caption_is_text(browser: Browser, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Opened(browser, run(copy, monkeypatch) / "index.html")
    assert one.said == []
    assert EVIL in one.page.locator("#gallery figure").first.inner_text()
    one.page.context.close()


def test_without_scripts_all_tables_are_there_and_where_the_charts_lie(browser: Browser, three: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((three / "reports/index.html").as_uri())
    said = page.locator("noscript").inner_text()
    assert "The charts of this page are drawn by its script." in said
    for folder, suffix in (("figures", "svg"), ("charts", "csv")):
        assert f"{folder} as {suffix.upper()}" in said
    assert page.locator("table").count() > 10
    page.context.close()
