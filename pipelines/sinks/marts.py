"""The snapshot's figures, as data: each with its SQL, what it means, and the way back to its reports.

Belongs here: what is counted and how. Days, weeks and months are Jakarta's; whatever depends on
"now" takes it from $now. Not here: row-level tables (mart_rows), building (snapshot), drawing (report).

Everywhere: a report counts when it was said, a ticket when it was opened, a ticket merged into
another not at all. So a line's reports and tickets may lie on either side of a month's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from pipelines import __version__
from pipelines.contracts import BIG, BOOL, DAY, REAL, TEXT, TIME
from pipelines.errors import PermanentError
from pipelines.sinks.mart_rows import ROWS, UNKNOWN, UNKNOWN_NAME, Mart, mart, week, wib

_TODAY = wib("$now::TIMESTAMPTZ")
_PERIODS = "CROSS JOIN (VALUES ('month'), ('week')) p(period)"  # each report stands in one month and in one week
_LIVE = "superseded_by IS NULL"


def _top(key: str, names: str, *, said: str, opened: str) -> str:
    """Lines of (period, period_start, key), also with nothing said where the key was seen before.

    names: table of the key's names. said, opened: SQL of the key over snap.reports and snap.tickets. Only periods in which anything
    was said or opened have lines, so one report with a wrong year does not fill a century.
    """
    return f"""
    WITH counts AS (
        SELECT period, period_start, {key}, sum(reports)::BIGINT AS reports, sum(tickets)::BIGINT AS tickets FROM (
            SELECT period, if(period = 'month', said_month, said_week) AS period_start, {said} AS {key},
                count(*) AS reports, 0 AS tickets
            FROM snap.reports {_PERIODS} GROUP BY ALL
            UNION ALL
            SELECT period, if(period = 'month', opened_month, {week("opened_day")}) AS period_start, {opened} AS {key},
                0 AS reports, count(*) AS tickets
            FROM snap.tickets {_PERIODS} WHERE {_LIVE} GROUP BY ALL)
        GROUP BY ALL),
    lines AS (
        SELECT g.*, coalesce(c.reports, 0) AS reports, coalesce(c.tickets, 0) AS tickets FROM (
            SELECT p.period, p.period_start, f.{key} FROM (SELECT DISTINCT period, period_start FROM counts) p
            JOIN (SELECT period, {key}, min(period_start) AS first_start FROM counts GROUP BY ALL) f
                ON f.period = p.period AND f.first_start <= p.period_start) g
        LEFT JOIN counts c USING (period, period_start, {key}))
    SELECT l.*, n.{key}_name, coalesce(b.reports, 0) AS reports_before, l.reports - coalesce(b.reports, 0) AS change,
        (l.reports - b.reports) / nullif(b.reports, 0) AS change_ratio,
        l.reports / nullif(sum(l.reports) OVER (PARTITION BY l.period, l.period_start), 0) AS share,
        CASE WHEN l.reports > 0 AND l.{key} <> '{UNKNOWN}' THEN rank() OVER (
            PARTITION BY l.period, l.period_start, l.{key} = '{UNKNOWN}' ORDER BY l.reports DESC) END AS rank,
        if(l.period = 'month', l.period_start + INTERVAL 1 MONTH, l.period_start + INTERVAL 7 DAY)::DATE <= {_TODAY}
            AS complete
    FROM lines l
    LEFT JOIN lines b ON b.period = l.period AND b.{key} = l.{key} AND b.period_start =
        if(l.period = 'month', l.period_start - INTERVAL 1 MONTH, l.period_start - INTERVAL 7 DAY)::DATE
    LEFT JOIN snap.{names} n ON n.{key} = l.{key}
    ORDER BY l.period, l.period_start, rank NULLS LAST, l.{key}
    """


_TOP_COLUMNS = {
    "reports": (BIG, "Reports said in the period"),
    "tickets": (BIG, "Tickets opened in the period"),
    "share": (REAL, "Share of all reports of the period, 0..1"),
    "rank": (BIG, "1 for the most reports; equal counts share a rank; null for 'unknown' and for none"),
    "reports_before": (BIG, "Reports of the calendar's period before; 0 where there were none"),
    "change": (BIG, "reports - reports_before"),
    "change_ratio": (REAL, "change / reports_before; null where there were none before"),
    "complete": (BOOL, "The period was over when the snapshot was made"),
}
_PERIOD_COLUMNS = {
    "period": (TEXT, "month or week"),
    "period_start": (DAY, "Its first day, Asia/Jakarta; weeks begin on Monday"),
}
_MONTH = "strftime(r.said_month, '%Y-%m')"

FIGURES: dict[str, Mart] = {
    "volume_by_day": mart(
        "What came in on each day, by channel.",
        f"""
        SELECT day, channel, any_value(channel_name) AS channel_name, sum(reports)::BIGINT AS reports,
            sum(tickets_opened)::BIGINT AS tickets_opened, sum(filtered)::BIGINT AS filtered,
            sum(quarantined)::BIGINT AS quarantined
        FROM (
            SELECT said_day AS day, channel, count(*) AS reports, 0 AS tickets_opened, 0 AS filtered, 0 AS quarantined
            FROM snap.reports GROUP BY ALL
            UNION ALL SELECT opened_day, first_channel, 0, count(*), 0, 0 FROM snap.tickets WHERE {_LIVE} GROUP BY ALL
            UNION ALL SELECT landed_day, channel, 0, 0, count(*) FILTER (outcome = 'filtered'),
                count(*) FILTER (outcome = 'quarantined')
            FROM snap.messages WHERE outcome IN ('filtered', 'quarantined') GROUP BY ALL)
        LEFT JOIN snap.channels USING (channel) GROUP BY day, channel ORDER BY day, channel
        """,
        trace={"day": "r.said_day", "channel": "r.channel"},
        day=(DAY, "Day, Asia/Jakarta"),
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name of the channel"),
        reports=(BIG, "Reports said on the day"),
        tickets_opened=(BIG, "Tickets opened on the day, by the channel of the first report"),
        filtered=(BIG, "Own replies, reposts, bounces and spam that landed on the day"),
        quarantined=(BIG, "Messages that landed on the day and were set aside"),
    ),
    "top_categories": mart(
        "Reports and tickets by category for each month and week, with the change against the period before.",
        _top("category", "categories", said="counted_category", opened=f"coalesce(category, '{UNKNOWN}')"),
        trace={"month": _MONTH, "week": "r.said_week", "category": "r.counted_category"},
        **_PERIOD_COLUMNS,
        category=(TEXT, "Category id that counts (reports.counted_category), 'unknown' where undecided"),
        category_name=(TEXT, "Name of the category"),
        **_TOP_COLUMNS,
    ),
    "top_channels": mart(
        "Reports and tickets by channel for each month and week, with the change against the period before.",
        _top("channel", "channels", said="channel", opened="first_channel"),
        trace={"month": _MONTH, "week": "r.said_week", "channel": "r.channel"},
        **_PERIOD_COLUMNS,
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name of the channel"),
        **_TOP_COLUMNS,
    ),
    "category_by_channel": mart(
        "Reports and tickets of each month by category and channel.",
        f"""
        SELECT c.*, category_name, channel_name FROM (
            SELECT month, category, channel, sum(reports)::BIGINT AS reports, sum(tickets)::BIGINT AS tickets FROM (
                SELECT said_month AS month, counted_category AS category, channel, count(*) AS reports, 0 AS tickets
                FROM snap.reports GROUP BY ALL
                UNION ALL
                SELECT opened_month, coalesce(category, '{UNKNOWN}'), first_channel, 0, count(*)
                FROM snap.tickets WHERE {_LIVE} GROUP BY ALL)
            GROUP BY ALL) c
        LEFT JOIN snap.categories USING (category) LEFT JOIN snap.channels USING (channel)
        ORDER BY month, category, channel
        """,
        trace={"month": _MONTH, "category": "r.counted_category", "channel": "r.channel"},
        month=(DAY, "First day of the month, Asia/Jakarta"),
        category=(TEXT, "Category id that counts, 'unknown' where undecided"),
        category_name=(TEXT, "Name of the category"),
        channel=(TEXT, "Channel id; of tickets, that of the first report"),
        channel_name=(TEXT, "Name of the channel"),
        reports=(BIG, "Reports said in the month"),
        tickets=(BIG, "Tickets opened in the month"),
    ),
    "kelurahan_dashboard": mart(
        "Every kelurahan as of the snapshot; the line 'unknown' holds what has no kelurahan.",
        f"""
        WITH t AS (
            SELECT coalesce(kelurahan_code, '{UNKNOWN}') AS kelurahan_code, count(*) FILTER (open) AS open,
                count(*) FILTER (NOT open) AS closed, count(*) FILTER (overdue) AS overdue
            FROM snap.tickets WHERE {_LIVE} GROUP BY 1),
        c AS (
            SELECT counted_kelurahan_code AS kelurahan_code, counted_category, count(*) AS n FROM snap.reports
            WHERE occurred_at > $now::TIMESTAMPTZ - INTERVAL 30 DAY AND occurred_at <= $now::TIMESTAMPTZ GROUP BY ALL),
        r AS (
            SELECT kelurahan_code, sum(n)::BIGINT AS reports_30_days,
                arg_max(counted_category, (n, counted_category)) FILTER (counted_category <> '{UNKNOWN}') AS top_category
            FROM c GROUP BY 1),
        k AS (SELECT kelurahan_code FROM snap.areas UNION SELECT kelurahan_code FROM t UNION SELECT kelurahan_code FROM r)
        SELECT kelurahan_code, coalesce(kelurahan, '{UNKNOWN_NAME}') AS kelurahan, kecamatan, kota,
            coalesce(open, 0) AS open, coalesce(closed, 0) AS closed, coalesce(overdue, 0) AS overdue,
            coalesce(reports_30_days, 0) AS reports_30_days, top_category, category_name AS top_category_name
        FROM k LEFT JOIN snap.areas USING (kelurahan_code) LEFT JOIN t USING (kelurahan_code)
        LEFT JOIN r USING (kelurahan_code) LEFT JOIN snap.categories n ON n.category = r.top_category
        ORDER BY kelurahan_code
        """,
        trace={"kelurahan_code": f"coalesce(t.kelurahan_code, '{UNKNOWN}')"},
        kelurahan_code=(TEXT, "Kemendagri code, or 'unknown'"),
        kelurahan=(TEXT, "Its name"),
        kecamatan=(TEXT, "Name of its kecamatan"),
        kota=(TEXT, "Name of its kota"),
        open=(BIG, "Tickets open"),
        closed=(BIG, "Tickets selesai or ditolak"),
        overdue=(BIG, "Tickets open past their completion clock"),
        reports_30_days=(BIG, "Reports said in the 30 days before the snapshot"),
        top_category=(TEXT, "Most frequent known category of those"),
        top_category_name=(TEXT, "Its name"),
    ),
    "agency_load": mart(
        "What lies with each unit of each agency as of the snapshot.",
        f"""
        SELECT agency_id, any_value(agency_name) AS agency_name, unit, count(*) FILTER (open) AS open,
            count(*) FILTER (overdue) AS overdue, count(*) FILTER (NOT open) AS closed,
            count(*) FILTER (opened_at > $now::TIMESTAMPTZ - INTERVAL 30 DAY AND opened_at <= $now::TIMESTAMPTZ)
                AS opened_30_days,
            count(days_to_finish) AS finished, median(days_to_finish) AS median_days_to_finish
        FROM snap.tickets WHERE {_LIVE} GROUP BY agency_id, unit ORDER BY open DESC, agency_id, unit
        """,
        trace={"agency_id": "t.agency_id", "unit": "t.unit"},
        agency_id=(TEXT, "Agency id"),
        agency_name=(TEXT, "Name of the agency"),
        unit=(TEXT, "Unit of it"),
        open=(BIG, "Tickets open"),
        overdue=(BIG, "Tickets open past their completion clock"),
        closed=(BIG, "Tickets selesai or ditolak"),
        opened_30_days=(BIG, "Tickets opened in the 30 days before the snapshot"),
        finished=(BIG, "Tickets selesai of which it is known how long they took"),
        median_days_to_finish=(REAL, "Median days of those from opening to selesai"),
    ),
    "sla_by_month": mart(
        "How the tickets opened in each month kept their clocks, as of the snapshot. A ticket that came in with a status,"
        " as history does, is in no clock's figures.",
        f"""
        SELECT *, finished_in_time / nullif(finished_in_time + late, 0) AS in_time_ratio,
            coordinated_in_time / nullif(coordinated_in_time + coordinated_late, 0) AS coordination_ratio
        FROM (
            SELECT opened_month AS month, count(*) AS tickets, count(days_to_finish) AS finished,
                count(*) FILTER (t.finished_in_time) AS finished_in_time,
                count(*) FILTER (overdue OR t.finished_in_time = false) AS late,
                count(*) FILTER (coordinated_at <= coordination_due_at) AS coordinated_in_time,
                count(*) FILTER (coordination_overdue OR coordinated_at > coordination_due_at) AS coordinated_late,
                median(days_to_finish) AS median_days_to_finish
            FROM snap.tickets t WHERE {_LIVE} GROUP BY 1)
        ORDER BY month
        """,
        trace={"month": "strftime(t.opened_month, '%Y-%m')"},
        month=(DAY, "First day of the month the tickets were opened in, Asia/Jakarta"),
        tickets=(BIG, "Tickets opened"),
        finished=(BIG, "Of these selesai, where it is known how long they took"),
        finished_in_time=(BIG, "Finished by completion_due_at"),
        late=(BIG, "Finished after completion_due_at, or open past it"),
        in_time_ratio=(REAL, "finished_in_time / (finished_in_time + late), 0..1; null while no clock has run out"),
        coordinated_in_time=(BIG, "Left menunggu by coordination_due_at"),
        coordinated_late=(BIG, "Left menunggu after coordination_due_at, or still there past it"),
        coordination_ratio=(REAL, "coordinated_in_time / (coordinated_in_time + coordinated_late), 0..1"),
        median_days_to_finish=(REAL, "Median days from opening to selesai"),
    ),
    "channel_freshness": mart(
        "When each stream was last heard of, as of the snapshot.",
        """
        SELECT b.channel, any_value(channel_name) AS channel_name, b.stream, sum(messages)::BIGINT AS messages,
            max(landed_at) AS last_landed_at, any_value(said.last) AS last_occurred_at,
            round(greatest(0, epoch($now::TIMESTAMPTZ - last_landed_at)) / 3600, 1) AS hours_since_landed,
            round(greatest(0, epoch($now::TIMESTAMPTZ - last_occurred_at)) / 3600, 1) AS hours_since_said
        FROM snap.batches b LEFT JOIN (
            SELECT channel, stream, max(occurred_at) AS last FROM snap.reports WHERE occurred_at <= $now::TIMESTAMPTZ
            GROUP BY ALL) said ON said.channel = b.channel AND said.stream = b.stream
        LEFT JOIN snap.channels n ON n.channel = b.channel GROUP BY b.channel, b.stream ORDER BY b.channel, b.stream
        """,
        trace={"channel": "r.channel", "stream": "r.stream"},
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name of the channel"),
        stream=(TEXT, "Stream of it"),
        messages=(BIG, "Messages landed"),
        last_landed_at=(TIME, "When its newest batch landed"),
        last_occurred_at=(TIME, "When its newest report was said; later than the snapshot does not count"),
        hours_since_landed=(REAL, "Hours from last_landed_at to the snapshot"),
        hours_since_said=(REAL, "Hours from last_occurred_at to the snapshot"),
    ),
    "gaps": mart(
        "What could not be read: an API had forgotten it before Kanal asked. Figures of these times are too low.",
        """
        SELECT channel, channel_name, stream, what, begun_at, ended_at, found_at, fill
        FROM _gaps LEFT JOIN snap.channels USING (channel) ORDER BY channel, stream, begun_at, what
        """,
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name of the channel"),
        stream=(TEXT, "Stream of it"),
        what=(TEXT, "What is missing"),
        begun_at=(TIME, "Nothing older is missing"),
        ended_at=(TIME, "Nothing newer is missing"),
        found_at=(TIME, "When a run found out"),
        fill=(TEXT, "How to fill it; a filled gap stays on record"),
    ),
    "reading_costs": mart(
        "What reading paid APIs cost, by UTC day, of the last 35 days. Counted by Kanal; the bill is the vendor's.",
        """
        SELECT channel, channel_name, stream, day, posts, owned, users, media, usd
        FROM _costs LEFT JOIN snap.channels USING (channel) ORDER BY day, channel, stream
        """,
        channel=(TEXT, "Channel id"),
        channel_name=(TEXT, "Name of the channel"),
        stream=(TEXT, "Stream of it"),
        day=(DAY, "Day in UTC, as X bills"),
        posts=(BIG, "Posts read, those that others refer to among them"),
        owned=(BIG, "Mentions of the app owner's own account read"),
        users=(BIG, "Authors read"),
        media=(BIG, "Descriptions of pictures and videos read"),
        usd=(REAL, "US$ at the prices of kanal.toml"),
    ),
    "about": mart(
        "One row: what this snapshot is.",
        f"""
        SELECT $now::TIMESTAMPTZ AS built_at, '{__version__}' AS kanal_version, $state AS state,
            (SELECT count(*) FROM snap.reports) AS reports, (SELECT count(*) FROM snap.tickets WHERE {_LIVE}) AS tickets,
            (SELECT count(*) FROM snap.messages) AS messages, (SELECT count(DISTINCT entry) FROM snap.batches) AS entries,
            v.* FROM (
            SELECT min(occurred_at) AS first_occurred_at, max(occurred_at) AS last_occurred_at,
                string_agg(DISTINCT code_version, ', ' ORDER BY code_version) AS code_versions,
                string_agg(DISTINCT model_version, ', ' ORDER BY model_version) AS model_versions,
                string_agg(DISTINCT data_version, ', ' ORDER BY data_version) AS data_versions
            FROM snap.reports) v
        """,
        built_at=(TIME, "When it was made: the now of everything that depends on now"),
        kanal_version=(TEXT, "Version of Kanal that made it"),
        code_versions=(TEXT, "Versions of Kanal that refined its reports"),
        model_versions=(TEXT, "Classifiers that judged them"),
        data_versions=(TEXT, "States of models/ that judged them"),
        entries=(BIG, "Entries of the order log in it"),
        messages=(BIG, "Messages"),
        reports=(BIG, "Reports"),
        tickets=(BIG, "Tickets, without those merged into another"),
        first_occurred_at=(TIME, "When the oldest report was said"),
        last_occurred_at=(TIME, "When the newest report was said"),
        state=(TEXT, "What the warehouse held: equal for equal contents"),
    ),
}

MARTS: dict[str, Mart] = ROWS | FIGURES  # in the order of building: later ones read earlier ones


def version() -> str:
    """Changes when a definition does, so that a new Kanal makes a new snapshot of old data."""
    told = __version__ + "".join(
        f"{name}{m.sql}{m.schema.to_string(show_schema_metadata=True)}" for name, m in MARTS.items()
    )
    return blake2b(told.encode(), digest_size=6).hexdigest()


def lineage(name: str, where: Mapping[str, str]) -> tuple[str, list[str]]:
    """(SQL over a snapshot, its parameters): the reports behind a mart's lines, with their tickets.

    PermanentError names what can be asked where the mart or a key is unknown.
    """
    traced = {n: m.trace for n, m in MARTS.items() if m.trace}
    if name not in traced:
        raise PermanentError(f"{name!r} has no way back to reports; these have: {', '.join(traced)}")
    if unknown := sorted(set(where) - set(traced[name])):
        raise PermanentError(f"{name} is not told apart by {unknown[0]!r}; use: {', '.join(traced[name])}")
    conditions = " AND ".join(f"{traced[name][key]}::VARCHAR = ?" for key in where) or "true"
    sql = (
        "SELECT t.ticket_no, r.* FROM reports r LEFT JOIN tickets t USING (ticket_id)"
        f" WHERE {conditions} ORDER BY t.first_arrival NULLS LAST, r.arrival"
    )
    return sql, list(where.values())
