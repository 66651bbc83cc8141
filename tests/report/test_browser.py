"""The page of the report in a real Chromium: drawn, quiet, harmless, and for everyone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from programs import needed
from report_helpers import EVIL, chromium

QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Where the machine has no Chromium tests are left out, but for those of CI."""
    missing = "no Chromium is here (apt-get install chromium, or CHROMIUM=PATH)"
    found = needed(chromium(), missing, "CI_BROWSER")
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


AGAIN = """
for (const body of document.querySelectorAll("tbody")) {
  const seen = new Set();
  for (const row of body.rows) {
    const bare = row.outerHTML.replace(/>[^<]*[^<\\s][^<]*</g, ">words<");
    row.toggleAttribute("data-again", seen.has(bare));
    seen.add(bare);
  }
}"""
COLOURS = ["color-contrast", "link-in-text-block"]  # rules


def serious(page: Page, part: str = "body", structure: bool = True) -> list[tuple[str, str]]:
    """Serious and critical faults that axe finds: of colours, and of whatever else, which no theme changes.

    Colours are most of its time. It looks for them at one row of each markup of a table, and not within
    charts, of whose texts it never can tell them.
    """
    page.evaluate(AGAIN)
    beside = {"include": [part], "exclude": ["svg", "[data-again]"]}
    brief = {"resultTypes": ["violations"]}
    found = Axe().run(page, beside, brief | {"runOnly": COLOURS}).response["violations"]
    if structure:
        others = {"rules": {name: {"enabled": False} for name in COLOURS}}
        found += Axe().run(page, part, brief | others).response["violations"]
    return [(f["id"], f["nodes"][0]["html"][:200]) for f in found if f["impact"] in ("serious", "critical")]


