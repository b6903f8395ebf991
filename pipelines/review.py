"""The review queue: what waits for a person, and what people decide of it.

The queue is read from the published snapshot, so nobody who looks holds up a load. A decision lands
as a message of its own stream and is durable before it is told as done; the next load applies it,
and so does every rebuild. Belongs here: finding what was meant, and checking it before it lands.
Not here: what a decision does to a ticket (transforms/ticket).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipelines import knowledge as known
from pipelines import rules
from pipelines.contracts import KINDS, TICKETS, UNTOUCHED, Message, Stream
from pipelines.errors import PermanentError
from pipelines.flow import new_run_id, utc_now
from pipelines.history import separator
from pipelines.knowledge import Knowledge
from pipelines.published import Rows, ask, open_snapshot
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing
from pipelines.sinks.marts import MARTS
from pipelines.sources import decisions
from pipelines.trace import user_name
from pipelines.transforms.classify import fold_label
from pipelines.transforms.gazetteer import join
from pipelines.transforms.redact import mask
from pipelines.transforms.ticket import decide as apply_decision

REASONS = {
    "kategori_tidak_yakin": "kategori belum pasti",
    "instansi_tidak_yakin": "instansi belum pasti",
    "lokasi_tidak_ada": "lokasi tidak disebut",
    "lokasi_tidak_yakin": "lokasi belum pasti",
    "di_luar_wilayah": "di luar wilayah",
}
_SHOWN = ("kind", "category", "agency_id", "unit", "intake_unit", "kelurahan_code", "route_rule", "review_reason")
_REF = ("report", "report_id", "ticket_no")  # any of these names the report in a file
_COLUMNS = ("category", "agency", "kind", "kelurahan", "ok", "reason", "by")
_BEYOND = ""  # stands in the cells of a row that has more than there are columns
_YES, _NO = ("1", "ya", "yes", "y", "true", "ok"), ("", "0", "tidak", "no", "n", "false")
_MOST = 500  # characters of a reason: a sentence or two
_MOST_NAME = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """One decision as a person wrote it. ref: a report_id, ticket number or the CRM's number; ok: what is not
    named otherwise is right as it stands; by: None for the account at the keyboard."""

    ref: str
    reason: str
    category: str | None = None
    agency: str | None = None
    kind: str | None = None
    kelurahan: str | None = None
    ok: bool = False
    by: str | None = None


@dataclass(slots=True)
class Told:
    """What became of one asked decision. fault: why it did not land, else None; changes: column of the
    ticket -> (as it stands in the snapshot, as the next load will make it); note: what may surprise."""

    ref: str
    line: int | None = None
    ticket_no: str | None = None
    report_id: str | None = None
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    note: str | None = None
    fault: str | None = None


# --- what waits -----------------------------------------------------------------------------


def queue(settings: Settings, *, reason: str | None, channel: str | None, limit: int) -> tuple[Rows, dict[str, int]]:
    """(tickets that wait, as table review_queue has them, with `reasons` in words; reason -> how many wait).

    Most urgent first: emergencies, then the longest open. PermanentError where a reason is unknown.
    """
    with open_snapshot(settings) as con:
        waiting = ask(
            con,
            "SELECT reason, count(*) AS n FROM (SELECT unnest(string_split(review_reason, ',')) AS reason"
            " FROM review_queue) GROUP BY 1 ORDER BY n DESC, 1",
        )
        counts = {row["reason"]: row["n"] for row in waiting}
        if reason is not None and reason not in {*counts, *REASONS}:
            raise PermanentError(f"no ticket waits for {reason!r}; reasons are {', '.join({**REASONS, **counts})}")
        columns = ", ".join(MARTS["review_queue"].schema.names)
        rows = ask(
            con,
            f"SELECT {columns} FROM review_queue"
            " WHERE (?::TEXT IS NULL OR list_contains(string_split(review_reason, ','), ?))"
            f" AND (?::TEXT IS NULL OR list_contains(channels, ?)) ORDER BY place LIMIT {int(limit)}",
            [reason, reason, channel, channel],
        )
        codes = sorted({code for row in rows for code in row["place_candidates"] or ()})
        areas = ask(con, "SELECT kelurahan_code, kelurahan FROM areas WHERE list_contains(?, kelurahan_code)", [codes])
    named = {row["kelurahan_code"]: row["kelurahan"] for row in areas}
    for row in rows:
        row["reasons"] = words_of(row["review_reason"])
        row["candidates"] = {code: named.get(code) for code in row["place_candidates"] or ()}
    return rows, counts


def words_of(review_reason: str) -> list[str]:
    """A review_reason in words; a code that has none stays as it is."""
    return [REASONS.get(code, code) for code in review_reason.split(",")]


# --- deciding -------------------------------------------------------------------------------


def decide(
    settings: Settings,
    asked: Sequence[Asked],
    *,
    now: Callable[[], datetime] = utc_now,
    lines: Sequence[int] | None = None,
) -> list[Told]:
    """Check each decision and land those that hold as one batch; durable when this returns.

    lines: where each stands in the file it came from. Faults are told, not raised.
    """
    knowledge = known.load(settings)
    agency_names = rules.agency_aliases(settings.models_dir / "agencies.toml")
    with open_snapshot(settings) as con:
        tickets = _tickets(con, [sound(a.ref) for a in asked])
    at, told, messages = now(), [], []
    rows: dict[str, dict[str, Any]] = {}  # as decisions before in the same file leave them
    for number, one in enumerate(asked):
        line = lines[number] if lines else None
        try:
            report_id, found = _found(tickets, sound(one.ref))
            row = rows.setdefault(found["ticket_id"], dict(found))
            decision = _decision(one, row, knowledge, agency_names) | {"report_id": report_id}
        except PermanentError as error:
            told.append(Told(one.ref, line, fault=str(error)))
            continue
        before = {name: row[name] for name in _SHOWN}
        apply_decision(row, decision, knowledge.routing)
        changes = {n: (before[n], row[n]) for n in _SHOWN if before[n] != row[n]}
        told.append(Told(one.ref, line, row["ticket_no"], report_id, changes, _note(row, decision)))
        messages.append(decisions.message(decision, at))
    if messages:
        land(settings, decisions.STREAM, messages, version=decisions.VERSION, at=at)
    return told


def land(settings: Settings, stream: Stream, messages: Sequence[Message], *, version: str, at: datetime) -> None:
    """Land decisions as one batch of their stream; durable when this returns."""
    landing, run_id = Landing(settings.landing_dir), new_run_id()
    # Another decision may land meanwhile: this one then goes behind it.
    while not landing.put(stream, landing.head(stream), messages, {}, source_version=version, run_id=run_id, now=at):
        pass


def _note(row: Mapping[str, Any], decision: Mapping[str, Any]) -> str | None:
    if decision["agency_id"] or row["status"] == UNTOUCHED or not (decision["category"] or decision["kelurahan_code"]):
        return None
    return f"its agency and unit stay, as somebody acts on it already ({row['status']}); --agency changes them"


_FIND = f"""
WITH asked AS (SELECT DISTINCT unnest(?::TEXT[]) AS ref),
standing AS (SELECT *, coalesce(superseded_by, ticket_id) AS now FROM tickets),
named AS (
    SELECT ref, report_id, ticket_id FROM asked JOIN reports ON report_id = lower(ref)
    UNION ALL SELECT ref, first_report_id, now FROM asked JOIN standing ON ticket_no = upper(ref)
    UNION ALL SELECT ref, first_report_id, now FROM asked JOIN standing ON ticket_id = lower(ref)
    UNION ALL SELECT ref, first_report_id, now FROM asked JOIN standing ON upper(external_ref) = upper(ref))
