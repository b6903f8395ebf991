"""The snapshot's row-level tables: names, tickets, reports, links, messages, as data.

Belongs here: what leaves the warehouse and what does not. No vault, no author or thread keys, no
source ids and addresses (they lead to an account), no attachments (their names may tell a person),
no free text that redaction has not been over. Not here: figures (marts), building (snapshot).

SQL reads warehouse tables by bare name, tables of the snapshot as `snap.<name>`, and $now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.contracts import (
    ACTS,
    BIG,
    BOOL,
    DAY,
    LEDGER,
    LINKS,
    MESSAGES,
    REAL,
    REPORTS,
    TEXT,
    TICKET_EVENTS,
    TICKETS,
    TIME,
)

UNKNOWN = "unknown"
UNKNOWN_NAME = "Belum ditentukan"
CLOSED = "('selesai', 'ditolak')"

KEPT_BACK = {
    "source_ref",
    "version",
    "author_key",
    "conversation_key",
    "source_url",
    "attachments",
    "extra",
    "text_key",
    "category_label",
    "agency_reported",
    "status_reported",
}


@dataclass(frozen=True, slots=True)
class Mart:
    """A table of the snapshot.

    sql: its rows, with the columns of `schema` by name. trace: key of `kanal trace --where` -> SQL
    over `r` (reports) and `t` (their tickets), by which a line is walked back to its reports.
    """

    sql: str
    schema: pa.Schema
    trace: Mapping[str, str] = field(default_factory=dict)


def mart(
    about: str,
    sql: str,
    *,
    trace: Mapping[str, str] | None = None,
    like: Iterable[pa.Field] = (),
    **columns: tuple[pa.DataType, str],
) -> Mart:
    """like: columns as contracts describe them; columns: name=(type, description)."""
    own = [pa.field(name, kind, metadata={"description": text}) for name, (kind, text) in columns.items()]
    return Mart(sql, pa.schema([*like, *own], metadata={"description": about}), trace or {})


def wib(column: str) -> str:
    """SQL: the day of a time, in Jakarta."""
    return f"timezone('Asia/Jakarta', {column})::DATE"


def month(day: str) -> str:
    return f"date_trunc('month', {day})::DATE"


def week(day: str) -> str:
    """SQL: the Monday on or before a day, as ISO weeks begin."""
    return f"date_trunc('week', {day})::DATE"


_DAYS = "round(epoch({0}) / 86400, 2)"

ROWS: dict[str, Mart] = {
    "categories": mart(
        "Category ids and their names. The line 'unknown' names what is undecided.",
        "SELECT category, category_name FROM _categories",
        category=(TEXT, "Category id, or 'unknown'"),
        category_name=(TEXT, "Name, Indonesian"),
    ),
    "agencies": mart(
        "Agency ids and their names.",
        "SELECT agency_id, agency_name FROM _agencies",
        agency_id=(TEXT, "Agency id"),
        agency_name=(TEXT, "Name, Indonesian"),
    ),
    "channels": mart(
        "Channel ids and their names.",
        "SELECT channel, channel_name FROM _channels",
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name, Indonesian"),
    ),
    "areas": mart(
        "Every kelurahan with its kecamatan and kota. Kemendagri codes.",
        "SELECT DISTINCT ON (kelurahan_code) *, 'kemendagri' AS code_system FROM _areas ORDER BY kelurahan_code",
        kelurahan_code=(TEXT, "Kemendagri code of the kelurahan"),
        kelurahan=(TEXT, "Its name"),
        kecamatan_code=(TEXT, "Kemendagri code of its kecamatan"),
        kecamatan=(TEXT, "Its name"),
        kota_code=(TEXT, "Kemendagri code of its kota"),
        kota=(TEXT, "Its name"),
        code_system=(
            TEXT,
            "System of all area codes: kemendagri. BPS has others for the same areas: 31.73 is not 3173",
        ),
    ),
    "tickets": mart(
        "One row a ticket, with names, days and clocks as of the snapshot. Tickets merged into another keep their row,"
        " with superseded_by set; figures leave them out.",
        f"""
        WITH timed AS (
            SELECT *, status NOT IN {CLOSED} AS open, CASE WHEN status IN {CLOSED} THEN status_at END AS closed_at,
                CASE WHEN status = 'selesai' AND status_at > opened_at
                    THEN {_DAYS.format("status_at - opened_at")} END AS days_to_finish,
                {wib("opened_at")} AS opened_day
            FROM tickets),
        coordinated AS (
            SELECT ticket_id, min(happened_at) AS coordinated_at FROM ticket_events
            WHERE event = 'status' AND status <> 'menunggu' GROUP BY ticket_id)
        SELECT t.*, CASE WHEN t.emergency THEN concat_ws(': ', 'Telepon 112', m.emergency_rule_name) END AS emergency_label,
            c.category_name, a.agency_name, k.kelurahan, d.kecamatan, o.kota, t.channels[1] AS first_channel,
            {month("t.opened_day")} AS opened_month, e.coordinated_at,
            greatest(0, {_DAYS.format("coalesce(t.closed_at, $now::TIMESTAMPTZ) - t.opened_at")}) AS days_open,
            t.open AND coalesce(t.completion_due_at < $now::TIMESTAMPTZ, false) AS overdue,
            t.status = 'menunggu' AND coalesce(t.coordination_due_at < $now::TIMESTAMPTZ, false) AS coordination_overdue,
            CASE WHEN t.days_to_finish IS NOT NULL THEN t.closed_at <= t.completion_due_at END AS finished_in_time
        FROM timed t
        LEFT JOIN coordinated e USING (ticket_id)
        LEFT JOIN snap.categories c ON c.category = coalesce(t.category, '{UNKNOWN}')
        LEFT JOIN snap.agencies a ON a.agency_id = t.agency_id
        LEFT JOIN _alarms m ON m.emergency_rule = t.emergency_rule
        LEFT JOIN snap.areas k ON k.kelurahan_code = t.kelurahan_code
        LEFT JOIN (SELECT kecamatan_code, any_value(kecamatan) AS kecamatan FROM snap.areas GROUP BY 1) d
            ON d.kecamatan_code = t.kecamatan_code
        LEFT JOIN (SELECT kota_code, any_value(kota) AS kota FROM snap.areas GROUP BY 1) o ON o.kota_code = t.kota_code
        """,
        trace={"ticket_id": "t.ticket_id", "ticket_no": "t.ticket_no"},
        like=TICKETS,
        emergency_label=(TEXT, "What to do and why, as officers read it: 'Telepon 112: ...'; null where not flagged"),
        category_name=(TEXT, "Name of the category"),
        agency_name=(TEXT, "Name of the agency"),
        kelurahan=(TEXT, "Name of the kelurahan"),
        kecamatan=(TEXT, "Name of the kecamatan"),
        kota=(TEXT, "Name of the kota"),
        first_channel=(TEXT, "Channel that told of it first"),
        opened_day=(DAY, "Day it was opened, Asia/Jakarta"),
        opened_month=(DAY, "First day of that month"),
        open=(BOOL, "Not selesai and not ditolak"),
        closed_at=(TIME, "When it became selesai or ditolak; null while open"),
        coordinated_at=(TIME, "When an officer first gave it a status other than menunggu"),
        days_open=(REAL, "Days from opening to closing, or to the snapshot while open"),
        overdue=(BOOL, "Open and past completion_due_at, as of the snapshot"),
        coordination_overdue=(BOOL, "Still menunggu and past coordination_due_at, as of the snapshot"),
        days_to_finish=(REAL, "Days from opening to selesai; null where it came in finished, as history does"),
        finished_in_time=(BOOL, "Finished by completion_due_at; null where days_to_finish or the clock is"),
    ),
    "reports": mart(
        "One row a report in its current version, masked, with its ticket. Without authors, threads, source ids,"
        " addresses of items and attachments.",
        f"""
        SELECT r.* EXCLUDE (kelurahan_code, kecamatan_code, kota_code), r.kelurahan_code, r.kecamatan_code, r.kota_code,
            l.ticket_id, l.level AS link_level, l.score AS link_score, n.channel_name,
            coalesce(t.category, r.category, '{UNKNOWN}') AS counted_category,
            coalesce(t.kelurahan_code, r.kelurahan_code, '{UNKNOWN}') AS counted_kelurahan_code,
            {wib("r.occurred_at")} AS said_day, {week(wib("r.occurred_at"))} AS said_week,
            {month(wib("r.occurred_at"))} AS said_month
        FROM reports r
        LEFT JOIN links l USING (report_id)
        LEFT JOIN tickets t ON t.ticket_id = l.ticket_id
        LEFT JOIN snap.channels n ON n.channel = r.channel
        """,
        trace={"report_id": "r.report_id"},
        like=[f for f in REPORTS if f.name not in KEPT_BACK],
        ticket_id=(TEXT, "Its ticket; null for thanks"),
        link_level=(TEXT, "How it came to the ticket (links.level)"),
        link_score=(pa.int32(), "How strongly, 0..1000"),
        channel_name=(TEXT, "Name of the channel"),
        counted_category=(
            TEXT,
            "Category it counts under in every figure: its ticket's, so that what officers correct"
            " counts; its own where it has no ticket; 'unknown' where undecided",
        ),
        counted_kelurahan_code=(TEXT, "Kelurahan it counts under: its ticket's, else its own, else 'unknown'"),
        said_day=(DAY, "Day of occurred_at, Asia/Jakarta"),
        said_week=(DAY, "Monday of that week"),
        said_month=(DAY, "First day of that month"),
    ),
    "links": mart("Which ticket a report belongs to, and why.", "SELECT * FROM links", like=LINKS),
    "messages": mart(
        "One row for every landed message: what became of it. The end of the way back from any figure.",
        "SELECT * FROM messages",
        like=[f for f in MESSAGES if f.name not in KEPT_BACK],
    ),
    "batches": mart(
        "One row for every landed batch: what it brought, when, and by which run.",
        "SELECT * FROM ledger",
        like=[f for f in LEDGER if f.name not in ("batch_id", "seconds")],
    ),
    "ticket_events": mart(
        "History of tickets, without remarks and without the ids that tell events apart.",
        "SELECT * FROM ticket_events",
        like=[f for f in TICKET_EVENTS if f.name not in ("event_id", "detail")],
    ),
    "quarantine": mart(
        "Messages set aside, with the reason. No text: look one up with kanal trace.",
        "SELECT m.*, n.channel_name FROM messages m LEFT JOIN snap.channels n USING (channel)"
        " WHERE outcome = 'quarantined' ORDER BY landed_day DESC, channel, stream, sequence, row",
        like=[
            MESSAGES.field(n)
            for n in ("channel", "stream", "sequence", "row", "report_id", "stage", "reason", "landed_day")
        ],
        channel_name=(TEXT, "Name of the channel"),
    ),
    "review_queue": mart(
        "Open tickets a person should look at, in the order to take them: emergencies, then the longest open. Each with"
        " its first report as the machine judged it. Decided ones (kanal review decide) leave at the next run.",
        """
        SELECT t.*, t.first_report_id AS report_id, r.category_model, r.category_runner_up, r.category_evidence,
            r.agency_model, r.agency_runner_up, r.place_evidence, r.place_candidates,
            row_number() OVER (ORDER BY t.emergency DESC, t.opened_at, t.ticket_id) AS place
        FROM snap.tickets t LEFT JOIN snap.reports r ON r.report_id = t.first_report_id
        WHERE t.review_reason IS NOT NULL AND t.open AND t.superseded_by IS NULL ORDER BY place
        """,
        trace={"ticket_no": "t.ticket_no"},
        place=(BIG, "Place in the queue, from 1"),
        like=[
            REPORTS.field("report_id"),
            *(
                TICKETS.field(n)
                for n in (
                    "ticket_id",
                    "ticket_no",
                    "review_reason",
                    "emergency",
                    "emergency_rule",
                    "kind",
                    "category",
                    "category_confidence",
                    "description",
                    "address_text",
                    "place_method",
                    "kelurahan_code",
                    "agency_id",
                    "unit",
                    "agency_source",
                    "agency_confidence",
                    "route_rule",
                    "intake_unit",
                    "channels",
                    "report_count",
                    "opened_at",
                    "coordination_due_at",
                )
            ),
            *(
                REPORTS.field(n)
                for n in (
                    "category_model",
                    "category_runner_up",
                    "category_evidence",
                    "agency_model",
                    "agency_runner_up",
                    "place_evidence",
                    "place_candidates",
                )
            ),
        ],
        emergency_label=(TEXT, "What to do and why, as officers read it: 'Telepon 112: ...'; null where not flagged"),
        category_name=(TEXT, "Name of the category"),
        agency_name=(TEXT, "Name of the agency"),
        kelurahan=(TEXT, "Name of the kelurahan"),
        days_open=(REAL, "Days since it was opened, as of the snapshot"),
    ),
    "emergencies": mart(
        "Open tickets with a report that tells of a danger to life: call 112. The newest first, for an old one is most"
        " likely over; they leave when an officer closes them. No flag is no assurance.",
        """
        SELECT t.*, coalesce(f.since, t.opened_at) AS since, f.channel_name FROM snap.tickets t
        LEFT JOIN (
            SELECT ticket_id, min(occurred_at) AS since, arg_min(coalesce(channel_name, channel), arrival) AS channel_name
            FROM snap.reports WHERE emergency GROUP BY 1) f USING (ticket_id)
        WHERE t.emergency AND t.open AND t.superseded_by IS NULL ORDER BY since DESC, ticket_id
        """,
        trace={"ticket_no": "t.ticket_no"},
        like=[
            TICKETS.field(n)
            for n in (
                "ticket_id",
                "ticket_no",
                "external_ref",
                "emergency_rule",
                "status",
                "description",
                "address_text",
                "kelurahan_code",
                "lat",
                "lon",
                "unit",
                "intake_unit",
                "report_count",
                "last_report_at",
            )
        ],
        emergency_label=(TEXT, "What to do and why, as officers read it: 'Telepon 112: ...'"),
        kelurahan=(TEXT, "Name of the kelurahan"),
        kota=(TEXT, "Name of the kota"),
        channel_name=(TEXT, "Channel whose report was flagged first; null where an edit has taken the danger back"),
        since=(
            TIME,
            "When the first flagged report was said; when the ticket was opened, where none is flagged any more",
        ),
    ),
    "review_decisions": mart(
        "What people decided in the review queue, a row a decision, in the order they count: of several on one report the"
        " last word on each column counts. Empty: not decided. The next model learns from it.",
        """
        SELECT report_id, ticket_id, happened_at AS decided_at, actor, detail->>'$.reason' AS reason,
            detail->>'$.category' AS category, detail->>'$.agency_id' AS agency, detail->>'$.kind' AS kind,
            detail->>'$.kelurahan_code' AS kelurahan_code
        FROM ticket_events WHERE event = 'decision' ORDER BY arrival
        """,
        report_id=(TEXT, "The report"),
        ticket_id=(TEXT, "Its ticket"),
        decided_at=(TIME, "When it was decided"),
        actor=(TEXT, "Who decided"),
        reason=(TEXT, "Why, in their words, masked"),
        category=(TEXT, "Category id decided"),
        agency=(TEXT, "Agency id decided"),
        kind=(TEXT, "Kind decided"),
        kelurahan_code=(TEXT, "Kemendagri code decided"),
    ),
    "ticket_decisions": mart(
        "What people decided about which reports are one matter: tickets split and merged, reports pinned to one, and such"
        " decisions undone. In the order they were applied.",
        "SELECT * FROM acts ORDER BY arrival",
        like=ACTS,
    ),
}
