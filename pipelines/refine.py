"""Landed messages -> reports, per message and in parallel: decode, then the transforms in their order.

Belongs here: calling each step, and sorting out what a message became when a step set it aside.
Not here: judging (transforms), storing (sinks), linking (load), which need the recorded order.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import orjson
import pandas as pd
import pyarrow as pa

from pipelines import __version__, classifiers, learn
from pipelines import knowledge as known
from pipelines.contracts import (
    REPORTS,
    TRAITS,
    VAULT,
    Draft,
    Message,
    Source,
    Stream,
    column,
    report_id_of,
    to_frame,
    to_table,
)
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.settings import Settings
from pipelines.transforms import blocks, reading, traits
from pipelines.transforms.classify import Classifier, classify
from pipelines.transforms.emergency import Likeness
from pipelines.transforms.learned import Learned
from pipelines.transforms.locate import locate
from pipelines.transforms.normalise import normalise
from pipelines.transforms.redact import redact
from pipelines.transforms.route import route

_CHUNK = 2_000  # messages a task: enough for the vectorised steps, small enough to share evenly


# What linking asks of a report, made here because nothing of it depends on other reports.
LINKING = pa.schema(
    [
        *TRAITS,
        ("cites", pa.list_(pa.string())),
        ("own_keys", pa.list_(pa.int64())),
        ("probe_keys", pa.list_(pa.int64())),
    ]
)
_PLACED = pa.schema([*REPORTS, pa.field("place", pa.int64()), *LINKING])
VAULT_PLACED = VAULT.append(pa.field("place", pa.int64()))


class Refined(NamedTuple):
    """reports: contracts.REPORTS rows (arrival and version_no still 0) with `place` (row of the
    input) and the columns LINKING; vault: contracts.VAULT with `place`; aside: (place, outcome, stage,
    reason); events: (place, event)."""

    reports: pa.Table
    vault: pa.Table
    aside: list[tuple[int, str, str, str]]
    events: list[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Judge:
    """What refining needs besides the messages."""

    knowledge: known.Knowledge
    model: Classifier
    key: bytes
    versions: Mapping[str, str]
    learned: Learned | None = None
    alike: Likeness | None = None


@contextmanager
def judging(settings: Settings, key: bytes, *, messages: int) -> Iterator[Any]:
    """(knowledge, function (landed table, streams) -> Refined parts in order); with worker processes
    where there is enough to share."""
    classifiers.build(settings)
    if settings.workers == 1 or messages < 2 * _CHUNK:
        judge = make_judge(settings, key)
        yield judge.knowledge, partial(_refine_here, judge)
        return
    # Fork after the model is loaded would be cheaper, but DuckDB and Dagster threads are alive by now.
    context = get_context("forkserver")
    context.set_forkserver_preload(["pipelines.refine", "spacy", "pipelines.transforms.classifier"])
    with ProcessPoolExecutor(
        settings.workers, mp_context=context, initializer=_start_worker, initargs=(settings, key)
    ) as pool:
        yield known.load(settings), partial(_refine_pooled, pool)


def make_judge(settings: Settings, key: bytes) -> Judge:
    knowledge = known.load(settings)
    folder = classifiers.build(settings)
    versions = {"code": __version__, "model": folder.name, "data": knowledge.data_version}
    learned = learn.read(settings, knowledge.gazetteer)
    return Judge(knowledge, classifiers.load(folder), key, versions, learned, classifiers.likeness(settings))


def versions_of(settings: Settings) -> dict[str, str]:
    """Versions of code, model and data as they would judge now."""
    return {
        "code": __version__,
        "model": classifiers.version_in_use(settings),
        "data": known.load(settings).data_version,
    }


_worker: dict[str, Judge] = {}


def _start_worker(settings: Settings, key: bytes) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker["judge"] = make_judge(settings, key)


def _end_with_parent() -> None:
    """Workers of a process that was killed would wait for work for ever."""
    if parent := parent_process():
        wait([parent.sentinel])
        os._exit(1)


def _refine_in_worker(landed: pa.Table, streams: Mapping[tuple[str, str], Stream]) -> Refined:
    return refine(landed, streams, _worker["judge"])


def _refine_here(judge: Judge, landed: pa.Table, streams: Mapping[tuple[str, str], Stream]) -> Iterator[Refined]:
    for start in range(0, landed.num_rows, _CHUNK):
        yield refine(landed.slice(start, _CHUNK), streams, judge)


def _refine_pooled(
    pool: ProcessPoolExecutor, landed: pa.Table, streams: Mapping[tuple[str, str], Stream]
) -> Iterator[Refined]:
    """Begins at once, not when the first part is asked for: meanwhile others are linked."""
    # combine_chunks: a slice would be pickled with the whole table behind it
    chunks = [landed.slice(i, _CHUNK).combine_chunks() for i in range(0, landed.num_rows, _CHUNK)]
    return pool.map(_refine_in_worker, chunks, [streams] * len(chunks))


def source_of(name: str) -> Source:
    """The module of sources/ that a stream names."""
    return importlib.import_module(f"pipelines.sources.{name}")


def refine(landed: pa.Table, streams: Mapping[tuple[str, str], Stream], judge: Judge) -> Refined:
    """Decode and judge each message.

    landed: contracts.LANDED columns plus channel, stream, sequence, row and `place`. streams:
    (channel, stream) -> Stream with the options decode needs. Never raises for one message's sake.
    """
    drafts: list[Draft] = []
    kept: list[dict[str, Any]] = []
    aside: list[tuple[int, str, str, str]] = []
    events: list[tuple[int, dict[str, Any]]] = []
    for row in landed.to_pylist():
        stream = streams[row["channel"], row["stream"]]
        try:
            if row["problem"]:
                raise RejectedMessage(row["problem"], stage="pull")
            message = _message(row)
            source = source_of(stream.source)
            if hasattr(source, "event"):  # what people did, not what citizens said
                events.append((row["place"], source.event(message)))
                continue
            draft = source.decode(message, stream)
            if offered := judge.knowledge.spam.of(draft.title, draft.text):
                raise FilteredMessage("spam", offered)
            drafts.append(draft)
        except RejectedMessage as error:
            aside.append((row["place"], "quarantined", error.stage, error.reason))
        except FilteredMessage as error:
            aside.append((row["place"], "filtered", "decode", str(error)))
        else:
            kept.append(row)
    if not drafts:
        return Refined(_PLACED.empty_table(), VAULT_PLACED.empty_table(), aside, events)
    frame, vault = _judge(_draft_frame(drafts, kept), judge)
    places = pa.array([row["place"] for row in kept], type=pa.int64())
    knowledge = judge.knowledge
    linking = for_linking(frame, knowledge)
    reports = pa.table([*to_table(frame, REPORTS).columns, places, *linking.columns], schema=_PLACED)
    contacts = pa.table([*to_table(vault, VAULT).columns, places.take(pa.array(vault.index))], schema=VAULT_PLACED)
    return Refined(reports, contacts, aside, events)


def for_linking(reports: pa.Table | pd.DataFrame, knowledge: known.Knowledge) -> pa.Table:
    """The columns LINKING of reports (contracts.REPORTS), in their order."""
    found = reading.traits(
        reports, groups=knowledge.taxonomy.groups, areas=knowledge.gazetteer.folded, matching=knowledge.matching
    )
    keys = blocks.keys_of(traits.traits_of(found, knowledge.matching))
    lists = (
        pa.ListArray.from_arrays(pa.array(k.start.astype("int32")), pa.array(k.values)) for k in (keys.own, keys.probes)
    )
    return pa.table([*found.columns, reading.cited(reports), *lists], schema=LINKING)


def _message(row: Mapping[str, Any]) -> Message:
    return Message(
        row["source_ref"],
        row["version"],
        row["payload"],
        row["payload_type"],
        row["fetched_at"],
        row["occurred_at"],
        row["edited_at"],
        row["origin"],
    )


_PLAIN = [f.name for f in fields(Draft) if f.name not in ("attachments", "extra", "occurred_at")]
_DRAFT_TYPES = {"lat": pa.float64(), "lon": pa.float64(), "accuracy_m": pa.float64(), "private": pa.bool_()}


def _draft_frame(drafts: list[Draft], rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Drafts with their messages' identity and times, as an Arrow-backed frame."""
    data: dict[str, pa.Array] = {
        name: pa.array([getattr(d, name) for d in drafts], type=_DRAFT_TYPES.get(name, pa.string())) for name in _PLAIN
    }
    for name in ("channel", "stream", "source_ref", "version"):
        data[name] = pa.array([r[name] for r in rows], type=pa.string())
    data["sequence"] = pa.array([r["sequence"] for r in rows], type=pa.int64())
    data["row"] = pa.array([r["row"] for r in rows], type=pa.int32())
    data["fetched_at"] = pa.array([r["fetched_at"] for r in rows], type=REPORTS.field("occurred_at").type)
    data["edited_at"] = pa.array(
        [sane(r["edited_at"], r["fetched_at"]) for r in rows], type=REPORTS.field("edited_at").type
    )
    data["occurred_at"] = pa.array(
        [sane(d.occurred_at or r["occurred_at"], r["fetched_at"]) for d, r in zip(drafts, rows, strict=True)],
        type=REPORTS.field("occurred_at").type,
    )
    data["report_id"] = pa.array(
        [report_id_of(r["channel"], r["stream"], r["source_ref"]) for r in rows], type=pa.string()
    )
    data["attachments"] = pa.array([orjson.dumps(d.attachments).decode() for d in drafts], type=pa.string())
    data["attachment_count"] = pa.array([len(d.attachments) for d in drafts], type=pa.int32())
    data["extra"] = pa.array([_extra(d) for d in drafts], type=pa.string())
    return to_frame(pa.table(data))