SELECT ref, report_id, {", ".join(f"t.{name}" for name in TICKETS.names)}
FROM named LEFT JOIN tickets t ON t.ticket_id = named.ticket_id ORDER BY t.first_arrival
"""


def _tickets(con: Any, refs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """ref -> report_id and its ticket's row (all None where it has no ticket); the earliest where a number stands twice."""
    found: dict[str, dict[str, Any]] = {}
    for row in ask(con, _FIND, [list(refs)]):
        found.setdefault(row.pop("ref"), row)
    return found


def _found(tickets: Mapping[str, dict[str, Any]], ref: str) -> tuple[str, dict[str, Any]]:
    row = tickets.get(ref)
    if row is None:
        raise PermanentError(
            f"{ref!r} is no report and no ticket in the snapshot; `kanal review list` shows what waits,"
            " `kanal status` what is not loaded yet"
        )
    if row["ticket_id"] is None:
        raise PermanentError(f"report {ref} is thanks and has no ticket, so there is nothing to decide")
    return row["report_id"], row


def _decision(
    asked: Asked, row: Mapping[str, Any], knowledge: Knowledge, agency_names: Mapping[str, str]
) -> dict[str, Any]:
    """The ids that were meant. PermanentError names near ones where nothing fits."""
    found: dict[str, Any] = {
        "category": _category(asked.category, knowledge),
        "agency_id": _agency(asked.agency, knowledge, agency_names),
        "kind": _kind(asked.kind),
        "kelurahan_code": _kelurahan(asked.kelurahan, knowledge),
    }
    if asked.ok:
        if not (found["category"] or row["category"]):
            raise PermanentError("its category is not decided, so it is not ok as it stands; name one with --category")
        found = {name: value or row[name] for name, value in found.items()}
    if not any(found.values()):
        raise PermanentError("nothing is decided; name a --category, --agency, --kind or --kelurahan, or say --ok")
    return found | signed(asked.reason, asked.by)


