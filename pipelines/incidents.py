"""What people say of which reports tell of one incident, against the tickets that the reports came to.

TRUTH is a CSV with a row a report: report_id as Kanal knows it, or channel and source_ref (and stream, where two streams
of a channel number alike), and incident, any label. Where it also has role, copy_of (the report copied) or kind, more is
told. HARD is a CSV of pairs that look like one incident and are two: a, b as TRUTH names them, and hard, what kind of pair.

Belongs here: reading these and asking the snapshot. Not here: what is computed (agreement), how it looks (console_links).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines import agreement, history
from pipelines.contracts import report_id_of
from pipelines.errors import PermanentError, SettingsError
from pipelines.published import ask, open_snapshot
from pipelines.settings import Settings

_TRUTH = ("report_id", "channel", "stream", "source_ref", "incident", "role", "copy_of")
_NAMES = ("report_id", "channel", "stream", "source_ref")
_HARD = ("a", "b", "hard")


def evaluate_file(settings: Settings, truth: Path, hard: Path | None = None, *, worst: int = 10) -> dict[str, Any]:
    """Figures of the published snapshot's tickets against a file. SettingsError says what is wrong with a file,
    PermanentError that none of its reports is known."""
    told = read_truth(truth)
    pairs = read_hard(hard, told) if hard else None
    with open_snapshot(settings) as con:
        built_at = ask(con, "SELECT built_at FROM about")[0]["built_at"]
        found = judge(con, told, pairs, worst=worst)
    if not found["reports"]["judged"]:
        raise PermanentError(
            f"{truth}: none of its {len(told):,} reports is in the snapshot; report_id is Kanal's (kanal trace shows it),"
            " source_ref the channel's own number"
        )
    return {"truth": truth.name, "snapshot": settings.analytics.resolve().name, "built_at": built_at} | found


# --- files ----------------------------------------------------------------------------------


def read_truth(path: Path) -> pd.DataFrame:
    """A row a report: name (as HARD and copy_of may call it), report_id or channel, stream and source_ref, incident, role,
    copied (row of the report copied, -1 for none). SettingsError names the row at fault."""
    table = _csv(path)
    if "incident" not in table:
        raise SettingsError(f"{path}: the column incident is missing; it has {', '.join(table)}")
    if "report_id" not in table and not {"channel", "source_ref"} <= set(table):
        raise SettingsError(
            f"{path}: reports are named by report_id, or by channel and source_ref; it has {', '.join(table)}"
        )
    return truth_of(table, str(path))


def truth_of(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same of a frame of texts with these columns."""
    names = ["report_id"] if "report_id" in table else [c for c in _NAMES if c in table]
    told = table.reindex(columns=list(_TRUTH), fill_value="").fillna("").astype(str)
    if names == ["report_id"]:
        told[["channel", "stream", "source_ref"]] = ""
    for name in (*(n for n in names if n != "stream"), "incident"):
        if (empty := told[name] == "").any():
            raise SettingsError(f"{where}: row {_row(empty)} has no {name}")
    if (twice := told.duplicated(names)).any():
        said = " ".join(told.loc[twice, names].iloc[0])
        raise SettingsError(f"{where}: row {_row(twice)} tells of {said} a second time")
    told["name"] = told[names[-1]]
    told["copied"] = -1
    copies = told["copy_of"] != ""
    told.loc[copies, "copied"] = _rows(told, told.loc[copies, "copy_of"], f"{where}: copy_of")
    return told


def read_hard(path: Path, truth: pd.DataFrame) -> pd.DataFrame:
    """A row a pair: a and b as rows of the truth (-1: it does not tell of that report), hard."""
    table = _csv(path)
    if lacking := [c for c in _HARD if c not in table]:
        raise SettingsError(f"{path}: the column {lacking[0]} is missing; it has {', '.join(table)}")
    return hard_of(table, truth, str(path))


