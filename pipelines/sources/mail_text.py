"""Words out of mail: bytes to text, HTML to text, and a reply without what it quotes.

Everything here takes any input and returns text; nothing raises. Rules are line by line, so their
cost grows with the text and no more, and cover Indonesian and English, Gmail, Yahoo, Outlook and
phones. No library does: those for replies know no Indonesian and take seconds for long blanks.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from typing import NamedTuple

MAX_CHARS = 50_000  # of one mail's text; the rest stays in landing
_MAX_HTML, _MAX_TAGS = 1_000_000, 15_000

# --- bytes to text --------------------------------------------------------------------------

# Python knows codecs that are no charsets (punycode, unicode_escape), some of them slow.
_CHARSET = re.compile(r"(?:utf|iso|latin|windows|cp|koi8|big5|gb|euc|shift|s?jis|ks|mac|tis)[\w.:-]{0,30}")
_SEVEN_BIT = ("utf-7", "utf7", "iso-2022", "hz")  # charsets whose bytes all look like ASCII
_GUESSES = ["cp1252", "gb18030", "big5", "shift_jis", "euc_kr", "cp1256", "koi8_r"]
_WIDE = ["utf_16_le", "utf_16_be"]  # a short text of any charset reads as Chinese in them; ours would hold NUL


def text_of(data: bytes, charset: str | None) -> str:
    """`data` as text: UTF-8 where it is UTF-8, else as declared, else as guessed.

    Senders often label UTF-8 as something else; bytes that are valid UTF-8 by chance are rare.
    """
    declared = (charset or "").strip().strip("\"'").lower()
    if not declared.startswith(_SEVEN_BIT):
        if data.isascii() and b"\0" not in data:
            return data.decode("ascii")
        try:
            return clean(data.decode("utf-8-sig")) if b"\0" not in data else _guessed(data, declared)
        except UnicodeDecodeError:
            pass
    return _guessed(data, declared)


def _guessed(data: bytes, declared: str) -> str:
    if declared in ("iso-8859-1", "iso8859-1", "latin-1", "latin1"):
        declared = "cp1252"  # as browsers read it: nobody means the control characters
    if _CHARSET.fullmatch(declared):
        try:
            return clean(data.decode(declared))
        except (LookupError, ValueError):
            pass
    from charset_normalizer import from_bytes  # here: few mails need it

    best = from_bytes(data[:4000], cp_isolation=_GUESSES + (_WIDE if b"\0" in data else [])).best()
    return clean(data.decode(best.encoding if best else "cp1252", "replace"))


def clean(text: str) -> str:
    """Text that every store takes: no NUL, no half of a surrogate pair, line ends as \\n."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.removeprefix("\ufeff").replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


# --- headers --------------------------------------------------------------------------------

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half a pair that stands for no byte: UTF-7 can say it
_FOLD = re.compile(r"\s*[\r\n]+\s*")
_ENCODED = re.compile(r"=\?([\w.:-]{1,40})(?:\*[\w-]{0,20})?\?([bBqQ])\?([^?]{0,2000})\?=")


def header_text(value: str) -> str:
    """A header's value on one line, encoded words decoded; raw 8-bit bytes come as surrogates."""
    value = value[:8000]
    if not value.isascii():
        value = text_of(_HALF.sub("\ufffd", value).encode("utf-8", "surrogateescape"), None)
    value = _FOLD.sub(" ", value).strip()
    if "=?" not in value:
        return value.replace("\0", "")
    out: list[str] = []
    run, charset, end = b"", "", 0  # neighbours are joined first: some cut a character in two
    for word in _ENCODED.finditer(value):
        between = value[end : word.start()]
        if between.strip() or word[1].lower() != charset:
            out += [text_of(run, charset), between if between.strip() or not run else ""]
            run, charset = b"", word[1].lower()
        run += _word_bytes(word[2], word[3])
        end = word.end()
    out += [text_of(run, charset), value[end:]]
    return _FOLD.sub(" ", clean("".join(out))).strip()