def signed(reason: str, by: str | None) -> dict[str, str]:
    """reason and actor of a decision. by: None for the account at the keyboard. PermanentError says what is wrong."""
    reason, actor = sound(reason).strip(), sound(by if by is not None else user_name()).strip()
    if not reason or len(reason) > _MOST:
        raise PermanentError(f"say in a sentence why (--reason), with at most {_MOST} characters")
    if not actor or len(actor) > _MOST_NAME or mask(actor) != actor:
        raise PermanentError(
            f"say who decides (--by) by a name or an account of at most {_MOST_NAME} characters, without phone or address"
        )
    return {"reason": reason, "actor": actor}


def sound(word: str) -> str:
    """A word as UTF-8 can hold it: the keyboard of another encoding yields halves of characters."""
    return word.encode("utf-8", "replace").decode()


def _category(word: str | None, knowledge: Knowledge) -> str | None:
    taxonomy = knowledge.taxonomy
    if not word or word in taxonomy.names:
        return word or None
    return taxonomy.category_of(word) or _none("category", word, taxonomy.names, taxonomy.aliases)


def _agency(word: str | None, knowledge: Knowledge, spelt: Mapping[str, str]) -> str | None:
    agencies = knowledge.routing.agencies
    if not word or word in agencies:
        return word or None
    return spelt.get(fold_label(word)) or _none("agency", word, {a.id: a.name for a in agencies.values()}, spelt)


def _kind(word: str | None) -> str | None:
    if not word or word in KINDS:
        return word or None
    raise PermanentError(f"{word!r} is no kind; kinds are {', '.join(KINDS)}")


def _kelurahan(word: str | None, knowledge: Knowledge) -> str | None:
    """A code, a name, or a name and its kecamatan with a comma between."""
    places = knowledge.gazetteer
    if not word or word in places.row_of:
        return word or None
    name, _, within = word.partition(",")
    codes = [n.code for n in places.names.get(join(name), ()) if n.level == "kelurahan"]
    table = places.kelurahan
    if within:
        above = table["kecamatan"].tolist()
        codes = [code for code in codes if join(above[places.row_of[code]]) == join(within)]
    if len(codes) == 1:
        return codes[0]
    labels = (table["kelurahan"] + ", " + table["kecamatan"]).tolist()
    if codes:
        several = "; ".join(f"{code} {labels[places.row_of[code]]}" for code in codes)
        raise PermanentError(f"{name.strip()!r} names several kelurahan: {several}. Give the code")
    spelt = {join(n): code for n, code in zip(table["kelurahan"], places.codes, strict=True)}
    return _none("kelurahan", word, dict(zip(places.codes, labels, strict=True)), spelt, folded=join(name))


