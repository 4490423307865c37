"""Test the page in a real browser: it works, is accessible, and escapes untrusted text."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from lxml import html
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

from certhash.judgement.causes import CAUSES, is_typed
from certhash.judgement.document import FINDINGS, Capture
from certhash.report import render

from . import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from certhash.judgement.document import Document

    Opened = Callable[..., Page]

QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "missing: apt-get install chromium"
    arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else list(QUIET)
    with ExitStack() as stack:
        try:
            playwright = stack.enter_context(sync_playwright())
            browser = stack.enter_context(playwright.chromium.launch(executable_path=program, args=arguments))
        except Exception as error:  # noqa: BLE001 - a library of playwright's driver may be missing, say
            pytest.fail(f"no browser could be started: {error}", pytrace=False)
        yield browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes the page of a document once."""
    folder = tmp_path_factory.mktemp("pages")

    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            path.write_text(render(getattr(documents, name)(), "html"), encoding="utf-8")
        return path

    return write


@pytest.fixture
def opened(browser: Browser, page_file: Callable[[str], Path]) -> Iterator[Opened]:
    """Return a function that opens a page; at the end, check that it caused no error and no request."""
    complaints: list[str] = []
    loaded: list[str] = []
    contexts = []

    def open_page(name: str, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfinished", lambda request: loaded.append(request.url))
        page.goto(page_file(name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert all(url.startswith("file:") and url.endswith(".html") for url in loaded)


def _visible_rows(page: Page, table: str) -> list[str]:
    page.locator(f"#{table}").scroll_into_view_if_needed()  # the browser lays out only what is necessary
    rows = page.locator(f"#{table} tbody tr")
    for _ in range(100):  # and only when it is scrolled into view
        if any(texts := rows.all_inner_texts()):
            break
        page.wait_for_timeout(100)
    return texts


def test_shows_the_state_of_the_estate_first(opened: Opened, everything: Document) -> None:
    page = opened("everything")
    assert page.inner_text("h1") == "9 phones of 13 do not trust the head-end"
    cards = page.locator(".cards li").all_inner_texts()
    for card, verdict in zip(cards, ("mismatch", "rejected", "unverifiable", "unseen", "match"), strict=True):
        assert card.split()[0] == str(getattr(everything.summary, verdict))
        assert verdict in card


def test_every_finding_has_its_evidence_its_ladder_and_its_lines(
    opened: Opened, everything: Document
) -> None:
    page = opened("everything")
    articles = page.locator("article.finding")
    findings = [each for each in everything.expectations if each.verdict in FINDINGS]
    assert articles.count() == len(findings)
    handshakes = {each.id: each for each in everything.handshakes}
    for index in range(articles.count()):
        article = articles.nth(index)
        device = article.locator("h3 .foreign").first.inner_text()
        (finding,) = [each for each in findings if each.device == device]
        decided = handshakes[finding.decided_by or ""]
        ladder = article.locator("svg[role=img]").text_content() or ""
        for certificate in decided.certificates:
            assert certificate.sha1 in ladder
            assert certificate.sha1 in article.locator(".compare").inner_text()
            same = "expected" if certificate.sha1 == finding.matched else "not expected"
            assert f"{certificate.position}: {certificate.sha1} {same}" in ladder
        for alert in decided.alerts:
            assert f"{alert.name} ({alert.code}), frame {alert.frame}, {alert.time}" in ladder
        assert f"frame {decided.frame}" in ladder
        if finding.download:
            assert f"frame {finding.download.frame}, {finding.download.time}" in ladder
            assert finding.hashes[0].value in ladder
        typed = "\n".join(article.locator("pre").all_inner_texts())
        for line in finding.advice:
            assert not is_typed(line) or line[2:] in typed


def test_time_flows_down_the_ladder_and_arrows_point_where_messages_went(opened: Opened) -> None:
    svg = opened("everything").locator("article.finding svg[role=img]").first
    steps = svg.locator("g.step")
    drawn = []
    for index in range(steps.count()):
        line = steps.nth(index).locator("line")
        x1, x2, y = (float(line.get_attribute(name) or "nan") for name in ("x1", "x2", "y1"))
        drawn.append((steps.nth(index).text_content() or "", x1 < x2, y))
    heights = [y for _, _, y in drawn]
    assert heights == sorted(set(heights))
    directions = {text.split()[0].strip(): right for text, right, _ in drawn}
    assert directions == {
        "SEP00AABBCC0000's": False,
        "ClientHello,": True,
        "Certificate,": False,
        "fatal": True,
    }


def test_the_timeline_tells_when_the_hash_changed_and_who_holds_the_old_one(opened: Opened) -> None:
    page = opened("estate")
    head_end = page.locator("article.head-end", has_text="10.201.0.1:443")
    assert head_end.locator(".change").count() == 1
    old, new = documents.base64_sha1("old-0"), documents.base64_sha1("new-0")
    assert head_end.locator(".change code").all_inner_texts() == [old, new]
    rows = head_end.locator("tbody tr")
    assert [rows.nth(index).locator("code").first.inner_text() for index in (0, 1)] == [old, new]
    assert "50 devices" in rows.nth(0).inner_text()
    assert "1,200 devices" in rows.nth(1).inner_text()


def test_searches_filters_and_sorts(opened: Opened, everything: Document) -> None:
    page = opened("everything")
    assert len(_visible_rows(page, "matrix")) == 13
    form = page.locator("form[data-for=matrix]")
    form.locator("input").fill("stale aabbcc")
    (row,) = _visible_rows(page, "matrix")
    assert row.startswith("SEP00AABBCC0000")
    assert form.locator("output").inner_text() == "1 of 13"
    form.locator("input").fill("")
    form.locator("select").select_option("rejected")
    assert len(_visible_rows(page, "matrix")) == everything.summary.rejected
    form.locator("select").select_option("")
    device = page.locator("#matrix thead th", has_text="Device")
    device.locator("button").click()
    names = [row.split()[0] for row in _visible_rows(page, "matrix")]
    assert names == sorted(names)
    assert device.get_attribute("aria-sort") == "ascending"
    device.locator("button").press("Enter")
    assert [row.split()[0] for row in _visible_rows(page, "matrix")] == names[::-1]
    page.locator("details.all summary").click()
    page.locator("#all thead th", has_text="Verdict").locator("button").click()
    verdicts = [row.split()[1] for row in _visible_rows(page, "all")]
    assert verdicts == sorted(verdicts, key=["mismatch", "rejected", "unverifiable", "unseen", "match"].index)


def test_search_finds_any_of_thousands_of_devices_though_few_rows_are_shown(opened: Opened) -> None:
    page = opened("estate")
    assert len(_visible_rows(page, "matrix")) == 300
    form = page.locator("form[data-for=matrix]")
    form.locator("input").fill("SEP001F6C001387")  # the last of all
    assert len(_visible_rows(page, "matrix")) == 1
    form.locator("input").fill("")
    form.locator("select").select_option("mismatch")
    assert form.locator("output").inner_text() == "100 of 5,000"
    form.locator("select").select_option("")
    form.locator("button").click()
    assert len(_visible_rows(page, "matrix")) == 5000


def test_copies_filters_and_lines(opened: Opened) -> None:
    page = opened("everything", permissions=["clipboard-read", "clipboard-write"])
    article = page.locator("article.finding").first
    article.locator(".compare button", has_text="filter").first.click()
    new = documents.base64_sha1("vpn.example.com")
    assert page.evaluate("navigator.clipboard.readText()") == f'certhash.sha1 == "{new}"'
    assert page.inner_text("#said") == "Copied"
    article.locator(".typed button").first.click()
    lines = [line[2:] for line in CAUSES["stale-hash"].advice if is_typed(line)]
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(lines)


def test_copies_where_the_page_has_no_right_to_the_clipboard(opened: Opened) -> None:
    page = opened("everything", permissions=["clipboard-read"])
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    page.locator(".typed button").first.click()
    assert page.inner_text("#said") == "Copied"
    assert page.evaluate("navigator.clipboard.readText()").startswith("telephony-service\n")


@pytest.mark.parametrize("name", ["everything", "hostile"])
def test_holds_the_whole_json(
    name: str, opened: Opened, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = opened(name)
    expected = json.loads(render(request.getfixturevalue(name), "json"))
    assert page.evaluate("JSON.parse(document.getElementById('result').textContent)") == expected
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "saved.json")
    assert json.loads((tmp_path / "saved.json").read_bytes()) == expected


def test_reads_without_its_script(opened: Opened, everything: Document) -> None:
    page = opened("everything", java_script_enabled=False)
    text = "".join(_visible_rows(page, "matrix"))
    for expectation in everything.expectations:
        assert expectation.device in text
    assert page.locator("button:visible, input:visible").count() == 0, "what needs the script is not there"
    page.locator("details.all summary").click()
    assert page.locator("#all tbody tr").first.is_visible()


def test_without_its_script_all_devices_are_there(opened: Opened) -> None:
    page = opened("estate", java_script_enabled=False)
    assert page.locator("#matrix tbody tr").count() == 5000


def test_text_from_outside_adds_no_markup(opened: Opened, hostile: Document) -> None:
    page = opened("hostile")
    assert page.title() == "certhash: 18 phones of 18 do not trust the head-end"
    assert page.locator("script").count() == 2
    assert page.locator("main img, main iframe, main a").count() == 0
    assert page.locator("article.finding").count() == len(hostile.expectations)
    text = page.inner_text("body")
    assert "</script><script>document.title='owned'</script>" in text
    assert "\\u202egnp.exe" in text
    assert "{{ 7*7 }}{% raw %}${7*7}" in text
    assert "caf\\xe9.pcap" in text
    assert not {c for c in text if not c.isprintable() and c not in "\n\t"}


def test_the_policy_lets_no_other_script_run_nor_anything_be_fetched(
    opened: Opened, page_file: Callable[[str], Path], browser: Browser
) -> None:
    """Even text that is not escaped could do nothing."""
    source = page_file("everything").read_text(encoding="utf-8")
    broken = page_file("everything").with_name("broken.html")
    attack = "<script>document.title = 'owned'</script><img src='x' onerror=\"document.title = 'owned'\">"
    broken.write_text(source.replace("</main>", f"{attack}</main>"), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    requests: list[str] = []
    page.on("requestfinished", lambda request: requests.append(request.url))
    page.goto(broken.as_uri())
    assert page.title().startswith("certhash")
    assert requests == [broken.as_uri()]
    context.close()
    assert opened("everything").title().startswith("certhash")


CONTRAST = "color-contrast"
WITHOUT_CONTRAST = {"rules": {CONTRAST: {"enabled": False}}}


@pytest.mark.parametrize(
    ("scheme", "width", "rules"),
    [
        pytest.param("light", 1280, {}, id="light"),
        pytest.param("light", 390, WITHOUT_CONTRAST, id="narrow"),  # no colour depends on the width
        pytest.param("dark", 1280, {"runOnly": [CONTRAST]}, id="dark"),  # and nothing else on the scheme
    ],
)
@pytest.mark.parametrize("name", ["everything", "hostile"])
def test_is_accessible(name: str, scheme: str, width: int, rules: dict[str, object], opened: Opened) -> None:
    page = opened(name, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    results = Axe().run(page, options={"resultTypes": ["violations"], **rules})
    found = [
        (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in results.response["violations"]
    ]
    assert not found


def test_follows_the_scheme_of_the_reader(opened: Opened) -> None:
    def ground(scheme: str) -> str:
        page = opened("everything", color_scheme=scheme)
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = ground("light"), ground("dark")
    assert light != dark


@pytest.mark.parametrize("width", [320, 390, 800, 1600])
@pytest.mark.parametrize("name", ["everything", "hostile"])
def test_a_narrow_screen_scrolls_tables_and_not_the_page(name: str, width: int, opened: Opened) -> None:
    page = opened(name, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_works_by_keyboard(opened: Opened) -> None:
    page = opened("everything")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_prints_everything_and_no_controls(opened: Opened, tmp_path: Path) -> None:
    page = opened("branch")
    path = tmp_path / "page.pdf"
    page.pdf(path=path, format="A4")
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(path).pages)
    assert {each.device for each in documents.branch().expectations} <= set(text.replace("\n", " ").split())
    assert "Copy" not in text
    assert "Search" not in text
    assert page.locator("#matrix tbody tr").count() == 300, "after printing the page is as it was"


def test_prints_the_list_of_checks_instead_of_a_matrix_wider_than_paper(
    opened: Opened, tmp_path: Path
) -> None:
    page = opened("everything")
    assert page.locator("section.wide #matrix").count() == 1
    path = tmp_path / "page.pdf"
    page.pdf(path=path, format="A4")
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(path).pages)
    assert "Devices and head-ends" not in text
    assert "Explanation" in text, "the list is closed on the screen, and open on paper"
    assert not page.locator("details.all").evaluate("each => each.open")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without Chromium's margins
    assert page.evaluate("document.documentElement.scrollWidth") == 718


def test_every_link_and_label_leads_somewhere(opened: Opened) -> None:
    for name in ("everything", "hostile"):
        page = opened(name)
        ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), (each) => each.id)")
        assert len(ids) == len(set(ids))
        links = page.evaluate("Array.from(document.querySelectorAll('a'), (each) => each.hash.slice(1))")
        labels = page.evaluate(
            "Array.from(document.querySelectorAll('[aria-labelledby]'),"
            " (each) => each.getAttribute('aria-labelledby'))"
        )
        assert {*links, *labels} <= set(ids)


def test_remarks_about_captures_are_shown_if_there_are_any() -> None:
    noted = Capture("<i>.pcap", "complete", 3, None, ("read <b>again</b> as DTLS", "and once more"))
    failed = Capture("b.pcap", "unreadable", 0, "not a capture file")
    for captures, expected in (
        ((noted,), ["read <b>again</b> as DTLS; and once more"]),
        ((noted, failed), ["read <b>again</b> as DTLS; and once more", "not a capture file"]),
        ((Capture("c.pcap", "complete", 3, None),), []),
    ):
        page = html.fromstring(render(documents.document(captures=captures), "html"))
        coverage = page.find(".//section[@aria-labelledby='coverage']//table")
        assert coverage is not None
        head, *rows = (["".join(map(str, cell.itertext())) for cell in row] for row in coverage.iter("tr"))
        assert head == ["Capture", "Status", "Packets", *(["Remark"] if expected else [])]
        assert [text for row in rows for text in row[3:]] == expected


def test_an_empty_result_is_a_page_too(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(render(documents.document(captures=()), "html"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.inner_text("h1") == "Nothing to check"
    page.close()
