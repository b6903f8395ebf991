"""What a snapshot of a real warehouse of made-up complaints says, read as an analyst would."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from pipelines import knowledge
from pipelines.errors import PermanentError
from pipelines.settings import Settings
from pipelines.sinks import marts, snapshot
from pipelines.sinks.landing import Landing
from pipelines.sinks.mart_rows import KEPT_BACK
from tests import made

WIB = ZoneInfo("Asia/Jakarta")
HALF_YEAR = made.rows(3_000)
NAMES = knowledge.names(made.settings(Path()))


def build(settings: Settings, rows: dict[str, pa.Table] | None = None, now: datetime = made.NOW) -> Path:
    with made.warehouse(settings, rows) as warehouse:
        return snapshot.build(settings, warehouse, NAMES, now)


def read(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.execute(sql, list(values)).fetchall()


@pytest.fixture(scope="module")
def half_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of HALF_YEAR, for tests that only read."""
    return build(made.settings(tmp_path_factory.mktemp("half_year")), HALF_YEAR)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made.settings(tmp_path)


@pytest.fixture
def few() -> dict[str, pa.Table]:
    return made.rows(40, days=20)


# --- what is in it --------------------------------------------------------------------------


def test_made_up_complaints_keep_every_promise_of_the_warehouse(settings: Settings) -> None:
    with made.warehouse(settings, HALF_YEAR) as warehouse:
        assert {what: n for what, n in warehouse.violations().items() if n} == {}