def _none(what: str, word: str, names: Mapping[str, str], spelt: Mapping[str, str], *, folded: str = "") -> str:
    """Raises: nothing is called so; names the nearest by id and by spelling."""
    close = get_close_matches(word.lower(), names, n=3, cutoff=0.6)
    close += [spelt[s] for s in get_close_matches(folded or fold_label(word), spelt, n=3, cutoff=0.6)]
    near = ", ".join(f"{i} ({names[i]})" for i in dict.fromkeys(close))
    file = {"category": "taxonomy.toml", "agency": "agencies.toml"}.get(what, "gazetteer/kelurahan.csv")
    raise PermanentError(f"{word!r} is no {what}; " + (f"near ones: {near}" if near else f"all are in models/{file}"))


# --- many at once ---------------------------------------------------------------------------


def asked_in(path: Path, *, reason: str | None, by: str | None) -> tuple[list[Asked], list[int], list[Told]]:
    """A CSV file -> (decisions, the line each stands in, rows that cannot be read as one).

    Columns: report (or report_id, ticket_no) and those of category, agency, kind, kelurahan, ok, reason, by;
    reason and by stand for rows that have none. PermanentError where the file or a column is wrong.
    """
    asked, lines, faults = [], [], []
    for line, row in _cells(path):
        ref = next((row[name] for name in _REF if row.get(name)), "")
        ok = row.get("ok", "").lower()
        if fault := _fault(ref, ok, row):
            faults.append(Told(ref, line, fault=fault))
            continue
        values = {name: row.get(name) or None for name in ("category", "agency", "kind", "kelurahan")}
        why, who = row.get("reason") or reason or "", row.get("by") or by
        asked.append(Asked(ref, why, ok=ok in _YES, by=who, **values))
        lines.append(line)
    return asked, lines, faults


def _fault(ref: str, ok: str, row: Mapping[str, str]) -> str | None:
    if _BEYOND in row:
        return "it has more cells than there are columns; put a text that holds the separator in quotes"
    if not ref:
        return "no report is named"
    return None if ok in (*_YES, *_NO) else f"ok is {row['ok']!r}; write yes, or leave it empty"


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, its cells by column, without blanks around) of every row that is not empty."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(
            f"{path} cannot be read as UTF-8 text ({type(error).__name__}); save it as CSV UTF-8"
        ) from error
    lines = io.StringIO(text, newline="")
    # strict: a quote left open would swallow the rows below it
    rows = csv.DictReader(lines, delimiter=separator(text.partition("\n")[0]), restval="", strict=True)
    columns = [name.strip().lower() for name in rows.fieldnames or ()]
    unknown = sorted(set(columns) - {*_REF, *_COLUMNS})
    if unknown or not set(columns) & set(_REF):
        wrong = f"the column {unknown[0]!r} is unknown" if unknown else "no column names the report"
        raise PermanentError(f"{path}: {wrong}; columns are report, {', '.join(_COLUMNS)}")
    rows.fieldnames = columns
    try:
        for row in rows:
            cells = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
            cells |= {_BEYOND: ""} if None in row else {}
            if any(cells.values()):
                yield rows.line_num, cells
    except csv.Error as error:
        raise PermanentError(f"{path}: line {rows.line_num + 1} cannot be read ({error})") from error


def said(told: Iterable[Told]) -> list[dict[str, Any]]:
    """For --json."""
    return [
        {
            "ref": t.ref, "line": t.line, "ticket_no": t.ticket_no, "report_id": t.report_id, "note": t.note, "fault": t.fault,
            "changes": {name: {"from": old, "to": new} for name, (old, new) in t.changes.items()},
        }
        for t in told
    ]  # fmt: skip
