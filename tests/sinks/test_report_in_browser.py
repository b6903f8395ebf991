"""The trend report in a real browser: nothing fetched, nothing broken, nothing wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import knowledge
from pipelines.sinks import report, snapshot
from tests import made
from tests.peers.chromium import Page, browser

_WIDTH = "document.documentElement.scrollWidth"
_SHOWN = "[...document.images].map(image => image.naturalWidth)"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw(tmp_path_factory.mktemp("drawn"), 2_000)


def _draw(folder: Path, reports: int) -> Path:
    settings = made.settings(folder)
    with made.warehouse(settings, made.rows(reports) if reports else None) as warehouse:
        snapshot.build(settings, warehouse, knowledge.names(settings), made.NOW)
    return report.draw(settings, made.NOW)


@pytest.mark.parametrize(("width", "picture"), [(1280, 960), (400, 350), (320, 350)])
def test_the_report_fits_the_screen_and_asks_for_nothing(drawn: Path, page: Page, width: int, picture: int) -> None:
    page.open(drawn, width=width)
    assert page.ask(_WIDTH) == width
    assert page.ask(_SHOWN) == [picture] * 8
    assert [address for address in page.requests if not address.startswith("data:")] == [drawn.as_uri()]
    assert page.said == []


def test_folded_figures_open_without_widening_the_page(drawn: Path, page: Page) -> None:
    page.open(drawn, width=400)
    page.ask("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.ask(_WIDTH) == 400
    assert page.ask("document.querySelectorAll('details table tbody tr').length") == 7


def test_the_report_prints_on_a_few_pages(drawn: Path, page: Page, tmp_path: Path) -> None:
    page.open(drawn, width=1280)
    paper = tmp_path / "report.pdf"
    page.print(paper)
    pages = paper.read_bytes().count(b"/Type /Page\n")
    assert 4 <= pages <= 8


def test_the_empty_report_is_a_page_too(page: Page, tmp_path: Path) -> None:
    page.open(_draw(tmp_path, 0), width=400)
    assert page.ask(_WIDTH) == 400
    assert page.ask("document.querySelector('h2').textContent") == "Belum ada laporan"
    assert page.said == []