def test_groups_of_near_duplicates_follow_the_menu(
    browser: Browser, grouped: tuple[Path, dict[str, list[str]]]
) -> None:
    root, clusters = grouped
    size = {"width": 390, "height": 844}
    one = Opened(browser, root / "reports/index.html", viewport=size, color_scheme="dark")
    page, menu = one.page, one.page.locator("#explore-menu")
    count, heads = page.locator("#explore-count"), page.locator("#gallery h3")
    shown = page.locator("#gallery figure")
    assert heads.count() == 0
    assert page.get_by_text("one of 12 near-duplicates").count() > 0, "a pair that has copies says so"
    menu.get_by_label("Pairs").focus()
    page.keyboard.press("i")  # n groups of near-duplicates
    expect(count).to_contain_text("3 of 3 groups, 13 pairs; rating alchemist")
    sizes = [12, 3, 2]
    assert [int(head.split()[0]) for head in heads.all_inner_texts()] == sizes
    ids = [figure.get_attribute("title") for figure in shown.all()]
    assert set(ids[:8]) < set(clusters["large"])
    assert ids[8:] == [*ids[8:11], *clusters["mixed"]]
    assert set(ids[8:11]) == set(clusters["small"])
    left = shown.last.inner_text()
    assert "left out before rating: near copy" in left
    assert EVIL in left
    assert "1 left out before rating" in heads.last.inner_text()

    menu.get_by_label("Show").select_option("kept")
    expect(count).not_to_contain_text("13 pairs")
    kept = [int(re.findall(r"(\d+) kept", head)[0]) for head in heads.all_inner_texts()]
    assert min(kept) > 0, "a group of which nothing is to be shown is not there"
    assert all(words.startswith("kept: ") for words in shown.locator("span").all_inner_texts())
    assert page.get_by_text("left out before rating: near copy").count() == 0
    before = heads.all_inner_texts()
    menu.get_by_label("Subset").select_option("loss, 20\N{NO-BREAK SPACE}%")
    assert heads.all_inner_texts() != before
    menu.get_by_label("Show").select_option("kept and pruned")
    menu.get_by_label("Caption has").fill("left <script>")
    expect(count).to_contain_text("1 of 3 groups, 1 pair;")
    menu.get_by_label("Caption has").fill("")
    menu.locator("[name=high]").fill("50")
    ranks = [float(re.findall(r"\nrank ([\d.]+) %", words)[0]) for words in shown.all_inner_texts()]
    assert 0 < len(ranks) < 13
    assert max(ranks) <= 50
    menu.locator("[name=high]").fill("100")
    assert [*serious(page, "#explore-menu"), *serious(page, "#gallery")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    menu.get_by_label("Pairs").select_option("one by one")
    expect(count).to_contain_text("203 of 203 pairs")
    assert "dropped" not in [figure.get_attribute("title") for figure in shown.all()]
    assert one.said == []
    page.context.close()


def test_samples_follow_the_checkpoint_and_cells_without_one_show_none(opened: Opened) -> None:
    page = opened.page
    choice = page.locator("#samples").locator("xpath=following::form[1]").get_by_label("Checkpoint")
    seen, pictures = page.locator(".sheets .seen"), page.locator(".sheets img")
    last = [picture.get_attribute("src") for picture in pictures.all()]
    assert set(seen.all_inner_texts()) == {"12,000 images seen"}
    assert choice.input_value() == "12000"
    choice.focus()
    page.keyboard.press("ArrowUp")
    assert choice.input_value() == "9000"
    # The full data has no checkpoint before its last.
    assert seen.all_inner_texts() == ["not measured before 12,000 images", *["9,000 images seen"] * 15]
    assert [picture.is_visible() for picture in pictures.all()] == [False, *[True] * 15]
    at = [picture.get_attribute("src") for picture in pictures.all()]
    assert not set(at[1:]) & set(last)
    page.keyboard.press("ArrowUp")
    told = page.locator("#samples-count")
    assert choice.input_value() == "6000"
    # Subsets of 50 % were measured here, those of 20 % before: a checkpoint that is not above.
    assert sorted(set(seen.all_inner_texts())) == [
        "2,400 images seen", "6,000 images seen", "not measured before 12,000 images"
    ]  # fmt: skip
    assert told.inner_text() == (
        "Each cell at its last checkpoint until 6,000 images; 1 of 16 have none by then"
    )
    page.pdf()  # puts the last there for as long as it prints
    assert seen.first.inner_text() == "not measured before 12,000 images"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert [picture.get_attribute("src") for picture in pictures.all()] == last
    assert set(seen.all_inner_texts()) == {"12,000 images seen"}
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert seen.first.inner_text() == "not measured before 12,000 images"
    choice.select_option("12000")
    assert [picture.get_attribute("src") for picture in pictures.all()] == last
    assert opened.said == []


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
    assert serious(one.page, structure=width == 390) == []
    one.page.context.close()


def test_printed_it_is_black_on_white_and_no_wider_than_paper(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 1032, "height": 700})  # A4 across, less its margins
    look = "getComputedStyle(document.body)"
    white = page.evaluate(f"[{look}.color, {look}.backgroundColor]")
    assert white == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert not any(
        page.locator(what).first.is_visible() for what in ("nav", ".menu", "#explore-more", "#samples-count")
    )
    assert page.locator(".opening [data-chart] svg").is_visible()
    wide = (
        "[...document.querySelectorAll('table')].filter(t => t.offsetParent && t.scrollWidth > 1032).length"
    )
    assert page.evaluate(wide) == 0
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") > 3
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_hostile_caption_is_text(opened: Opened) -> None:
    assert opened.said == []
    assert EVIL in opened.page.locator("#gallery figure").first.inner_text()


def test_without_scripts_all_tables_are_there_and_where_the_charts_lie(browser: Browser, three: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((three / "reports/index.html").as_uri())
    said = page.locator("noscript").inner_text()
    assert "The charts of this page are drawn by its script." in said
    for folder, suffix in (("figures", "svg"), ("charts", "csv")):
        assert f"{folder} as {suffix.upper()}" in said
    assert page.locator("table").count() > 10
    assert not page.locator("#samples-menu").is_visible(), "what it would do nothing for"
    assert page.locator(".sheets img[src^='data:']").count() == 16
    assert set(page.locator(".sheets .seen").all_inner_texts()) == {"12,000 images seen"}
    page.context.close()