def hard_of(table: pd.DataFrame, truth: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same of a frame with a, b, hard."""
    found = pd.DataFrame({side: _rows(truth, table[side], f"{where}: {side}") for side in ("a", "b")})
    return found.assign(hard=table["hard"].to_numpy())


def _csv(path: Path) -> pd.DataFrame:
    parts = list(history.parts(path))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if table.empty:
        raise SettingsError(f"{path} holds no row below its header")
    table.columns = table.columns.str.strip()
    return table.apply(lambda cells: cells.str.strip())


def _row(wrong: pd.Series) -> int:
    """The first one's row in the file, counted as a spreadsheet does: the header is 1."""
    return int(np.argmax(wrong.to_numpy())) + 2


def _rows(truth: pd.DataFrame, names: pd.Series, where: str) -> np.ndarray:
    """Rows of the truth that names mean, -1 where none: a report_id, a source_ref, or channel/source_ref."""
    rows = pd.Series(np.arange(len(truth)), index=truth["name"])
    alike = rows.index.duplicated(keep=False)
    among = [rows[~alike]]
    if truth["channel"].iloc[0]:
        rows.index = pd.Index(truth["channel"] + "/" + truth["name"])
        among.append(rows[~rows.index.duplicated(keep=False)])
    if (unclear := names.isin(truth.loc[alike, "name"])).any():
        raise SettingsError(
            f"{where} {names[unclear].iloc[0]!r} is a number of several channels; write it as channel/number"
        )
    known = pd.concat(among)
    found: np.ndarray = names.map(known[~known.index.duplicated()]).fillna(-1).to_numpy(dtype=np.int64)
    return found


# --- asking ---------------------------------------------------------------------------------


def judge(
    con: duckdb.DuckDBPyConnection, truth: pd.DataFrame, hard: pd.DataFrame | None = None, *, worst: int = 10
) -> dict[str, Any]:
    """All figures over the reports that `con` (a snapshot or a warehouse) knows.

    unknown: reports that never landed; they are left out. without_ticket: thanks, and what was filtered or set aside;
    each counts as a ticket of one, as nobody was joined with it.
    """
    judged = _judged(con, truth)
    ids = pd.Series(judged["report_id"].to_numpy(), index=judged["row"])
    judged["copy_of"] = judged["copied"].map(ids).astype(object)
    pairs = pd.DataFrame(columns=list(_HARD)) if hard is None else hard
    pairs = pairs.assign(a=pairs["a"].map(ids), b=pairs["b"].map(ids))
    told = pairs[pairs["a"].notna() & pairs["b"].notna()]
    scores = agreement.evaluate(judged, told, judged[["report_id", "ticket_id", "level"]], _follows(con))
    kept = judged[judged["role"] != "not_fixed"].reset_index(drop=True)
    again = len(judged) - len(kept)
    return {
        "reports": {
            "in_file": len(truth), "judged": len(judged), "unknown": len(truth) - len(judged),
            "without_ticket": int(judged["ticket_no"].isna().sum()), "not_fixed": again,
        },
        "clustering": scores.clustering._asdict(),
        "largest": _largest(kept),
        "levels": {name: {"joined": n, "right": share} for name, (n, share) in scores.levels.items()},
        "copies": _counted(scores.copies, kept.loc[kept["copy_of"].notna(), "role"], "found"),
        "copies_unknown": int((judged["copies"] & judged["copy_of"].isna()).sum()),
        "hard": _counted(scores.hard, told["hard"], "merged"),
        "hard_unknown": len(pairs) - len(told),
        "recall_by_role": {role: share for role, share in scores.recall_by_role.items() if role},
        "followed": scores.followed if again else None,
        "mixed": [_mixed(kept, found) for found in _most(kept, "ticket_id", "incident", worst)],
        "torn": [_torn(kept, found) for found in _most(kept, "incident", "ticket_id", worst)],
    }  # fmt: skip


def _follows(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Ticket -> the one that it takes up again, or that this one went into."""
    rows = con.execute(
        "SELECT t.ticket_id, coalesce(f.superseded_by, f.ticket_id) FROM tickets t JOIN tickets f ON f.ticket_id = t.follows"
    ).fetchall()
    return dict(rows)


def tickets_of(con: duckdb.DuckDBPyConnection, truth: pd.DataFrame) -> pd.Series:
    """Ticket of each row of the truth; of one without, a name of its own."""
    found = _judged(con, truth).set_index("row")["ticket_id"]
    return found.reindex(truth.index).fillna(truth["name"])


def _judged(con: duckdb.DuckDBPyConnection, truth: pd.DataFrame) -> pd.DataFrame:
    """The rows of the truth that landed, in the order of arrival, with report_id, ticket_id, ticket_no and level."""
    con.register("asked", pa.Table.from_pandas(_asked(con, truth), preserve_index=False))
    found = con.execute(
        """SELECT a.row, a.report_id, coalesce(l.ticket_id, 'none ' || a.report_id) AS ticket_id, t.ticket_no,
            coalesce(l.level, 'none') AS level
        FROM asked a SEMI JOIN (SELECT report_id FROM messages WHERE outcome <> 'event') m USING (report_id)
        LEFT JOIN links l USING (report_id) LEFT JOIN tickets t USING (ticket_id) LEFT JOIN reports r USING (report_id)
        ORDER BY r.arrival NULLS LAST, a.row"""
    ).df()
    con.unregister("asked")
    if (twice := found["row"].duplicated()).any():
        told = truth.loc[found.loc[twice, "row"].iloc[0]]
        raise SettingsError(
            f"{told['channel']} has {told['source_ref']!r} in several streams; add a column stream to the file"
        )
    rows = truth.loc[found["row"], ["name", "incident", "role", "copied"]].reset_index(drop=True)
    copies = (truth.loc[found["row"], "copy_of"] != "").to_numpy()
    return pd.concat([found, rows], axis=1).assign(copies=copies)


def _asked(con: duckdb.DuckDBPyConnection, truth: pd.DataFrame) -> pd.DataFrame:
    """(row, report_id) of every report that a row of the truth may mean: one a stream of its channel."""
    if not truth["channel"].iloc[0]:
        return pd.DataFrame({"row": np.arange(len(truth)), "report_id": truth["report_id"].str.lower()})
    streams: dict[str, list[str]] = {}
    for line in ask(con, "SELECT DISTINCT channel, stream FROM messages"):
        streams.setdefault(line["channel"], []).append(line["stream"])
    names = zip(truth["channel"], truth["stream"], truth["source_ref"], strict=True)
    asked = [
        (row, report_id_of(channel, name, ref))
        for row, (channel, stream, ref) in enumerate(names)
        for name in ([stream] if stream else streams.get(channel, ()))
    ]
    return pd.DataFrame(asked, columns=["row", "report_id"]).astype({"row": "int64", "report_id": "str"})


# --- told -----------------------------------------------------------------------------------


def _counted(shares: Mapping[str, float], of: pd.Series, what: str) -> dict[str, dict[str, Any]]:
    """Share by kind, with how many there are of each."""
    counts = of.value_counts()
    return {kind: {"of": int(counts.get(kind, len(of))), what: share} for kind, share in shares.items()}


def _largest(kept: pd.DataFrame) -> dict[str, Any] | None:
    if kept.empty:
        return None
    there = kept[kept["ticket_id"] == kept["ticket_id"].value_counts(sort=True).index[0]]
    return {"ticket_no": _number(there), "reports": len(there), "incidents": there["incident"].nunique()}


def _most(kept: pd.DataFrame, group: str, part: str, most: int) -> list[agreement.Divided]:
    return agreement.most_divided(kept[group].to_numpy(), kept[part].to_numpy(), most)


def _mixed(kept: pd.DataFrame, found: agreement.Divided) -> dict[str, Any]:
    """A ticket of several incidents, and which report is of which."""
    rows = [row for _, part in found.parts for row in part]
    return {
        "ticket_no": _number(kept.loc[rows]), "reports": len(rows), "incidents": len(found.parts),
        "of": [{"incident": incident, "reports": _named(kept, part)} for incident, part in found.parts],
    }  # fmt: skip


def _torn(kept: pd.DataFrame, found: agreement.Divided) -> dict[str, Any]:
    """An incident in several tickets, and the first report of each."""
    return {
        "incident": found.group, "reports": sum(len(part) for _, part in found.parts), "tickets": len(found.parts),
        "in": [
            {"ticket_no": _number(kept.loc[part]), "reports": len(part), "first": _named(kept, part[:1])[0]}
            for _, part in found.parts
        ],
    }  # fmt: skip


def _number(there: pd.DataFrame) -> str | None:
    number = there["ticket_no"].iloc[0]
    return number if isinstance(number, str) else None


def _named(kept: pd.DataFrame, rows: Sequence[int]) -> list[dict[str, str]]:
    some = kept.loc[list(rows), ["name", "report_id"]]
    return [{"name": name, "report_id": report} for name, report in some.itertuples(index=False)]