def sane(said: datetime | None, fetched: datetime) -> datetime | None:
    """A time the source claims, unless it lies before 2000 or more than a day ahead of the fetch."""
    if said is None or said.year < 2000 or (said - fetched).total_seconds() > 86_400:
        return None
    return said.astimezone(UTC)


def _extra(draft: Draft) -> str:
    extra = dict(draft.extra)
    if draft.accuracy_m is not None:
        extra["accuracy_m"] = draft.accuracy_m
    return orjson.dumps(extra, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _judge(drafts: pd.DataFrame, judge: Judge) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The transforms, in order, and the columns that ride along."""
    knowledge = judge.knowledge
    clean = normalise(drafts, languages=knowledge.languages)
    masked, vault = redact(clean, key=judge.key)
    classified = classify(masked, model=judge.model, taxonomy=knowledge.taxonomy, thresholds=knowledge.thresholds)
    located = locate(classified, gazetteer=knowledge.gazetteer, learned=judge.learned)
    routed = route(located, routing=knowledge.routing, accept_place=knowledge.accept_place, alike=judge.alike)
    return routed.assign(
        version_no=0,
        arrival=0,
        received_at=routed["fetched_at"],
        text_key=[reading.text_key(t) for t in column(routed, "text")],
        code_version=judge.versions["code"],
        model_version=judge.versions["model"],
        data_version=judge.versions["data"],
    ), vault
