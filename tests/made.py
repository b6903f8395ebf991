"""A made-up half year of complaints, as rows of the warehouse. Invented words and people only.

`rows` gives what one entry of the order log would bring, of any size, the same for the same seed,
and true to every promise of the warehouse. Weekdays, a rainy season and a channel that falls
silent are in it, so that figures drawn from it look like figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.contracts import (
    ACTS,
    LEADER_KEYS,
    LEADERS,
    LEDGER,
    LINKS,
    MESSAGES,
    REPORT_VERSIONS,
    REPORTS,
    TICKET_EVENTS,
    TICKETS,
    VAULT,
    report_id_of,
    short_hash,
    ticket_id_of,
    ticket_no_of,
)
from pipelines.settings import Settings, default_models_dir
from pipelines.sinks.warehouse import Warehouse, open_warehouse

NOW = datetime(2026, 6, 15, 3, 0, tzinfo=UTC)
CANARY = "0812-0000-0042"  # in the vault and in source ids: must leave neither
_BATCH = 500
_WIB = ZoneInfo("Asia/Jakarta")

# channel -> (streams, weight)
_CHANNELS = {
    "jaki": (("utama",), 60),
    "twitter": (("dkijakarta",), 9),
    "email": (("dki",), 7),
    "lapor": (("ekspor",), 7),
    "facebook": (("pemprov",), 5),
    "sms": (("gateway",), 4),
    "kelurahan": (("selatan", "timur"), 4),
    "walikota": (("pusat",), 2),
    "pendopo": (("pagi",), 2),
}
# category -> (weight, agency, unit, what people write)
_CATEGORIES: dict[str | None, tuple[int, str, str, str]] = {
    "jalan": (
        16,
        "bina_marga",
        "Suku Dinas Bina Marga Kota Administrasi Jakarta Selatan",
        "Jalan berlubang cukup dalam",
    ),
    "parkir_liar": (
        13,
        "perhubungan",
        "Suku Dinas Perhubungan Kota Administrasi Jakarta Pusat",
        "Mobil parkir di badan jalan",
    ),
    "sampah": (
        11,
        "lingkungan_hidup",
        "Suku Dinas Lingkungan Hidup Kota Administrasi Jakarta Barat",
        "Sampah menumpuk dan bau",
    ),
    "pohon": (8, "pertamanan", "Suku Dinas Pertamanan dan Hutan Kota Jakarta Timur", "Dahan pohon hampir jatuh"),
    "penerangan_listrik": (
        8,
        "bina_marga",
        "Suku Dinas Bina Marga Kota Administrasi Jakarta Timur",
        "Lampu jalan mati",
    ),
    "saluran_air": (
        8,
        "sda",
        "Suku Dinas Sumber Daya Air Kota Administrasi Jakarta Barat",
        "Saluran mampet penuh lumpur",
    ),
    "ketertiban": (
        7,
        "satpol_pp",
        "Satuan Polisi Pamong Praja Kota Administrasi Jakarta Utara",
        "Suara musik keras sampai malam",
    ),
    "banjir": (
        6,
        "sda",
        "Suku Dinas Sumber Daya Air Kota Administrasi Jakarta Utara",
        "Air masuk ke rumah setinggi betis",
    ),
    "fasos_fasum": (5, "kelurahan", "Kelurahan", "Bangku taman warga rusak"),
    "pkl_liar": (5, "satpol_pp", "Satuan Polisi Pamong Praja Kota Administrasi Jakarta Pusat", "Lapak menutup trotoar"),
    "trotoar": (4, "bina_marga", "Suku Dinas Bina Marga Kota Administrasi Jakarta Pusat", "Ubin trotoar lepas"),
    "transportasi_publik": (4, "bp_bumd", "PT Transportasi Jakarta", "Bus lama datang di halte"),
    "air_bersih": (3, "bp_bumd", "Perumda Air Minum Jaya", "Air keran keruh dan kecil"),
    "dukcapil": (2, "dukcapil", "Suku Dinas Dukcapil Kota Administrasi Jakarta Timur", "Antrean KTP lama sekali"),
    None: (5, "kelurahan", "Kelurahan", "Mohon ditindaklanjuti segera"),
}
_STREETS = ("Jalan Kenanga", "Jalan Melati Raya", "Gang Mawar", "Jalan Cempaka", "Jalan Anggrek 2", "Gang Haji Pulo")


def settings(data_dir: Path, **changes: Any) -> Settings:
    """Settings over an empty data folder and the project's own models/."""
    given = {"path": data_dir / "kanal.toml", "models_dir": default_models_dir(), "streams": ()} | changes
    return Settings(data_dir=data_dir, **given)