def _word_bytes(encoding: str, coded: str) -> bytes:
    raw = coded.encode("ascii", "ignore")
    if encoding in "qQ":
        return quopri.decodestring(raw, header=True)
    raw = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    try:
        return base64.b64decode(raw[: len(raw) - (len(raw) % 4 == 1)] + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return b""


# --- HTML to text ---------------------------------------------------------------------------

_BLOCK, _BREAK = "\ue000", "\ue001"  # line ends of ours, until the source's own white space is collapsed
_LINE_ENDS = re.compile(rf"[ {_BLOCK}{_BREAK}]*[{_BLOCK}{_BREAK}][ {_BLOCK}{_BREAK}]*")
_BLOCKS = (
    "p, div, li, tr, h1, h2, h3, h4, h5, h6, blockquote, table, ul, ol, hr, pre, section, article,"
    " header, footer, address, dt, dd, center"
)
_UNSEEN = (
    "script, style, head, title, template, noscript, object, [hidden], [style*='display:none'],"
    " [style*='display: none'], [style*='mso-hide:all']"
)
_QUOTES = (
    ".gmail_quote, .gmail_extra .gmail_attr, blockquote[type=cite], #appendonsend, #appendonsend ~ *,"
    " #divRplyFwdMsg, #divRplyFwdMsg ~ *, .yahoo_quoted, .moz-cite-prefix,"
    " #mail-editor-reference-message-container"
)
_SIGNATURES = ".gmail_signature, .moz-signature, #Signature"
_MAPS = re.compile(r"https?://(?:maps\.app\.goo\.gl|goo\.gl/maps|(?:www\.)?google\.[a-z.]{2,6}/maps|maps\.google\.)")


def html_text(html: str, *, quotes: bool) -> str:
    """What a reader of the HTML would read; without quoted mail unless `quotes`.

    Links to a map keep their address, which may be the only word on where it is.
    """
    from selectolax.lexbor import LexborHTMLParser  # here: plain mails need it not

    html = html[:_MAX_HTML]
    if html.count("<") > _MAX_TAGS:  # changing a tree of 200,000 nested elements takes minutes
        html = re.sub(r"<[^<>]{0,2000}>", " ", html)
    tree = LexborHTMLParser(html)
    root = tree.body or tree.root
    if root is None:
        return ""
    for selector in (_UNSEEN,) if quotes else (_UNSEEN, _QUOTES):
        for node in root.css(selector):
            node.decompose()
    for node in root.css(_SIGNATURES):
        node.insert_before(f"{_BLOCK}--{_BLOCK}")
    for node in root.css("pre"):
        node.insert_before(_BLOCK + node.text().replace("\n", _BREAK))
        node.decompose()
    for node in root.css("a[href]"):
        href = node.attributes.get("href") or ""
        if _MAPS.match(href) and href not in node.text():
            node.insert_after(f" {href[:500]} ")
    for node in root.css("br"):
        node.insert_after(_BREAK)
    for node in root.css(_BLOCKS):
        node.insert_before(_BLOCK)
        node.insert_after(_BLOCK)
    for node in root.css("td, th"):
        node.insert_after(" ")
    text = re.sub(r"[\s\u00a0]+", " ", clean(root.text()))
    return _LINE_ENDS.sub(_line_ends, text).strip()


def _line_ends(run: re.Match[str]) -> str:
    return "\n" * max(run[0].count(_BREAK) + (_BLOCK in run[0]), 1)


# --- replies and signatures -----------------------------------------------------------------

_BLANKS = re.compile(r"[ \t\u00a0]+")
_DAY = r"(?:\d{1,2}[ /.-]\w{3,9}[ /.,-]+\d{2,4}|\w{3,9} \d{1,2},? \d{4}|\d{4}-\d\d-\d\d)"
# As in: "Pada tanggal Sab, 31 Okt 2026 pukul 18.05 Nama <a@b> menulis:", "On Mon, May 4, 2026 at 7:01 AM .. wrote:"
_WROTE = re.compile(
    rf"(?:Pada|On|Tanggal)\b.{{0,40}}?{_DAY}.{{0,200}}?\b(?:menulis|wrote|mengirim(?:kan)?|berkata)\s?:",
    re.IGNORECASE,
)
_WROTE_BEGINS = re.compile(r"(?:Pada|On|Tanggal)\b", re.IGNORECASE)
_SHORT_WROTE = re.compile(rf"{_DAY} \d{{1,2}}[:.]\d\d.{{0,120}}<[^<>\s]+@[^<>\s]+>\s?:")
_ORIGINAL = re.compile(
    r"[-_*=]{2,} ?(?:Original (?:Message|Appointment)|Pesan Asli|Surel Asli|Reply message|Balasan pesan)"
    r" ?[-_*=]{2,}",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    r"[-_*=>]{0,20} ?(?:Forwarded message|Begin forwarded message|Pesan (?:yang )?diteruskan|Pesan terusan"
    r"|Surel terusan|Memulai pesan yang diteruskan) ?:?[-_*=]{0,20}",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"\*?(?:(from|dari)|(sent|date|dikirim|terkirim|tanggal)|(to|kepada|ke|subject|subjek|perihal))"
    r"\s?:\*? ?(.*)",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"(?:Dikirim|Terkirim) (?:dari|melalui|menggunakan) .{2,60}|Sent from .{2,60}|Get Outlook for .{2,30}"
    r"|(?:Dapatkan|Unduh) Outlook untuk .{2,30}|Yahoo Mail: .{2,60}",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:hormat (?:saya|kami)|salam(?: hormat| hangat| sejahtera)?|dengan hormat saya"
    r"|wassalam[\w '`.\u2019]{0,40}|(?:best |kind |warm )?regards|sincerely(?: yours)?"
    r"|yours (?:sincerely|faithfully|truly)|ttd|tertanda)[\s.,:;]*",
    re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(r"(?:p\.?s|n\.?b)\b", re.IGNORECASE)
_NOTICE = re.compile(
    r"(?:disclaimer|penafian|pemberitahuan|perhatian|confidential\w*(?: notice)?)\s?:"
    r"|(?:this|the information (?:contained )?in this) (?:e-?mail|message)\b"
    r"|(?:surel|e-?mail|pesan) ini (?:beserta|dan|hanya|bersifat)",
    re.IGNORECASE,
)
# What only a lawyer writes: a citizen who asks to be kept secret says "rahasia" too.
_LEGAL = re.compile(
    r"privileged|intended (?:only|solely|for)|recipient|hanya (?:ditujukan|diperuntukkan)|penerima",
    re.IGNORECASE,
)
_SIGNATURE_LINES, _SIGNATURE_WIDTH = 8, 80


class Parts(NamedTuple):
    """own: what the sender wrote. signature: what stood below it, contact data mostly."""

    own: str
    signature: str


def lines_of(text: str) -> list[str]:
    """At most MAX_CHARS of text as lines without trailing blanks, one empty line at most in a row."""
    lines: list[str] = []
    for line in text[:MAX_CHARS].split("\n"):
        line = _BLANKS.sub(" ", line).strip()
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def has_forward(text: str) -> bool:
    """Whether a line says that what follows was forwarded."""
    return any(_FORWARD.fullmatch(line) for line in lines_of(text) if len(line) < 120)


def split(text: str, *, reply: bool) -> Parts:
    """What the sender wrote, without legal notices and signature; in a `reply` also without quotes.

    Quotes are cut from replies only: elsewhere such lines are what the citizen shows us.
    """
    lines = lines_of(text)
    if reply:
        lines = _unquoted(lines)
    lines = [line for line in lines if not (len(line) < 100 and _SENT_FROM.fullmatch(line))]
    lines = _without_notice(lines)
    at = _signature_at(lines)
    return Parts("\n".join(lines[:at]).strip(), "\n".join(lines[at:]).strip())


def _unquoted(lines: list[str]) -> list[str]:
    kept: list[str] = []
    skip = 0
    for number, line in enumerate(lines):
        if skip:
            skip -= 1
        elif line.startswith(">"):
            continue
        elif _ORIGINAL.fullmatch(line[:200]) or _is_header_block(lines, number):
            break
        elif span := _wrote_lines(lines, number):
            # Below it stands the quote, marked or not; what follows a marked quote is the sender's.
            if not any(later.startswith(">") for later in lines[number + span : number + span + 3]):
                break
            skip = span - 1
        else:
            kept.append(line)
    while kept and (not kept[-1] or re.fullmatch(r"_{10,}", kept[-1])):
        kept.pop()
    return kept


def _wrote_lines(lines: list[str], at: int) -> int:
    """How many lines from `at` say who wrote what follows; 0 if they do not."""
    first = lines[at]
    if _SHORT_WROTE.fullmatch(first[:300]):
        return 1
    if not _WROTE_BEGINS.match(first):
        return 0
    joined = ""
    for span, line in enumerate(lines[at : at + 4], 1):
        joined = f"{joined} {line}".strip()
        if line.endswith(":"):
            return span if len(joined) < 400 and _WROTE.fullmatch(joined) else 0
    return 0


def _is_header_block(lines: list[str], at: int) -> bool:
    """Whether Outlook's From/Sent/To/Subject begins here: a sender, a date, and what or whom."""
    first = _LABEL.fullmatch(lines[at][:500])
    if not first or not first[1]:
        return False
    labels = [m for line in lines[at + 1 : at + 8] if (m := _LABEL.fullmatch(line[:500]))]
    dated = any(m[2] and re.search(r"\d", m[4]) for m in labels)
    return dated and any(m[3] for m in labels)


def _without_notice(lines: list[str]) -> list[str]:
    """Without a confidentiality notice that ends the mail."""
    for number, line in enumerate(lines):
        # A notice opens a paragraph, so that a sentence of the citizen's is not taken for one.
        if (number == 0 or not lines[number - 1]) and _NOTICE.match(line):
            paragraph = " ".join(lines[number : number + 6])
            if number and _LEGAL.search(paragraph):
                return lines[:number]
    return lines


def _signature_at(lines: list[str]) -> int:
    """The line where the signature begins; len(lines) where there is none.

    What stands above must be more than what stands below, for some letters open with "Salam,".
    """
    for number in range(len(lines) - 1, 0, -1):
        line, below = lines[number], [line for line in lines[number + 1 :] if line]
        if len(below) > _SIGNATURE_LINES or (below and _AFTERTHOUGHT.match(below[0])):
            break
        if below and len(below[0]) > _SIGNATURE_WIDTH:
            break
        if line == "--" or (len(line) < 60 and _CLOSING.fullmatch(line)):
            return number if len("".join(lines[:number])) > len("".join(below)) else len(lines)
    return len(lines)
