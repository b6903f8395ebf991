"""The shapes that travel, each field with its meaning. The one source of every schema.

DuckDB and PostgreSQL tables, Parquet files, Dagster column metadata and docs/data-dictionary.md
are generated from here. Put a shape here when it crosses a room; keep I/O and rules out.

A column exists only if two channels can fill it; the rest travels in `extra`. Times are UTC with
microseconds. Columns marked `run` say how and when a row was made, not what it means: they are
left out of table hashes, so a rebuilt table can be compared with the one it replaces.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypedDict
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa

WIB = ZoneInfo("Asia/Jakarta")  # the one zone of schedules, partitions, marts and days

TEXT, JSON, BOOL = pa.string(), pa.string(), pa.bool_()
INT, BIG, REAL = pa.int32(), pa.int64(), pa.float64()
TIME, DAY, BYTES, TEXTS = pa.timestamp("us", tz="UTC"), pa.date32(), pa.binary(), pa.list_(pa.string())

KINDS = ("complaint", "suggestion", "question", "opinion", "appreciation")
STATUSES = ("menunggu", "koordinasi", "disposisi", "proses", "menunggu_validasi", "selesai", "tl_ditolak", "ditolak")
UNTOUCHED = "menunggu"  # the status in which nobody acts on a ticket yet
OUTCOMES = ("report", "repeat", "older", "filtered", "quarantined", "event")


def _field(name: str, kind: pa.DataType, description: str, *, null: bool = True, run: bool = False) -> pa.Field:
    metadata = {"description": description} | ({"run": "1"} if run else {})
    return pa.field(name, kind, nullable=null, metadata=metadata)


def _schema(description: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"description": description})


# --- what sources hand over -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """What was said, untouched. Identity: (channel, stream, source_ref, version).

    source_ref: the source's own stable id, or a content hash where it has none.
    version: a token that changes when and only when the source's item changed.
    payload: the bytes as fetched (one export row is a JSON object of its cells' text).
    payload_type: media type of the payload.
    occurred_at / edited_at: aware UTC, None where the source does not say.
    fetched_at: aware UTC, when we read it.
    origin: where in the source it stood (file and row, folder and uid); never an identity.
    problem: set by pull where the item could not be read at all, in words for a clerk; the
    message then goes to quarantine and the rest of the batch goes on.
    media: bytes that came along, each kept under its SHA-256 before the message lands; they are no
    part of what lands: the payload names those hashes, or holds the bytes itself.
    """

    source_ref: str
    version: str
    payload: bytes
    payload_type: str
    fetched_at: datetime
    occurred_at: datetime | None = None
    edited_at: datetime | None = None
    origin: str = ""
    problem: str | None = None
    media: tuple[bytes, ...] = ()


class Batch(NamedTuple):
    """Messages and the cursor that is true once they are durable; both land in one atomic act.

    A cursor is its source's own, but for what people are told of it: `spend`, what a paid API cost,
    {UTC day: {posts, owned, users, media, usd}}; `gaps`, what could not be read, oldest first.
    """

    messages: list[Message]
    cursor: dict[str, Any]


# What of a cursor stays when a stream is read again from an earlier one.
CARRIED = ("spend", "paid", "gaps")


def gap(what: str, begin: datetime, end: datetime, *, found_at: datetime, fill: str) -> dict[str, str]:
    """One entry of a cursor's `gaps`: what was said between two times and can no longer be read."""
    times = {"from": begin, "to": end, "found_at": found_at}
    return {"what": what, **{k: t.isoformat(timespec="seconds") for k, t in times.items()}, "fill": fill}


class Attachment(TypedDict, total=False):
    """One file that came along. `url` is never followed unless allowed (pipelines/media)."""

    type: str  # media type or photo|video|audio|file; of bytes at hand, what they are
    name: str
    size: int  # bytes
    sha256: str  # its bytes are kept: media/<first two digits>/<all>; but see elsewhere
    phash: str  # of a picture, 16 hex digits: copies of other size and quality have the same but for a few bits
    elsewhere: bool  # true: sha256 and phash are the source's word, and the bytes are not kept
    url: str


@dataclass(slots=True)
class Draft:
    """What a source's `decode` says of one message, channel-neutral but not yet cleaned.

    Only `text` is required (it may be empty if `title` or `attachments` speak). Personal fields
    (author_*, contact_*) never leave refine except into the vault; `author_ref` becomes a keyed
    hash. lat/lon are WGS84 degrees. `conversation_ref` names the thread in the source's terms.
    """

    text: str
    title: str | None = None
    occurred_at: datetime | None = None
    author_ref: str | None = None
    author_name: str | None = None
    contact_phone: str | None = None
    contact_email: str | None = None
    sender_level: str | None = None  # verified | claimed | anonymous: how sure the channel is of the sender
    conversation_ref: str | None = None
    source_url: str | None = None
    external_ref: str | None = None
    address_text: str | None = None
    kelurahan_reported: str | None = None
    kecamatan_reported: str | None = None
    kota_reported: str | None = None
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    category_reported: str | None = None
    agency_reported: str | None = None
    status_reported: str | None = None
    private: bool = False
    attachments: list[Attachment] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """One account, mailbox, office or inbox folder of a channel, with its own log and cursor.

    options: the source's own keys from kanal.toml, mapping included; secrets appear only as
    names of environment variables (keys ending in `_env`).
    root: folder that relative paths in options start from.
    """

    channel: str
    name: str
    source: str
    options: Mapping[str, Any]
    root: str = "."

    @property
    def key(self) -> str:
        return f"{self.channel}/{self.name}"


class Source(Protocol):
    """What flow asks of every module in sources/."""

    VERSION: str

    def pull(self, stream: Stream, cursor: dict[str, Any] | None, *, now: Any) -> Any:
        """Yield Batch after Batch from `cursor` (None: from the start). I/O and nothing else.

        `now()` gives aware UTC. Raises TransientError or PermanentError for the stream as a
        whole; one unreadable item is a Message with `problem`.
        """

    def decode(self, message: Message, stream: Stream) -> Draft:
        """Say what a message means. Pure. Raises RejectedMessage or FilteredMessage."""


# --- stored shapes --------------------------------------------------------------------------

LANDED = _schema(
    "One message as it was fetched, verbatim. Personal data; never leaves landing.",
    _field("source_ref", TEXT, "The source's own stable id of the item", null=False),
    _field("version", TEXT, "Token that changes when the source's item changed", null=False),
    _field("occurred_at", TIME, "When the source says it was said"),
    _field("edited_at", TIME, "When the source says this version was made"),
    _field("fetched_at", TIME, "When Kanal read it", null=False),
    _field("landed_day", DAY, "Day it landed, Asia/Jakarta: a label for people and backfills", null=False),
    _field("payload_type", TEXT, "Media type of the payload", null=False),
    _field("payload", BYTES, "The bytes as fetched", null=False),
    _field("origin", TEXT, "Where in the source it stood: file and row, folder and uid", null=False),
    _field("problem", TEXT, "Why it could not be read at all, in words for a clerk"),
)

_LINEAGE = (
    _field("channel", TEXT, "Channel id of models/channels.toml", null=False),
    _field("stream", TEXT, "Stream of the channel: an account, mailbox, office or folder", null=False),
    _field("sequence", BIG, "Landing file of the stream that holds the message", null=False),
    _field("row", INT, "Row of that file, from 0", null=False),
)

MESSAGES = _schema(
    "One row for every landed message: what became of it. landed = report + repeat + older + filtered"
    " + quarantined + event, per stream and batch.",
    *_LINEAGE,
    _field("source_ref", TEXT, "The source's own stable id of the item", null=False),
    _field("version", TEXT, "The source's version token", null=False),
    _field("report_id", TEXT, "Hash of (channel, stream, source_ref)", null=False),
    _field(
        "outcome",
        TEXT,
        "report | repeat (same version again) | older (an earlier version came late)"
        " | filtered | quarantined | event (a decision or a status)",
        null=False,
    ),
    _field("stage", TEXT, "Step that filtered or quarantined it"),
    _field("reason", TEXT, "Why, in words for a clerk; null for reports"),
    _field("landed_day", DAY, "Day it landed, Asia/Jakarta", null=False, run=True),
)

REPORTS = _schema(
    "One citizen utterance, channel-neutral, in its current version; personal tokens masked.",
    _field("report_id", TEXT, "Hash of (channel, stream, source_ref); stable for ever", null=False),
    *_LINEAGE,
    _field("source_ref", TEXT, "The source's own stable id of the item", null=False),
    _field("version", TEXT, "The source's version token", null=False),
    _field("version_no", INT, "1 for the first version seen, then counting up", null=False),
    _field("arrival", BIG, "Place of its first version in the recorded order", null=False),
    _field("occurred_at", TIME, "When it was said (fetched_at where the source does not say)", null=False),
    _field("edited_at", TIME, "When this version was made, where the source says"),
    _field("received_at", TIME, "When its first version was fetched", null=False, run=True),
    _field("text", TEXT, "What was said: NFC, personal tokens masked", null=False),
    _field("title", TEXT, "Subject or headline, masked"),
    _field("language", TEXT, "id, jv, su, en or other"),
    _field("author_key", TEXT, "Keyed hash of the author; equal for the same author of a channel kind"),
    _field("sender_level", TEXT, "verified | claimed | anonymous"),
    _field("conversation_key", TEXT, "Keyed hash of the thread"),
    _field("source_url", TEXT, "Public address of the item"),
    _field("external_ref", TEXT, "The CRM's own number, e.g. JK2306180342"),
    _field("kind", TEXT, "complaint | suggestion | question | opinion | appreciation", null=False),
    _field("kind_confidence", REAL, "0..1", null=False),
    _field("category", TEXT, "Category id that counts; null: undecided, waits for review"),
    _field("category_confidence", REAL, "0..1; of the category that counts", null=False),
    _field("category_source", TEXT, "Which judgement counts: model | reported | agreed | none", null=False),
    _field("category_model", TEXT, "The classifier's first choice, also where it abstained"),
    _field("category_runner_up", TEXT, "The classifier's second choice"),
    _field("category_evidence", TEXT, "Words the classifier weighed most"),
    _field("category_reported", TEXT, "The citizen's or clerk's own choice, as a category id"),
    _field("category_label", TEXT, "That choice as written"),
    _field("address_text", TEXT, "Address as typed or as found in the text, masked"),
    _field("street", TEXT, "Street or lane, normalised: jalan x, gang x"),
    _field("house_number", TEXT, "House number or range in that street, block or estate: 12A, 84-86"),
    _field("block", TEXT, "Block, in capitals: C2"),
    _field("estate", TEXT, "Housing estate or flats, normalised: perumahan x, komplek x, apartemen x, rusun x"),
    _field("hamlet", TEXT, "Kampung, normalised: kampung x; no area of the gazetteer"),
    _field("rt", INT, "RT number"),
    _field("rw", INT, "RW number"),
    _field("landmark", TEXT, "Landmark named: of the gazetteer, after depan or dekat, or of a public kind, as written"),
    _field("postcode", TEXT, "Postcode named"),
    _field("lat", REAL, "Latitude, WGS84: as reported, or of the landmark named"),
    _field("lon", REAL, "Longitude, WGS84"),
    _field("kelurahan_code", TEXT, "Kemendagri code of the kelurahan"),
    _field("kecamatan_code", TEXT, "Kemendagri code of the kecamatan"),
    _field("kota_code", TEXT, "Kemendagri code of the kota"),
    _field(
        "place_method",
        TEXT,
        "How the place was found: polygon | centroid | reported | named | postcode"
        " | landmark | learned (from resolved reports) | kecamatan | kota | outside | ambiguous | none",
        null=False,
    ),
    _field("place_confidence", REAL, "0..1", null=False),
    _field("place_evidence", TEXT, "Words or fields that said so"),
    _field("place_candidates", TEXTS, "Kelurahan codes still possible where ambiguous"),
    _field("agency_id", TEXT, "Agency of models/agencies.toml that must act", null=False),
    _field("unit", TEXT, "Unit of it: suku dinas, UPT or kelurahan", null=False),
    _field("agency_source", TEXT, "Which judgement named the agency: rule | model | reported", null=False),
    _field("agency_confidence", REAL, "0..1; of the agency that counts", null=False),
    _field(
        "agency_model", TEXT, "The classifier's first choice, also where it did not count; null: it judges no agency"
    ),
    _field("agency_runner_up", TEXT, "The classifier's second choice"),
    _field(
        "route_rule", TEXT, "Rule of models/routing.toml that held; it decided where agency_source is rule", null=False
    ),
    _field("intake_unit", TEXT, "Who looks first: the kelurahan if geo-tagged, else the channel's admin", null=False),
    _field("agency_reported", TEXT, "Agency as the source named it"),
    _field("status_reported", TEXT, "Status as the source named it"),
    _field("completeness", REAL, "0..1: description, kelurahan, way to the spot, photo", null=False),
    _field("emergency", BOOL, "Flagged: call 112", null=False),
    _field("emergency_rule", TEXT, "Rule of models/emergency.toml that flagged it"),
    _field("review_reason", TEXT, "Why a person should look, comma separated; null: need not", null=True),
    _field("private", BOOL, "Reporter asked for, or the channel implies, privacy", null=False),
    _field(
        "attachments",
        JSON,
        "JSON list of {type, name, size, sha256, phash, elsewhere, url}; phash: perceptual hash of a picture that shows enough,"
        " 64 bits as 16 hex digits; elsewhere: both hashes are the source's word and the bytes are not kept",
        null=False,
    ),
    _field("attachment_count", INT, "Files that came along", null=False),
    _field("text_key", TEXT, "Hash of the text as compared when linking"),
    _field("extra", JSON, "JSON object of what only this channel says", null=False),
    _field("code_version", TEXT, "Version of Kanal that refined it", null=False, run=True),
    _field("model_version", TEXT, "Hash of the classifier that judged it", null=False, run=True),
    _field("data_version", TEXT, "Hash of the models/ data that judged it", null=False, run=True),
)

LINKS = _schema(
    "Which ticket a report belongs to, and why.",
    _field("report_id", TEXT, "The report", null=False),
    _field("ticket_id", TEXT, "Its ticket", null=False),
    _field(
        "level",
        TEXT,
        "opened | external_ref | cited | same_photo | same_author_text | near_text | place_time | bridge (moved with its"
        " ticket, which turned out to be one with another) | decision",
        null=False,
    ),
    _field("score", INT, "How strongly, 0..1000", null=False),
    _field(
        "explanation",
        JSON,
        "JSON object of the values compared; lewat: the ticket it matched, where people had moved that one's reports on."
        " Of a decision: alasan, oleh, keputusan (acts.act_id) and sebelumnya, the link it had before",
        null=False,
    ),
    _field("arrival", BIG, "Place in the recorded order at which it got its first ticket", null=False),
)

TICKETS = _schema(
    "One matter for one agency; what an officer needs to act.",
    _field("ticket_id", TEXT, "Derived from its first report", null=False),
    _field("ticket_no", TEXT, "Short and stable, for people", null=False),
    _field("external_ref", TEXT, "The CRM's own number, where a channel brought one"),
    _field(
        "kind", TEXT, "complaint | suggestion | question | opinion; appreciation where a person said so", null=False
    ),
    _field("category", TEXT, "Category id; null: undecided"),
    _field("category_confidence", REAL, "0..1; 1 where the review queue decided", null=False),
    _field("description", TEXT, "First report's title and text, masked", null=False),
    _field("address_text", TEXT, "Best address text of its reports, masked"),
    _field("kelurahan_code", TEXT, "Kemendagri code"),
    _field("kecamatan_code", TEXT, "Kemendagri code"),
    _field("kota_code", TEXT, "Kemendagri code"),
    _field("place_method", TEXT, "How the place was found (reports.place_method); person: decided by one", null=False),
    _field("lat", REAL, "Latitude, WGS84"),
    _field("lon", REAL, "Longitude, WGS84"),
    _field("agency_id", TEXT, "Agency that must act", null=False),
    _field("unit", TEXT, "Unit of it", null=False),
    _field("agency_source", TEXT, "Which judgement named the agency: rule | model | reported | person", null=False),
    _field("agency_confidence", REAL, "0..1; 1 where a person chose", null=False),
    _field(
        "route_rule",
        TEXT,
        "Rule that held, and decided where agency_source is rule; keputusan: a person chose",
        null=False,
    ),
    _field("intake_unit", TEXT, "Who looks first", null=False),
    _field("channels", TEXTS, "Channels that told of it, in order of arrival", null=False),
    _field("report_count", INT, "Reports it has; 0: superseded", null=False),
    _field("attachment_count", INT, "Files of all its reports", null=False),
    _field("private", BOOL, "Any of its reports is private", null=False),
    _field("emergency", BOOL, "Any of its reports was flagged", null=False),
    _field("emergency_rule", TEXT, "Rule of models/emergency.toml that flagged one of its reports first; stays"),
    _field("completeness", REAL, "Best of its reports, 0..1", null=False),
    _field("review_reason", TEXT, "Why a person should look; null: need not"),
    _field("opened_at", TIME, "When its first report was said", null=False),
    _field("last_report_at", TIME, "When its newest report was said", null=False),
    _field("coordination_due_at", TIME, "SLA clock: coordination"),
    _field("completion_due_at", TIME, "SLA clock: completion"),
    _field(
        "status",
        TEXT,
        "menunggu | koordinasi | disposisi | proses | menunggu_validasi | selesai | tl_ditolak | ditolak",
        null=False,
    ),
    _field("status_at", TIME, "When it got this status", null=False),
    _field("frozen", BOOL, "A person has acted or decided: category, agency, unit and area stay", null=False),
    _field("suggested_category", TEXT, "The machine's later opinion, once frozen"),
    _field("suggested_agency_id", TEXT, "The machine's later opinion, once frozen"),
    _field("suggested_unit", TEXT, "The machine's later opinion, once frozen"),
    _field("suggested_kelurahan_code", TEXT, "The machine's later opinion, once frozen"),
    _field("superseded_by", TEXT, "Ticket that has its first report now, as the two became one; null: none"),
    _field(
        "follows",
        TEXT,
        "Closed ticket whose matter it takes up again: its first report matched that one and none that was open; null: none",
    ),
    _field("first_report_id", TEXT, "Its first report", null=False),
    _field("first_arrival", BIG, "Place of its first report in the recorded order", null=False),
    _field("version", INT, "Counts every change; monotone", null=False),
)

TICKET_EVENTS = _schema(
    "Append-only history of tickets.",
    _field("event_id", TEXT, "Hash of what made it; the same event is one row", null=False),
    _field("ticket_id", TEXT, "The ticket", null=False),
    _field(
        "event",
        TEXT,
        "opened | joined | edited | status | decision | attached (a file was fetched) | split | merged | pinned | undone",
        null=False,
    ),
    _field("happened_at", TIME, "When it happened", null=False),
    _field("actor", TEXT, "pipeline, the role that acted, or who decided", null=False),
    _field("report_id", TEXT, "The report concerned"),
    _field("status", TEXT, "New status, for status events"),
    _field("detail", JSON, "JSON object", null=False),
    _field("arrival", BIG, "Place in the recorded order", null=False),
)

# What a ticket reads of a report besides its words.
READ_BY_TICKETS = (
    "occurred_at", "edited_at", "external_ref", "kind", "category", "category_confidence", "address_text", "lat", "lon",
    "kelurahan_code", "kecamatan_code", "kota_code", "place_method", "agency_id", "unit", "agency_source",
    "agency_confidence", "route_rule", "intake_unit", "status_reported", "completeness", "emergency", "emergency_rule",
    "review_reason", "private", "attachment_count",
)  # fmt: skip

REPORT_VERSIONS = _schema(
    "Every version of the reports that were edited since they have a ticket, as far as tickets read them: what a ticket is"
    " told anew from when people move reports. A report that was never edited is not here.",
    _field("report_id", TEXT, "The report", null=False),
    _field(
        "arrival", BIG, "Place of this version in the recorded order; of the first, where it got its ticket", null=False
    ),
    *(REPORTS.field(name) for name in READ_BY_TICKETS),
)

ACTS = _schema(
    "What people decided about which reports are one matter, in the order it was applied.",
    _field("act_id", TEXT, "The decision's id", null=False),
    _field("act", TEXT, "split | merge | pin | undo", null=False),
    _field(
        "ticket_id",
        TEXT,
        "Ticket that was split, that keeps the merged reports, that is pinned to, or that the undone decision was about",
        null=False,
    ),
    _field("other_id", TEXT, "Ticket that was split off, or that was merged into the other"),
    _field("report_ids", TEXTS, "Reports that the decision names", null=False),
    _field("undoes", TEXT, "act_id of the decision that this one undoes"),
    _field("moves", JSON, "JSON list of [report_id, arrival of its link, ticket before, ticket after]", null=False),
    _field("actor", TEXT, "Who decided", null=False),
    _field("reason", TEXT, "Why, in their words, masked", null=False),
    _field("happened_at", TIME, "When it was decided", null=False),
    _field("arrival", BIG, "Place in the recorded order", null=False),
)

VAULT = _schema(
    "Contacts of authors, apart from everything else. Never in snapshots.",
    _field("report_id", TEXT, "The report", null=False),
    _field("author_name", TEXT, "Name as given"),
    _field("author_ref", TEXT, "Account id, address or number as the channel gives it"),
    _field("phone", TEXT, "E.164 where valid, else as given"),
    _field("email", TEXT, "E-mail address"),
)

LEDGER = _schema(
    "One row for every landed batch that is in the warehouse: the fence against doing twice.",
    _field("channel", TEXT, "Channel id", null=False),
    _field("stream", TEXT, "Stream", null=False),
    _field("sequence", BIG, "Landing file of the stream", null=False),
    _field("entry", BIG, "Entry of the order log that applied it", null=False, run=True),
    _field("batch_id", TEXT, "uuid in the file's footer", null=False, run=True),
    _field("landed_at", TIME, "When the file became durable", null=False, run=True),
    _field("landed_day", DAY, "That day, Asia/Jakarta", null=False, run=True),
    _field("messages", INT, "Rows of the file", null=False),
    _field("reports", INT, "New reports and new versions", null=False),
    _field("repeats", INT, "Versions already known, or older than the one known", null=False),
    _field("filtered", INT, "Own replies, reposts, bounces, spam", null=False),
    _field("quarantined", INT, "Set aside with a reason", null=False),
    _field("events", INT, "Decisions and statuses", null=False),
    _field("tickets_opened", INT, "Tickets this batch opened", null=False),
    _field("tickets_joined", INT, "Reports that joined a ticket", null=False),
    _field("run_id", TEXT, "Run that loaded it", null=False, run=True),
    _field("loaded_at", TIME, "When it was loaded", null=False, run=True),
    _field("seconds", REAL, "Its share of the load", null=False, run=True),
)

# What linking compares of a report (transforms/traits): numbers, so that millions are compared at once. 0 or empty: not said.
TRAITS = pa.schema([
    _field("said_at", BIG, "When it was said, epoch seconds", null=False),
    _field("x", REAL, "Metres east of Greenwich, on a plane at 6.2 degrees south; null: no point"),
    _field("y", REAL, "Metres north of the equator"),
    _field("spread", REAL, "Metres that the point may be off"),
    _field("area", BIG, "Kelurahan's code as a number", null=False),
    _field("way", BIG, "Hash of the street, estate or kampung as spelt", null=False),
    _field("way_alike", BIG, "The same for the usual slips in spelling", null=False),
    _field("way_kind", BIG, "Hash of jalan, gang ... and of the numbers in the name", null=False),
    _field("way_letters", BIG, "Which letters the name has: two bits for each of a to z", null=False),
    _field("house", BIG, "House number", null=False),
    _field("block_no", BIG, "Hash of the block", null=False),
    _field("rt_no", BIG, "RT number", null=False),
    _field("rw_no", BIG, "RW number", null=False),
    _field("mark", BIG, "Hash of the first word of what it lies beside", null=False),
    _field("mark_more", BIG, "Hash of the first two words", null=False),
    _field("author", BIG, "Hash of author_key", null=False),
    _field("unfixed", BIG, "1: says that a work called done is not", null=False),
    _field("words", pa.list_(pa.int32()), "Hashes of its words, rising", null=False),
    _field("groups", TEXTS, "Category groups it may be about, likeliest first", null=False),
    _field("shares", pa.list_(REAL), "How likely each is, 0..1", null=False),
    _field("photos", pa.list_(BIG), "Hashes of the sha256 of its photos", null=False),
    _field("pictures", pa.list_(BIG), "Perceptual hashes of its photos, 64 bits", null=False),
])  # fmt: skip

LEADERS = _schema(
    "Linked reports as later ones are compared with them.",
    _field("report_id", TEXT, "The report", null=False),
    _field("ticket_id", TEXT, "The ticket it was linked to first", null=False),
    _field("arrival", BIG, "Place of its link in the recorded order", null=False),
    _field(
        "told", INT, "Kinds of evidence told on the way to it, as bits; 0: not compared by place and time", null=False
    ),
    *TRAITS,
)

LEADER_KEYS = _schema(
    "Keys by which leaders are found.",
    _field("key", BIG, "63-bit hash of a place, or of an author, text or photo", null=False),
    _field("hour", BIG, "When the report was said, in hours since 1970", null=False),
    _field("arrival", BIG, "The leader", null=False),
)

WAREHOUSE: dict[str, pa.Schema] = {
    "messages": MESSAGES,
    "reports": REPORTS,
    "links": LINKS,
    "tickets": TICKETS,
    "ticket_events": TICKET_EVENTS,
    "report_versions": REPORT_VERSIONS,
    "acts": ACTS,
    "vault": VAULT,
    "leaders": LEADERS,
    "leader_keys": LEADER_KEYS,
    "ledger": LEDGER,
}
KEYS = {
    "messages": ("channel", "stream", "sequence", "row"),
    "reports": ("report_id",),
    "links": ("report_id",),
    "tickets": ("ticket_id",),
    "ticket_events": ("event_id",),
    "report_versions": ("report_id", "arrival"),
    "acts": ("act_id",),
    "vault": ("report_id",),
    "leaders": ("report_id",),
    "leader_keys": ("key", "arrival"),
    "ledger": ("channel", "stream", "sequence"),
}

# What an officer owns in the CRM's store: delivery writes these once and never overwrites them.
OFFICER_COLUMNS = ("status", "status_at")


# --- identity -------------------------------------------------------------------------------

# Crockford's letters, without i, l, o and u: safe to read aloud.
_TO_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")


def short_hash(*parts: str, bits: int = 80) -> str:
    """Lower-case base32 of a hash over `parts`; 80 bits keep 1M ids apart (odds 4e-13)."""
    digest = blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return b32encode(digest).translate(_TO_CROCKFORD)[: bits // 5].decode()


def report_id_of(channel: str, stream: str, source_ref: str) -> str:
    """16 characters, for ever the same for the same item of the same stream."""
    return short_hash(channel, stream, source_ref)


def ticket_id_of(first_report_id: str) -> str:
    return f"t{first_report_id}"


def ticket_no_of(first_report_id: str) -> str:
    """KN-XXXX-XXXX-XXXX: 60 bits of the first report's id; two of a million alike: odds 4e-7."""
    part = first_report_id[:12].upper()
    return f"KN-{part[:4]}-{part[4:8]}-{part[8:]}"


# --- words of sources -----------------------------------------------------------------------


def status_of(label: Any) -> str | None:
    """A status as a channel writes it -> ours; None for no or an unknown one."""
    if not isinstance(label, str):
        return None
    folded = "_".join(label.lower().split())
    return folded if folded in STATUSES else None


# --- tables and rows ------------------------------------------------------------------------


def column(frame: pd.DataFrame, name: str) -> list[Any]:
    """A column as plain values, None where missing: pandas itself says NaN, NA or NaT by dtype."""
    return pa.array(frame[name], from_pandas=True).to_pylist()


def to_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame's columns in the schema's order and types; fails where a value does not fit."""
    return pa.table([pa.array(frame[f.name], type=f.type, from_pandas=True) for f in schema], schema=schema)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow-backed frame of the table."""
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def is_run_column(field: pa.Field) -> bool:
    return b"run" in (field.metadata or {})


def describe(field: pa.Field) -> str:
    return (field.metadata or {}).get(b"description", b"").decode()