@contextmanager
def warehouse(made: Settings, rows_: Mapping[str, pa.Table] | None) -> Iterator[Warehouse]:
    """An open warehouse holding `rows_`; None: empty, or as it was left."""
    with open_warehouse(made.warehouse) as opened:
        if rows_ is not None:
            opened.write(rows_)
        yield opened


def rows(
    reports: int = 3_000,
    *,
    seed: int = 20260615,
    until: datetime = NOW,
    days: int = 185,
    entry: int = 0,
) -> dict[str, pa.Table]:
    """Rows for Warehouse.write. Each entry has its own messages, and landing files that follow those before."""
    rng = np.random.default_rng(seed + entry)
    landed = _landed(reports, rng, until, days, entry)
    said = landed[landed["outcome"] == "report"].reset_index(drop=True)
    _judge(said, rng)
    leader = _leaders(said, rng)
    links = _links(said, leader)
    tickets, history = _tickets(said, leader, rng, until)
    vault = said.iloc[::40]
    return {
        "ledger": _ledger(landed, links, said, entry),
        "messages": _table(landed, MESSAGES),
        "reports": _table(said, REPORTS),
        "vault": _table(
            pd.DataFrame({"report_id": vault["report_id"], "author_name": "Warga Contoh", "phone": CANARY}), VAULT
        ),
        "links": _table(links, LINKS),
        "tickets": _table(tickets, TICKETS),
        "ticket_events": _table(history, TICKET_EVENTS),
        "report_versions": REPORT_VERSIONS.empty_table(),
        "acts": ACTS.empty_table(),
        "leaders": LEADERS.empty_table(),
        "leader_keys": LEADER_KEYS.empty_table(),
    }


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Columns that a frame lacks are null."""
    nulls = len(frame)
    columns = [
        pa.array(frame[f.name], type=f.type, from_pandas=True) if f.name in frame else pa.nulls(nulls, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _landed(reports: int, rng: np.random.Generator, until: datetime, days: int, entry: int) -> pd.DataFrame:
    """Every message in recorded order, with what became of it."""
    n = reports + reports // 12
    start = until - timedelta(days=days)
    day = np.sort(rng.choice(days, n, p=_day_weights(days, start)))
    hour = rng.choice(
        24, n, p=np.array([1, 1, 1, 1, 2, 4, 8, 10, 10, 9, 8, 7, 7, 7, 7, 7, 8, 8, 9, 9, 8, 6, 3, 2]) / 143
    )
    at = (
        pd.to_datetime(start, utc=True)
        + pd.to_timedelta(day, "D")
        + pd.to_timedelta(hour * 3600 + rng.integers(3600, size=n), "s")
    )
    at = at.where(at < until, pd.Timestamp(until) - pd.Timedelta(minutes=5)).sort_values()
    ids = list(_CHANNELS)
    weights = np.array([w for _, w in _CHANNELS.values()], float)
    channel = np.array(ids, object)[rng.choice(len(ids), n, p=weights / weights.sum())]
    # The desk of the pendopo falls silent in the last month.
    channel[(channel == "pendopo") & (at > until - timedelta(days=30))] = "jaki"
    stream = [_CHANNELS[c][0][i % len(_CHANNELS[c][0])] for i, c in enumerate(channel)]
    aside = np.full(n, "report", object)
    aside[rng.permutation(n)[: n - reports]] = rng.choice(
        ["filtered", "quarantined", "repeat"], n - reports, p=[0.6, 0.25, 0.15]
    )
    frame = pd.DataFrame({"channel": channel, "stream": stream, "occurred_at": at, "outcome": aside})
    number = frame.groupby(["channel", "stream"]).cumcount()
    frame["sequence"], frame["row"] = entry * 10_000 + number // _BATCH, number % _BATCH
    frame["source_ref"] = [f"{CANARY}-{entry}-{i}" for i in range(n)]
    frame["version"] = "1"
    frame["report_id"] = [report_id_of(*k) for k in zip(channel, stream, frame["source_ref"], strict=True)]
    frame["stage"] = frame["outcome"].map({"filtered": "decode", "quarantined": "decode"})
    reasons = np.array(
        ["Baris tidak punya isi laporan.", "Tanggal tidak terbaca.", "Berkas rusak dan tidak bisa dibuka."], object
    )
    frame["reason"] = np.where(
        aside == "quarantined", reasons[np.arange(n) % 3], np.where(aside == "filtered", "own_reply", None)
    )
    frame["arrival"] = np.arange(n)
    frame["received_at"] = frame["occurred_at"] + pd.Timedelta(minutes=4)
    frame["landed_day"] = frame["received_at"].dt.tz_convert(_WIB).dt.date
    return frame


def _day_weights(days: int, start: datetime) -> np.ndarray:
    dates = [start + timedelta(days=i) for i in range(days)]
    weekday = np.array([1.15, 1.1, 1.05, 1.0, 0.95, 0.7, 0.55])[[d.weekday() for d in dates]]
    weights = weekday * np.linspace(0.9, 1.25, days)
    return weights / weights.sum()


def _judge(said: pd.DataFrame, rng: np.random.Generator) -> None:
    n = len(said)
    keys = list(_CATEGORIES)
    weights = np.tile(np.array([float(w) for w, *_ in _CATEGORIES.values()]), (13, 1))
    weights[[1, 2, 12], keys.index("banjir")] *= 3  # the rain of December to February
    weights /= weights.sum(axis=1, keepdims=True)
    month = said["occurred_at"].dt.month.to_numpy()
    choice = (weights.cumsum(axis=1)[month] < rng.random(n)[:, None]).sum(axis=1).clip(max=len(keys) - 1)
    category = [keys[i] for i in choice]
    areas = pd.read_csv(default_models_dir() / "gazetteer" / "kelurahan.csv", dtype=str)
    pick = (len(areas) * rng.random(n) ** 1.7).astype(int)
    placed = rng.random(n) < 0.86
    for level in ("kelurahan_code", "kecamatan_code", "kota_code"):
        said[level] = np.where(placed, areas[level].to_numpy(object)[pick], None)
    said["lat"] = np.where(placed, areas["lat"].astype(float).to_numpy()[pick], np.nan)
    said["lon"] = np.where(placed, areas["lon"].astype(float).to_numpy()[pick], np.nan)
    said["place_method"], said["place_confidence"] = np.where(placed, "named", "none"), np.where(placed, 0.9, 0.0)
    number = rng.integers(1, 16, n)
    said["address_text"] = [f"{_STREETS[i % len(_STREETS)]} RT {i:03d} RW 004" for i in number]
    said["text"] = [
        f"{_CATEGORIES[c][3]} di {a}, sudah {i} hari. Telepon [TELEPON]."
        for c, a, i in zip(category, said["address_text"], number, strict=True)
    ]
    said["category"] = category
    said["agency_id"] = [_CATEGORIES[c][1] for c in category]
    said["unit"] = [_CATEGORIES[c][2] for c in category]
    sure = np.array([c is not None for c in category])
    said["category_confidence"] = np.where(sure, 0.8, 0.2)
    said["category_source"] = np.where(sure, "model", "none")
    said["kind"] = np.where(
        rng.random(n) < 0.015, "appreciation", np.where(rng.random(n) < 0.1, "question", "complaint")
    )
    said["review_reason"] = np.where(sure, np.where(placed, None, "lokasi_tidak_ada"), "kategori_tidak_yakin")
    said["emergency"] = rng.random(n) < 0.02
    said["emergency_rule"] = np.where(said["emergency"], "kebakaran", None)
    said["private"] = (said["channel"] == "jaki") & (rng.random(n) < 0.5)
    said["author_key"] = [f"{i:016x}" for i in rng.integers(1 << 40, size=n)]
    said["completeness"], said["kind_confidence"] = 0.8, 0.9
    fixed = {
        "version_no": 1,
        "language": "id",
        "agency_source": "rule",
        "agency_confidence": 0.78,
        "route_rule": "umum",
        "intake_unit": "Admin kanal",
        "attachments": "[]",
        "attachment_count": 0,
        "extra": "{}",
        "code_version": "0.1.0",
        "model_version": "m1",
        "data_version": "d1",
    }
    for name, value in fixed.items():
        said[name] = value


def _leaders(said: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Row of the report that opened each report's ticket; -1 for thanks."""
    n = len(said)
    thanks = (said["kind"] == "appreciation").to_numpy()
    own = np.arange(n)
    before = own - rng.integers(1, 40, n)
    opens = (rng.random(n) > 0.14) & ~thanks
    joins = ~opens & ~thanks & (before >= 0)
    joins &= opens[before.clip(0)]
    leader = np.where(joins, before, own)
    leader[thanks] = -1
    return leader


