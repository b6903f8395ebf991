"""What Dagster shows of things: schemas from contracts, counts of a run. Never a message or a name."""

from __future__ import annotations

import ast
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from pipelines import sources
from pipelines.contracts import describe
from pipelines.flow import Progress, Pulled
from pipelines.outcomes import Loaded

_SAY_EVERY = 30.0  # seconds between lines of progress in the log

Metadata = dict[str, Any]


def table_schema(schema: pa.Schema, *, unique: Sequence[str] = ()) -> dg.TableSchema:
    """The schema with the descriptions of contracts, as Dagster shows columns."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                f.name,
                str(f.type),
                describe(f),
                dg.TableColumnConstraints(nullable=f.nullable, unique=f.name in unique and len(unique) == 1),
            )
            for f in schema
        ]
    )


def about(schema: pa.Schema) -> str:
    return (schema.metadata or {}).get(b"description", b"").decode()


def tables_of(schemas: Mapping[str, pa.Schema]) -> dg.TableMetadataValue:
    """Tables of a file, and what each holds."""
    return _table([{"table": name, "holds": about(schema)} for name, schema in schemas.items()])


def catalogue_entry(source: str) -> str:
    """Docstring of a source up to its options, read without importing it: that would cost a second a run."""
    text = Path(sources.__path__[0], f"{source}.py").read_text("utf-8")
    told = ast.get_docstring(ast.parse(text)) or ""
    return told.partition("\nOptions in kanal.toml")[0].strip()


def pulled_metadata(pulled: Sequence[Pulled], costs: Mapping[str, Mapping[str, Any]]) -> Metadata:
    """Counts of a landing run, in all and per stream; costs: today's of the streams that cost something."""
    rows = [
        {
            "stream": p.stream,
            "messages": p.messages,
            "batches": p.batches,
            "seconds": round(p.seconds, 2),
            "state": "stopped" if p.error else "done",
            "gaps": len(p.gaps),
            "reads_today": costs[p.stream]["posts"] + costs[p.stream]["owned"] if p.stream in costs else 0,
            "usd_today": costs[p.stream]["usd"] if p.stream in costs else 0.0,
        }
        for p in pulled
    ]
    return {
        "messages": sum(p.messages for p in pulled),
        "seconds": round(sum(p.seconds for p in pulled), 2),
        "streams": _table(rows),
        **({"reads_today": sum(r["reads_today"] for r in rows), "usd_today": _usd(rows)} if costs else {}),
        **({"gaps": "\n".join(g for p in pulled for g in p.gaps)} if any(p.gaps for p in pulled) else {}),
    }


def _usd(rows: Sequence[Mapping[str, Any]]) -> float:
    return round(sum(row["usd_today"] for row in rows), 6)


def loaded_metadata(loaded: Loaded) -> Metadata:
    """Counts of a load, in all and per stream."""
    rows = [{"stream": stream} | dict(counts) for stream, counts in sorted(loaded.streams.items())]
    names = ("messages", "reports", "repeats", "filtered", "quarantined", "events", "opened", "joined")
    stages = {f"seconds {stage}": round(seconds, 2) for stage, seconds in loaded.seconds.items()}
    return {name: getattr(loaded, name) for name in names} | stages | ({"streams": _table(rows)} if rows else {})


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])


def logged(context: dg.AssetExecutionContext) -> Progress:
    """Progress as a line in the run's log, every half minute of long work."""
    done: dict[str, int] = {}
    last = time.monotonic()

    def progress(what: str, steps: int, total: int | None) -> None:
        nonlocal last
        done[what] = done.get(what, 0) + steps
        if time.monotonic() - last >= _SAY_EVERY:
            last = time.monotonic()
            context.log.info("%s: %d of %s", what, done[what], total or "unknown")

    return progress
