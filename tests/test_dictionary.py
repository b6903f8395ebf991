"""The data dictionary in docs/ is what the code says."""

from __future__ import annotations

from pathlib import Path

from pipelines import dictionary
from pipelines.contracts import LANDED, WAREHOUSE
from pipelines.sinks import crm, marts

PAGE = Path(__file__).parent.parent / "docs" / "data-dictionary.md"


def test_the_page_on_disk_is_the_one_the_code_makes() -> None:
    same = PAGE.read_text("utf-8") == dictionary.render()
    assert same, "write it anew: python -m pipelines.dictionary > docs/data-dictionary.md"


def test_every_table_is_in_it_with_every_column_and_meaning() -> None:
    page = dictionary.render()
    schemas = {"landed": LANDED, **WAREHOUSE, **crm.TABLES, **{name: mart.schema for name, mart in marts.MARTS.items()}}
    for name, schema in schemas.items():
        assert f"\n### {name}\n" in page
        assert [f.name for f in schema if f"\n| `{f.name}` | " not in page] == []


def test_every_column_has_a_meaning() -> None:
    sections = dictionary.render().split("\n### ")
    rows = [
        line
        for section in sections
        if not section.startswith("delivery\n")
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 400
    assert [row for row in rows if not row.split(" | ")[-1].removesuffix("|").strip()] == []