def test_every_table_and_column_is_as_described_and_says_so_itself(half_year: Path) -> None:
    described = {
        (name, field.name): field.metadata[b"description"].decode()
        for name, each in marts.MARTS.items()
        for field in each.schema
    }
    found = read(half_year, "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
    assert {(table, column): comment for table, column, comment in found} == described
    tables = read(half_year, "SELECT table_name, comment FROM duckdb_tables()")
    assert dict(tables) == {n: m.schema.metadata[b"description"].decode() for n, m in marts.MARTS.items()}
    assert all(described.values())


def test_the_sql_of_every_figure_gives_the_columns_it_describes_and_no_others(
    half_year: Path, settings: Settings
) -> None:
    heads = snapshot._heads(Landing(settings.landing_dir))
    with made.warehouse(settings, HALF_YEAR) as warehouse, snapshot._registered(warehouse.con, NAMES, heads):
        warehouse.con.execute(f"ATTACH '{half_year}' AS snap (READ_ONLY)")
        for name, figure in marts.FIGURES.items():
            values = {k: v for k, v in (("now", made.NOW), ("state", "")) if f"${k}" in figure.sql}
            warehouse.con.execute(f"SELECT * FROM ({figure.sql}) LIMIT 0", values)
            found = [column[0] for column in warehouse.con.description]
            assert (name, sorted(found)) == (name, sorted(figure.schema.names))
        warehouse.con.execute("DETACH snap")


def test_figures_take_now_as_given_and_never_ask_the_clock() -> None:
    asking = re.compile(r"current_(date|time|timestamp)|\b(now|today)\(|localtime", re.IGNORECASE)
    assert [name for name, each in marts.MARTS.items() if asking.search(each.sql)] == []


def test_nothing_personal_leaves_the_warehouse(half_year: Path) -> None:
    columns = read(half_year, "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal")
    tables = {table for table, _ in columns}
    assert tables & {"vault", "leaders", "leader_keys"} == set()
    assert {column for _, column in columns} & (KEPT_BACK - {"version"}) == set()
    with duckdb.connect(str(half_year), read_only=True) as con:
        con.register("_secret", pa.table({"value": HALF_YEAR["reports"]["author_key"]}))
        for table, column in columns:
            told = f'"{column}"::VARCHAR'
            sql = f'SELECT count(*) FROM "{table}" WHERE {told} LIKE ? OR {told} IN (SELECT value FROM _secret)'
            assert con.execute(sql, [f"%{made.CANARY}%"]).fetchall() == [(0,)], (table, column)


def test_a_snapshot_opens_in_clients_of_the_first_stable_storage_format(half_year: Path) -> None:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{half_year}' AS given (READ_ONLY)")
        tags = con.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'given'").fetchall()
    assert tags[0][0]["storage_version"].startswith("v1.0.0")


def test_an_empty_warehouse_makes_an_empty_snapshot(settings: Settings) -> None:
    path = build(settings)
    counts = {name: read(path, f'SELECT count(*) FROM "{name}"')[0][0] for name in marts.FIGURES}
    assert counts == dict.fromkeys(marts.FIGURES, 0) | {"about": 1, "kelurahan_dashboard": 267}


def test_open_emergencies_are_listed_newest_first_with_what_officers_read(half_year: Path) -> None:
    found = read(half_year, "SELECT ticket_no, emergency_label, since, kelurahan, description FROM emergencies")
    flagged = {
        row["ticket_no"]: row["description"]
        for row in HALF_YEAR["tickets"].to_pylist()
        if row["emergency"] and row["status"] not in ("selesai", "ditolak") and row["superseded_by"] is None
    }
    assert {ticket: description for ticket, *_, description in found} == flagged
    assert {label for _, label, *_ in found} == {"Telepon 112: Kebakaran sedang terjadi"}
    assert [row[2] for row in found] == sorted((row[2] for row in found), reverse=True)
    assert read(half_year, "SELECT count(*) FROM tickets WHERE emergency <> (emergency_label IS NOT NULL)") == [(0,)]


def test_an_emergency_counts_from_its_first_flagged_report_and_a_rule_that_is_gone_still_says_112(
    settings: Settings, few: dict[str, pa.Table]
) -> None:
    [ticket] = few["tickets"].slice(0, 1).to_pylist()
    build(settings, few)
    with made.warehouse(settings, None) as warehouse:
        warehouse.con.execute("UPDATE reports SET emergency = false, emergency_rule = NULL")
        warehouse.con.execute("UPDATE tickets SET emergency = false, emergency_rule = NULL")
        warehouse.con.execute(
            "UPDATE tickets SET emergency = true, emergency_rule = 'aturan_lama', status = 'proses' WHERE ticket_id = ?",
            [ticket["ticket_id"]],
        )
        taken_back = snapshot.build(settings, warehouse, NAMES, made.NOW)
        asked = "SELECT ticket_no, emergency_label, since, channel_name FROM emergencies"
        assert read(taken_back, asked) == [(ticket["ticket_no"], "Telepon 112", ticket["opened_at"], None)]
        [(said, channel)] = warehouse.con.execute(
            "UPDATE reports SET emergency = true, occurred_at = occurred_at + INTERVAL 1 MINUTE WHERE report_id = ?"
            " RETURNING occurred_at, channel",
            [ticket["first_report_id"]],
        ).fetchall()
        flagged = snapshot.build(settings, warehouse, NAMES, made.NOW)
    assert read(flagged, asked) == [(ticket["ticket_no"], "Telepon 112", said, NAMES.channels[channel])]


# --- figures --------------------------------------------------------------------------------


def _plain_tops(key: str) -> dict[tuple[str, date, str], tuple[int, int, int, float | None]]:
    """(period, start, key) -> (reports, before, change, ratio), counted the plain way."""
    category_of = dict(zip(*(HALF_YEAR["tickets"][c].to_pylist() for c in ("ticket_id", "category")), strict=True))
    ticket_of = dict(zip(*(HALF_YEAR["links"][c].to_pylist() for c in ("report_id", "ticket_id")), strict=True))
    counts: Counter[tuple[str, date, str]] = Counter()
    for report in HALF_YEAR["reports"].select(["report_id", "occurred_at", "category", "channel"]).to_pylist():
        day = report["occurred_at"].astimezone(WIB).date()
        of_ticket = category_of.get(ticket_of.get(report["report_id"]))
        value = report["channel"] if key == "channel" else of_ticket or report["category"] or "unknown"
        counts["month", day.replace(day=1), value] += 1
        counts["week", day - timedelta(days=day.weekday()), value] += 1
    lines = {}
    for period in ("month", "week"):
        starts = sorted({start for p, start, _ in counts if p == period})
        for value in {v for p, _, v in counts if p == period}:
            first = min(start for p, start, v in counts if (p, v) == (period, value))
            for start in starts:
                if start >= first:
                    month_before = (start - timedelta(days=1)).replace(day=1)
                    earlier = month_before if period == "month" else start - timedelta(days=7)
                    now, before = counts[period, start, value], counts[period, earlier, value]
                    lines[period, start, value] = (
                        now,
                        before,
                        now - before,
                        round((now - before) / before, 9) if before else None,
                    )
    return lines


@pytest.mark.parametrize(("table", "key"), [("top_categories", "category"), ("top_channels", "channel")])
def test_tops_equal_a_plain_count_with_zeros_where_a_period_brought_nothing(
    half_year: Path, table: str, key: str
) -> None:
    rows = read(
        half_year,
        f"SELECT period, period_start, {key}, reports, reports_before, change, round(change_ratio, 9) FROM {table}",
    )
    found = {tuple(row[:3]): tuple(row[3:]) for row in rows}
    assert len(found) == len(rows)
    assert found == _plain_tops(key)
    assert any(now == 0 and before > 0 for now, before, *_ in found.values())


def test_ranks_and_shares_are_of_the_period_and_the_undecided_stand_outside_the_ranking(half_year: Path) -> None:
    wrong = read(
        half_year,
        "SELECT * FROM (SELECT period, period_start, sum(share) AS shares, min(rank) AS first,"
        " count(*) FILTER (rank IS NULL AND reports > 0 AND category <> 'unknown') AS unranked,"
        " count(*) FILTER (category = 'unknown' AND rank IS NOT NULL) AS ranked FROM top_categories GROUP BY ALL)"
        " WHERE abs(shares - 1) > 1e-9 OR first <> 1 OR unranked > 0 OR ranked > 0",
    )
    assert wrong == []
    order = read(
        half_year,
        "SELECT category, reports, rank FROM top_categories WHERE period = 'month' AND period_start = '2026-05-01'"
        " AND rank <= 3 ORDER BY rank, category",
    )
    assert [rank for _, _, rank in order] == [1 + sum(n > reports for _, n, _ in order) for _, reports, _ in order]


def test_only_periods_that_were_over_count_as_complete(half_year: Path) -> None:
    months = (
        "SELECT DISTINCT strftime(period_start, '%Y-%m'), complete FROM top_channels WHERE period = 'month' ORDER BY 1"
    )
    assert read(half_year, months)[-3:] == [("2026-04", True), ("2026-05", True), ("2026-06", False)]
    weeks = "SELECT DISTINCT period_start, complete FROM top_channels WHERE period = 'week' ORDER BY 1"
    # Monday 15 June, 10:00 in Jakarta: the week that ended on Sunday is over.
    assert read(half_year, weeks)[-2:] == [(date(2026, 6, 8), True), (date(2026, 6, 15), False)]


def test_figures_add_up_to_the_same_totals(half_year: Path) -> None:
    reports, tickets = HALF_YEAR["reports"].num_rows, HALF_YEAR["tickets"].num_rows
    totals = read(
        half_year,
        "SELECT (SELECT sum(reports) FROM volume_by_day), (SELECT sum(tickets_opened) FROM volume_by_day),"
        " (SELECT sum(reports) FROM top_categories WHERE period = 'month'),"
        " (SELECT sum(tickets) FROM top_categories WHERE period = 'week'),"
        " (SELECT sum(reports) FROM top_channels WHERE period = 'week'),"
        " (SELECT sum(tickets) FROM top_channels WHERE period = 'month'),"
        " (SELECT sum(reports) FROM category_by_channel), (SELECT sum(tickets) FROM category_by_channel),"
        " (SELECT sum(open + closed) FROM kelurahan_dashboard), (SELECT sum(open + closed) FROM agency_load),"
        " (SELECT sum(tickets) FROM sla_by_month)",
    )
    assert totals == [(reports, tickets) * 2 + (reports, tickets) * 2 + (tickets,) * 3]
    outcomes = Counter(HALF_YEAR["messages"]["outcome"].to_pylist())
    aside = read(
        half_year, "SELECT sum(filtered), sum(quarantined), (SELECT count(*) FROM quarantine) FROM volume_by_day"
    )
    assert aside == [(outcomes["filtered"], outcomes["quarantined"], outcomes["quarantined"])]
    assert read(half_year, "SELECT sum(messages) FROM channel_freshness") == [(HALF_YEAR["messages"].num_rows,)]


@pytest.mark.parametrize(
    ("table", "line", "reports"),
    [
        ("top_categories", "if(period = 'month', 'month', 'week'), if(period = 'month',"
         " strftime(period_start, '%Y-%m'), period_start::VARCHAR), 'category', category", "reports"),
        ("top_channels", "if(period = 'month', 'month', 'week'), if(period = 'month',"
         " strftime(period_start, '%Y-%m'), period_start::VARCHAR), 'channel', channel", "reports"),
        ("category_by_channel", "'month', strftime(month, '%Y-%m'), 'category', category, 'channel', channel", "reports"),
        ("volume_by_day", "'day', day::VARCHAR, 'channel', channel", "reports"),
        ("review_queue", "'ticket_no', ticket_no", "report_count"),
    ],
)  # fmt: skip
def test_every_line_walks_back_to_as_many_reports_as_it_counts(
    half_year: Path, table: str, line: str, reports: str
) -> None:
    with duckdb.connect(str(half_year), read_only=True) as con:
        lines = con.execute(f"SELECT {reports}, {line} FROM {table} USING SAMPLE 60 (reservoir, 7)").fetchall()
        assert lines
        for count, *pairs in lines:
            where = dict(zip(pairs[::2], pairs[1::2], strict=True))
            sql, values = marts.lineage(table, where)
            assert len(con.execute(sql, values).fetchall()) == count, where


@pytest.mark.parametrize(
    ("table", "keys"), [("kelurahan_dashboard", ["kelurahan_code"]), ("agency_load", ["agency_id", "unit"])]
)
def test_every_line_of_a_load_walks_back_to_as_many_tickets(half_year: Path, table: str, keys: list[str]) -> None:
    with duckdb.connect(str(half_year), read_only=True) as con:
        lines = con.execute(f"SELECT open + closed, {', '.join(keys)} FROM {table} WHERE open + closed > 0").fetchall()
        for count, *values in lines:
            sql, given = marts.lineage(table, dict(zip(keys, values, strict=True)))
            found = con.execute(f"SELECT count(DISTINCT ticket_id) FROM ({sql})", given).fetchall()
            assert found == [(count,)], values


def test_the_way_back_ends_at_landed_messages(half_year: Path) -> None:
    sql, values = marts.lineage("top_channels", {"month": "2026-05", "channel": "jaki"})
    found = read(half_year, f"SELECT count(*), count(m.outcome) FROM ({sql}) LEFT JOIN messages m"
                 " USING (channel, stream, sequence, row)", *values)  # fmt: skip
    assert found[0][0] == found[0][1] > 100


def test_asking_back_from_what_is_not_there_names_what_is() -> None:
    with pytest.raises(PermanentError, match=r"'nothing' has no way back.*top_categories"):
        marts.lineage("nothing", {})
    with pytest.raises(PermanentError, match=r"top_channels is not told apart by 'colour'; use: month, week, channel"):
        marts.lineage("top_channels", {"colour": "red"})


def test_one_report_with_a_wrong_year_does_not_fill_the_years_between(
    settings: Settings, few: dict[str, pa.Table]
) -> None:
    times = few["reports"]["occurred_at"].to_pylist()
    times[0] = datetime(2099, 1, 1, tzinfo=UTC)
    column = few["reports"].schema.get_field_index("occurred_at")
    few["reports"] = few["reports"].set_column(
        column, few["reports"].field(column), pa.array(times, few["reports"].field(column).type)
    )
    path = build(settings, few)
    assert read(path, "SELECT count(DISTINCT period_start) FROM top_channels WHERE period = 'month'")[0][0] <= 4
    assert read(path, "SELECT max(last_occurred_at) < '2099-01-01' FROM channel_freshness") == [(True,)]


def test_clocks_and_ages_are_told_as_of_the_given_now(settings: Settings, few: dict[str, pa.Table]) -> None:
    early = build(settings, few, made.NOW)
    late = build(settings, None, made.NOW + timedelta(days=30))
    asked = "SELECT count(*) FILTER (overdue), count(*) FILTER (open), sum(days_open) FROM tickets"
    (overdue, open_, age), (late_overdue, late_open, late_age) = read(early, asked)[0], read(late, asked)[0]
    assert (late_open, late_overdue) == (open_, open_)
    assert overdue < open_
    assert late_age == pytest.approx(age + 30 * open_, abs=0.5)


def test_the_same_warehouse_and_now_give_the_same_snapshot(settings: Settings, few: dict[str, pa.Table]) -> None:
    one, two = build(settings, few), build(settings)
    for name in marts.MARTS:
        assert read(one, f'FROM "{name}" ORDER BY ALL') == read(two, f'FROM "{name}" ORDER BY ALL'), name