def _links(said: pd.DataFrame, leader: np.ndarray) -> pd.DataFrame:
    linked = np.flatnonzero(leader >= 0)
    ids = said["report_id"].to_numpy(object)
    opened = leader[linked] == linked
    return pd.DataFrame(
        {
            "report_id": ids[linked],
            "ticket_id": [ticket_id_of(i) for i in ids[leader[linked]]],
            "level": np.where(opened, "opened", "place_time"),
            "score": np.where(opened, 1000, 870),
            "explanation": "{}",
            "arrival": said["arrival"].to_numpy()[linked],
        }
    )


def _tickets(
    said: pd.DataFrame, leader: np.ndarray, rng: np.random.Generator, until: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    first = np.flatnonzero(leader == np.arange(len(said)))
    tickets = said.iloc[first].reset_index(drop=True)
    n = len(tickets)
    count = np.bincount(leader[leader >= 0], minlength=len(said))[first]
    opened = tickets["occurred_at"]
    slow = tickets["agency_id"].map({"bina_marga": 5.0, "sda": 6.0, "pertamanan": 2.5}).fillna(3.5).to_numpy()
    took = np.clip(rng.lognormal(np.log(slow), 0.7), 0.05, 90)
    done_at = opened + pd.to_timedelta((took * 86_400).astype(int), "s")
    never = rng.random(n) < 0.04
    done = (done_at < until).to_numpy() & ~never
    begun_at = opened + pd.to_timedelta((np.clip(rng.lognormal(np.log(3.0), 0.8, n), 0.1, 60) * 3_600).astype(int), "s")
    begun = (begun_at < until).to_numpy() & (rng.random(n) < 0.97)
    refused = done & (rng.random(n) < 0.03)
    status = np.where(refused, "ditolak", np.where(done, "selesai", np.where(begun, "proses", "menunggu")))
    ids = tickets["report_id"]
    tickets = tickets.assign(
        ticket_id=[ticket_id_of(i) for i in ids],
        ticket_no=[ticket_no_of(i) for i in ids],
        description=tickets["text"],
        channels=[[c] for c in tickets["channel"]],
        report_count=count,
        opened_at=opened,
        last_report_at=opened,
        coordination_due_at=opened + pd.Timedelta(hours=6),
        completion_due_at=opened + pd.Timedelta(days=7),
        status=status,
        status_at=done_at.where(done, begun_at.where(begun, opened)),
        frozen=done | begun,
        first_report_id=ids,
        first_arrival=tickets["arrival"],
        version=1,
    )
    kinds = [
        ("opened", np.ones(n, bool), opened, None),
        ("begun", begun, begun_at, "proses"),
        ("done", done, done_at, status),
    ]
    history = pd.concat(
        [
            pd.DataFrame(
                {
                    "event_id": [short_hash(t, what) for t in tickets["ticket_id"]],
                    "ticket_id": tickets["ticket_id"],
                    "event": "opened" if what == "opened" else "status",
                    "happened_at": at,
                    "actor": "pipeline" if what == "opened" else "operator",
                    "report_id": ids if what == "opened" else None,
                    "status": new,
                    "detail": "{}",
                    "arrival": tickets["arrival"],
                }
            )[which]
            for what, which, at, new in kinds
        ]
    )
    return tickets, history


def _ledger(landed: pd.DataFrame, links: pd.DataFrame, said: pd.DataFrame, entry: int) -> pa.Table:
    key = ["channel", "stream", "sequence"]
    counted = landed.assign(
        **{
            column: landed["outcome"] == outcome
            for column, outcome in (
                ("reports", "report"),
                ("repeats", "repeat"),
                ("filtered", "filtered"),
                ("quarantined", "quarantined"),
                ("events", "event"),
            )
        }
    ).merge(links[["report_id", "level"]], on="report_id", how="left")
    counted["tickets_opened"] = counted["level"] == "opened"
    counted["tickets_joined"] = counted["level"].notna() & ~counted["tickets_opened"]
    sums = ["reports", "repeats", "filtered", "quarantined", "events", "tickets_opened", "tickets_joined"]
    batches = (
        counted.groupby(key)
        .agg(messages=("row", "size"), landed_at=("received_at", "max"), **{c: (c, "sum") for c in sums})
        .reset_index()
    )
    batches = batches.assign(
        entry=entry,
        batch_id=[short_hash(*map(str, k)) for k in batches[key].itertuples(index=False)],
        run_id="made",
        landed_day=batches["landed_at"].dt.tz_convert(_WIB).dt.date,
        loaded_at=batches["landed_at"] + pd.Timedelta(minutes=1),
        seconds=0.1,
    )
    return _table(batches, LEDGER)
