"""docs/data-dictionary.md, generated: every table that Kanal stores and every column's meaning.

Belongs here: how descriptions become a page. Not here: descriptions; they stand with the shapes
(contracts, sinks.crm, sinks.mart_rows, sinks.marts). To write the page anew:

    python -m pipelines.dictionary > docs/data-dictionary.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import pyarrow as pa

from pipelines.contracts import (
    BIG,
    BOOL,
    BYTES,
    DAY,
    INT,
    KEYS,
    LANDED,
    REAL,
    TEXT,
    TEXTS,
    TIME,
    WAREHOUSE,
    describe,
    is_run_column,
)
from pipelines.sinks import crm
from pipelines.sinks.mart_rows import KEPT_BACK, ROWS, Mart
from pipelines.sinks.marts import FIGURES

_TYPES = {
    TEXT: "text",
    INT: "integer",
    BIG: "integer, 64 bits",
    REAL: "number",
    BOOL: "true or false",
    DAY: "day",
    TIME: "time, UTC",
    BYTES: "bytes",
    TEXTS: "list of texts",
    pa.list_(INT): "list of integers",
    pa.list_(BIG): "list of integers, 64 bits",
    pa.list_(REAL): "list of numbers",
}

_HEAD = """\
# Data dictionary

Generated from the code by `python -m pipelines.dictionary`; a test holds it to that. Edit the descriptions where the
shapes are defined, never here.

Times are UTC with microseconds; days, weeks and months are Jakarta's. In landing, warehouse and CRM store a column that
may be empty says so. *Run* columns say how and when a row was made, not what it means, and are left out when tables are
compared.

| where | what | who reads it |
|---|---|---|
"""

_ROOMS = (
    ("Landing", "landing/*/*/*/*.parquet", "Kanal alone: verbatim messages, personal data"),
    ("Warehouse", "warehouse.duckdb", "Kanal alone: a reader would block the writer"),
    ("CRM store", "crm.duckdb or PostgreSQL", "the CRM"),
    ("Snapshot, row by row", "analytics.duckdb", "analysts"),
    ("Snapshot, figures", "analytics.duckdb", "analysts, the trend report"),
)


def render() -> str:
    """The whole page, Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD + "\n".join(f"| [{room}](#{_anchor(room)}) | `{where}` | {who} |" for room, where, who in _ROOMS)
    landing, warehouse, store, rows, figures = (room for room, _, _ in _ROOMS)
    yield f"\n## {landing}\n"
    yield from _table("landed", LANDED)
    yield f"## {warehouse}\n"
    for name, schema in WAREHOUSE.items():
        yield from _table(name, schema, key=KEYS[name])
    yield f"## {store}\n"
    for name, schema in crm.TABLES.items():
        yield from _table(name, schema)
    yield f"## {rows}\n"
    yield "Columns of the warehouse that stay there: " + ", ".join(f"`{c}`" for c in sorted(KEPT_BACK)) + ".\n"
    yield from _marts(ROWS)
    yield f"## {figures}\n"
    yield from _marts(FIGURES)


def _marts(marts: Mapping[str, Mart]) -> Iterator[str]:
    for name, mart in marts.items():
        yield from _table(name, mart.schema, null=False)
        if mart.trace:
            keys = ", ".join(f"`{key}`" for key in mart.trace)
            yield f"Back to the reports: `kanal trace {name} --where key=value`, keys {keys}.\n"


def _table(name: str, schema: pa.Schema, *, key: tuple[str, ...] = (), null: bool = True) -> Iterator[str]:
    yield f"### {name}\n"
    yield (schema.metadata or {}).get(b"description", b"").decode() + "\n"
    if key:
        yield f"Key: {', '.join(f'`{c}`' for c in key)}.\n"
    yield "| column | type | meaning |\n|---|---|---|"
    for field in schema:
        notes = [_TYPES[field.type]]
        if null and field.nullable:
            notes.append("may be empty")
        if is_run_column(field):
            notes.append("run")
        yield f"| `{field.name}` | {'; '.join(notes)} | {describe(field).replace('|', chr(92) + '|')} |"
    yield ""


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    sys.stdout.write(render())
