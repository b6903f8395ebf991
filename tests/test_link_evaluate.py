"""`kanal link evaluate`: a file of incidents against the tickets of the snapshot."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines import flow, knowledge
from pipelines.agreement import most_divided
from pipelines.cli import app
from pipelines.contracts import report_id_of
from pipelines.errors import SettingsError
from pipelines.incidents import judge, read_hard, read_truth, truth_of
from pipelines.settings import Settings, load
from pipelines.sinks import snapshot
from tests import made
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A snapshot of 120 reports, some of them without a ticket, and of messages that became none."""
    found = made.settings(tmp_path_factory.mktemp("published"))
    with made.warehouse(found, made.rows(120)) as warehouse:
        snapshot.build(found, warehouse, knowledge.names(found), made.NOW)
    return found


@pytest.fixture(scope="module")
def con(published: Settings):
    with duckdb.connect(str(published.analytics.resolve()), read_only=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def tickets(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """report_id -> ticket_id, in the order of arrival, by the snapshot's own table of reports."""
    return dict(
        con.execute("SELECT report_id, coalesce(ticket_id, report_id) FROM reports ORDER BY arrival").fetchall()
    )


def link(*words: Any, config: Settings | Path) -> Result:
    path = config.path if isinstance(config, Settings) else config
    return CliRunner().invoke(app, ["link", "evaluate", *map(str, words), "--config", str(path)])


def sheet(path: Path, header: str, rows: Iterable[Sequence[Any]], separator: str = ",") -> Path:
    lines = [header.replace(",", separator), *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


# --- figures ---


@given(st.data())
def test_figures_of_a_file_are_those_of_every_pair_counted_one_by_one(con, tickets, data) -> None:
    known = data.draw(st.lists(st.sampled_from(list(tickets)), unique=True, min_size=1, max_size=40))
    strangers = data.draw(st.integers(0, 3))
    names = data.draw(st.permutations([*known, *(f"asing-{n}" for n in range(strangers))]))
    incident = {name: str(data.draw(st.integers(0, 6))) for name in names}
    found = judge(con, truth_of(pd.DataFrame({"report_id": names, "incident": [incident[n] for n in names]}), "x"))
    assert found["reports"] == {
        "in_file": len(names), "judged": len(known), "unknown": strangers,
        "without_ticket": sum(tickets[n] == n for n in known), "not_fixed": 0,
    }  # fmt: skip
    pairs = list(combinations(known, 2))
    true = {p for p in pairs if incident[p[0]] == incident[p[1]]}
    told = {p for p in pairs if tickets[p[0]] == tickets[p[1]]}
    by_ticket, by_incident = defaultdict(set), defaultdict(set)
    for name in known:
        by_ticket[tickets[name]].add(name)
        by_incident[incident[name]].add(name)
    c = found["clustering"]
    assert c["pair_precision"] == pytest.approx(len(true & told) / len(told) if told else 1)
    assert c["pair_recall"] == pytest.approx(len(true & told) / len(true) if true else 1)
    assert c["b_cubed_precision"] == pytest.approx(
        np.mean([len(by_ticket[tickets[n]] & by_incident[incident[n]]) / len(by_ticket[tickets[n]]) for n in known])
    )
    assert c["b_cubed_recall"] == pytest.approx(
        np.mean([len(by_ticket[tickets[n]] & by_incident[incident[n]]) / len(by_incident[incident[n]]) for n in known])
    )
    many = [group for group in by_ticket.values() if len(group) > 1]
    assert c["pure"] == pytest.approx(np.mean([len({incident[n] for n in g}) == 1 for g in many]) if many else 1)
    many = [group for group in by_incident.values() if len(group) > 1]
    assert c["whole"] == pytest.approx(np.mean([len({tickets[n] for n in g}) == 1 for g in many]) if many else 1)
    assert (c["tickets"], c["incidents"]) == (len(by_ticket), len(by_incident))
    assert c["largest"] == found["largest"]["reports"] == max(map(len, by_ticket.values()))
    first = {ticket: next(n for n in tickets if n in group) for ticket, group in by_ticket.items()}
    joined = [n for n in known if n != first[tickets[n]]]
    right = [incident[n] == incident[first[tickets[n]]] for n in joined]
    assert sum(level["joined"] for level in found["levels"].values()) == len(joined)
    assert sum(level["right"] * level["joined"] for level in found["levels"].values()) == pytest.approx(sum(right))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30), st.integers(0, 4))
def test_the_most_divided_come_first_and_hold_every_report_once(labels, most) -> None:
    group, part = (np.array([pair[side] for pair in labels]) for side in (0, 1))
    found = most_divided(group, part, most)
    parts = {g: {p for h, p in labels if h == g} for g, _ in labels}
    divided = sorted((len(p) for p in parts.values() if len(p) > 1), reverse=True)
    assert [len(d.parts) for d in found] == divided[:most]
    for told in found:
        rows = [row for _, some in told.parts for row in some]
        assert sorted(rows) == [n for n, (g, _) in enumerate(labels) if g == told.group]
        assert all(labels[row][1] == p for p, some in told.parts for row in some)
        sizes = [len(some) for _, some in told.parts]
        assert sizes == sorted(sizes, reverse=True)


def test_copies_and_hard_pairs_are_counted_where_both_sides_are_judged(con, tickets, tmp_path: Path) -> None:
    groups = defaultdict(list)
    for report, ticket in tickets.items():
        groups[ticket].append(report)
    (a, b), (c, *_) = (
        next(g[:2] for g in groups.values() if len(g) > 1),
        next(g for g in groups.values() if len(g) == 1),
    )
    rows = [(a, 1, "first", ""), (b, 1, "repost", a), (c, 1, "near_copy", a), ("asing", 2, "repost", a)]
    truth = read_truth(sheet(tmp_path / "t.csv", "report_id,incident,role,copy_of", rows))
    hard = read_hard(sheet(tmp_path / "h.csv", "a,b,hard", [(a, b, "x"), (a, c, "x"), (c, "asing", "y")]), truth)
    found = judge(con, truth, hard)
    assert found["copies"] == {
        "near_copy": {"of": 1, "found": 0.0}, "repost": {"of": 1, "found": 1.0}, "all": {"of": 2, "found": 0.5},
    }  # fmt: skip
    assert found["hard"] == {"x": {"of": 2, "merged": 0.5}, "all": {"of": 2, "merged": 0.5}}
    assert (found["copies_unknown"], found["hard_unknown"]) == (0, 1)
    orphan = truth_of(pd.DataFrame({"report_id": [a], "incident": ["1"], "copy_of": ["asing"]}), "x")
    assert judge(con, orphan)["copies_unknown"] == 1


def test_who_says_that_nothing_was_done_stays_out_of_the_clusters(con, tickets) -> None:
    a, b, c = list(tickets)[:3]
    rows = pd.DataFrame({"report_id": [a, b, c], "incident": ["1", "1", "1"], "role": ["first", "late", "not_fixed"]})
    found = judge(con, truth_of(rows, "x"))
    assert found["reports"]["not_fixed"] == 1
    assert found["clustering"]["incidents"] == 1 and found["largest"]["reports"] <= 2
    assert found["followed"] in (0.0, 1.0)


def test_a_report_is_found_by_its_channels_own_number_in_whichever_stream_it_came(con, tmp_path: Path) -> None:
    """The snapshot keeps those numbers back: they lead to accounts. Their hash is asked for. The file is as Excel saves it."""
    rows = con.execute("SELECT channel, stream, report_id FROM reports WHERE channel = 'kelurahan'").fetchall()
    refs = {report_id_of(c, s, f"{made.CANARY}-0-{n}"): f"{made.CANARY}-0-{n}" for c, s, _ in rows for n in range(140)}
    truth = read_truth(
        sheet(tmp_path / "t.csv", "\ufeffchannel,source_ref,incident", [(c, refs[r], r) for c, _, r in rows], ";")
    )
    assert {s for _, s, _ in rows} == {"selatan", "timur"}
    found = judge(con, truth)
    assert (found["reports"]["judged"], found["clustering"]["incidents"]) == (len(rows), len(rows))
    with_stream = read_truth(
        sheet(tmp_path / "s.csv", "channel,stream,source_ref,incident", [("kelurahan", "barat", "x", 1)])
    )
    assert judge(con, with_stream)["reports"]["unknown"] == 1


# --- the command ---


def test_worst_errors_are_told_by_id_and_no_more_than_asked_for(published: Settings, tickets, tmp_path: Path) -> None:
    groups = defaultdict(list)
    for report, ticket in tickets.items():
        groups[ticket].append(report)
    large = [g for g in groups.values() if len(g) > 1][:3]
    alone = [g[0] for g in groups.values() if len(g) == 1][:4]
    rows = [(report, f"i{n}{place}") for n, group in enumerate(large) for place, report in enumerate(group)]
    rows += [(report, "torn") for report in alone]
    file = sheet(tmp_path / "t.csv", "report_id,incident", rows)
    found = json.loads(link(file, "--worst", 2, "--json", "-", config=_named(published, tmp_path)).stdout)
    assert [t["incidents"] for t in found["mixed"]] == sorted((len(g) for g in large), reverse=True)[:2]
    assert all(t["ticket_no"].startswith("KN-") for t in found["mixed"])
    assert {r["report_id"] for t in found["mixed"] for part in t["of"] for r in part["reports"]} <= set(tickets)
    [torn] = found["torn"]
    assert (torn["incident"], torn["tickets"], [t["first"]["name"] for t in torn["in"]]) == ("torn", 4, alone)
    shown = link(file, "--worst", 1, config=_named(published, tmp_path)).stdout
    assert shown.count("KN-") == 1 + 1 + 4  # the largest, the one that mixes most, and those of the torn incident
    assert "torn into most tickets" in shown
    quiet = link(file, "--worst", 0, config=_named(published, tmp_path)).stdout
    assert "torn" not in quiet and "pairs of reports" in quiet


def _named(published: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "kanal.toml"
    path.write_text(f'[kanal]\ndata_dir = "{published.data_dir}"\n', "utf-8")
    return path


def test_the_words_printed_are_the_figures_written(published: Settings, tickets, tmp_path: Path) -> None:
    file = sheet(tmp_path / "t.csv", "report_id,incident", [(r, t) for r, t in list(tickets.items())[:50]])
    out = tmp_path / "angka.json"
    shown = link(file, "--json", out, config=_named(published, tmp_path))
    assert shown.exit_code == 0
    found = json.loads(out.read_text("utf-8"))
    plain = re.sub(r"\s+", " ", shown.stdout)
    assert "50 of 50 reports judged; 0 unknown" in plain
    assert "pairs of reports 1.0000 1.0000 1.0000" in plain and "B-cubed 1.0000 1.0000 1.0000" in plain
    assert f"largest ticket: {found['largest']['ticket_no']}" in plain
    assert found["mixed"] == found["torn"] == []


_A, _B = "0000000000000000", "0000000000000001"


@pytest.mark.parametrize(
    ("header", "rows", "told_of"),
    [
        ("report_id,kejadian", [(_A, 1)], "the column incident is missing; it has report_id, kejadian"),
        ("nomor,incident", [(_A, 1)], "named by report_id, or by channel and source_ref; it has nomor, incident"),
        ("channel,incident", [("jaki", 1)], "named by report_id, or by channel and source_ref"),
        ("report_id,incident", [], "holds no row below its header"),
        ("report_id,incident", [(_A, 1), (_B, "")], "row 3 has no incident"),
        ("channel,source_ref,incident", [("jaki", "", 1)], "row 2 has no source_ref"),
        ("report_id,incident", [(_A, 1), (_B, 1), (_A, 2)], f"row 4 tells of {_A} a second time"),
        ("report_id,incident", [(_A, 1)], "none of its 1 reports is in the snapshot"),
        (
            "channel,source_ref,incident,copy_of",
            [("jaki", 7, 1, ""), ("sms", 7, 1, ""), ("sms", 8, 1, "7")],
            "copy_of '7' is a number of several channels; write it as channel/number",
        ),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(published, tmp_path: Path, header, rows, told_of) -> None:
    result = link(sheet(tmp_path / "t.csv", header, rows), config=_named(published, tmp_path))
    assert result.exit_code == 1
    assert told_of in re.sub(r"\s+", " ", result.stderr)


def test_what_is_no_csv_is_said_to_be_none(published: Settings, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    for content in (b"", b"report_id,incident\n\xff\xfe,1\n"):
        file.write_bytes(content)
        result = link(file, config=_named(published, tmp_path))
        assert result.exit_code == 1
        assert re.search("is no CSV with a header|is not UTF-8", re.sub(r"\s+", " ", result.stderr))
    assert link(tmp_path / "missing.csv", config=_named(published, tmp_path)).exit_code == 2
    truth = sheet(file, "report_id,incident", [(_A, 1)])
    hard = sheet(tmp_path / "h.csv", "a,b", [(_A, _B)])
    result = link(truth, "--hard", hard, config=_named(published, tmp_path))
    assert "the column hard is missing; it has a, b" in re.sub(r"\s+", " ", result.stderr)


def test_without_a_snapshot_it_says_what_to_run(tmp_path: Path) -> None:
    config = tmp_path / "kanal.toml"
    config.write_text('[kanal]\ndata_dir = "data"\n', "utf-8")
    result = link(sheet(tmp_path / "t.csv", "report_id,incident", [(_A, 1)]), config=config)
    assert result.exit_code == 1 and "run: kanal run" in result.stderr


def test_a_number_of_two_streams_of_a_channel_asks_for_the_stream(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE messages (channel TEXT, stream TEXT, report_id TEXT, outcome TEXT)")
        for stream, outcome in product(("utara", "selatan"), ("report", "repeat")):
            row = ("kelurahan", stream, report_id_of("kelurahan", stream, "17"), outcome)
            con.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
        con.execute("CREATE TABLE links (report_id TEXT, ticket_id TEXT, level TEXT)")
        con.execute("CREATE TABLE tickets (ticket_id TEXT, ticket_no TEXT, follows TEXT, superseded_by TEXT)")
        con.execute("CREATE TABLE reports (report_id TEXT, arrival BIGINT)")
        rows = pd.DataFrame({"channel": ["kelurahan"], "source_ref": ["17"], "incident": ["1"]})
        with pytest.raises(SettingsError, match="'17' in several streams; add a column stream"):
            judge(con, truth_of(rows, "x"))
        named = judge(con, truth_of(rows.assign(stream="utara"), "x"))
        assert named["reports"] == {"in_file": 1, "judged": 1, "unknown": 0, "without_ticket": 1, "not_fixed": 0}


# --- on the samples ---

_TOLD = (
    ("jaki", "JK2607010247", "sampah"), ("jaki", "JK2607020190", "sampah"), ("media", "https://warta.example.com/2026/07/sampah", "sampah"),
    ("jaki", "JK2605050137", "lubang"), ("balai_warga", "BW-2026-0002", "lubang"), ("jaki", "JK2609150130", "lain"),
    ("balai_warga", "BW-2026-0014", "terima kasih"), ("twitter", "2062190065873846272", "balasan admin"), ("jaki", "JK0000000000", "lain"),
)  # fmt: skip


def _samples_ran(place: Path, make: Callable[..., Settings]) -> Settings:
    data = make("").data_dir
    settings = replace(load(SAMPLES / "kanal.toml"), data_dir=data)
    assert not flow.run(settings).failures
    return make("")


def test_on_the_samples_thanks_and_own_replies_have_no_ticket_and_who_never_wrote_is_unknown(
    starting_from: Callable[..., Settings], tmp_path: Path
) -> None:
    ran = starting_from(_samples_ran)
    file = sheet(tmp_path / "t.csv", "channel,source_ref,incident", _TOLD)
    found = json.loads(link(file, "--json", "-", config=ran).stdout)
    assert found["reports"] == {"in_file": 9, "judged": 8, "unknown": 1, "without_ticket": 2, "not_fixed": 0}
    with duckdb.connect(str(ran.analytics.resolve()), read_only=True) as con:
        ticket = dict(con.execute("SELECT report_id, ticket_id FROM links").fetchall())
        streams = con.execute("SELECT DISTINCT channel, stream FROM messages").fetchall()
    ids = {ref: [report_id_of(c, s, ref) for c, s in streams if c == channel] for channel, ref, _ in _TOLD}
    of = {ref: next((ticket[i] for i in some if i in ticket), ref) for ref, some in ids.items()}
    pairs = [(a, b) for (_, a, i), (_, b, j) in combinations(_TOLD[:8], 2) if i == j]
    assert found["clustering"]["pair_recall"] == sum(of[a] == of[b] for a, b in pairs) / len(pairs)
    assert found["clustering"]["tickets"] == len({of[ref] for _, ref, _ in _TOLD[:8]})
