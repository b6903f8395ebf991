"""The spaCy component that judges kind and category, and how it is trained.

A text becomes hashed character 3-5-grams inside words and word 1-2-grams; one linear layer a head
gives scores, a temperature makes them probabilities. What a word yields is worked out once and
remembered, as the same words come again and again; a batch of texts is then put together by numpy.
Weights are arrays without pickle. `predict(texts)` is what the classify step calls; `nlp.pipe` gives
the same labels.

Belongs here: features, component, training as pure functions. Not here: which label counts
(classify), reading corpora or caching files (knowledge).
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import srsly
from numpy.typing import NDArray
from scipy import sparse
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

_BATCH = 512  # texts put together at once: larger spills the caches
_WORDS_KEPT = 100_000  # about 30 MB with 46 labels
_P = np.uint64(0x9E3779B97F4A7C15 | 1)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_WORD = re.compile(r"[a-z0-9]+")
_LONG = re.compile(r"([a-z])\1{2,}")  # bangettt -> bangett, gggg -> gg
_DIGITS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Label indices and probabilities of one head, one row a text."""

    labels: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]


def words_of(text: str) -> list[str]:
    """Lower-case ASCII words of a text, before `fold_word`."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _WORD.findall(text.lower())


def fold_word(word: str) -> str:
    """What features are made of: digits as 0, letters said three times or more said twice."""
    return _LONG.sub(r"\1\1", word.translate(_DIGITS))


class Lexicon:
    """Words as met in texts -> what each yields: its columns, and a hash from which pairs are made.

    columns: bucket -> column, or -1 for buckets that no column has; shape (2**bits,).
    """

    def __init__(self, columns: NDArray[np.int32], bits: int) -> None:
        self._columns, self._shift = columns, np.uint64(64 - bits)
        self.width = int(columns.max(initial=-1)) + 1
        self.clear()

    def clear(self) -> None:
        self.words: list[str] = []
        self._met: dict[str, int] = {}  # as met -> id
        self._ids: dict[str, int] = {}  # folded -> id
        self._hashes = np.zeros(0, np.uint64)
        self._starts = np.zeros(1, np.int64)
        self._pool = np.zeros(0, np.int32)

    def ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(word ids of all texts one after the other, words in each text)."""
        met = [words_of(t) for t in texts]
        flat = list(chain.from_iterable(met))
        if new := sorted(set(flat) - self._met.keys()):
            self._learn(new)
        ids = np.fromiter(map(self._met.__getitem__, flat), np.int64, len(flat))
        return ids, np.fromiter(map(len, met), np.int64, len(met))

    def _learn(self, met: Sequence[str]) -> None:
        folded = [fold_word(w) for w in met]
        new = [w for w in dict.fromkeys(folded) if w not in self._ids]
        if new:
            self._ids.update(zip(new, range(len(self.words), len(self.words) + len(new)), strict=True))
            self.words += new
            hashes, counts, pool = self._hash(new)
            self._hashes = np.concatenate((self._hashes, hashes))
            self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum(counts)))
            self._pool = np.concatenate((self._pool, pool))
        self._met.update((w, self._ids[f]) for w, f in zip(met, folded, strict=True))

    def _hash(self, words: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]:
        """Of each word: its hash, how many columns it has, and those columns one after the other."""
        buffer = np.frombuffer(f" {' '.join(words)} ".encode(), np.uint8)
        blank = buffer == 32
        owner = np.cumsum(blank) - 1  # a blank belongs to the word behind it
        blanks = np.concatenate(([0], np.cumsum(blank)))
        b = buffer.astype(np.uint64)
        hashes, owners = [], []
        # Character n-grams: a blank may stand at either end (it marks the word's edge), never inside.
        rolling = b.copy()
        for n in range(2, 6):
            rolling = rolling[:-1] * _P + b[n - 1 :]
            if n < 3 or not len(rolling):
                continue
            keep = blanks[n - 1 : len(b)] == blanks[1 : len(b) - n + 2]
            hashes.append(rolling[keep] + np.uint64(n))
            owners.append(owner[: len(b) - n + 1][keep])
        whole = _word_hashes(words)
        hashes.append(whole * np.uint64(3) + np.uint64(11))
        owners.append(np.arange(len(words)))
        column, of = self._column(np.concatenate(hashes)), np.concatenate(owners)
        known = column >= 0
        order = np.argsort(of[known], kind="stable")
        return whole, np.bincount(of[known], minlength=len(words)), column[known][order]

    def _column(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        return self._columns[(hashes * _SPREAD) >> self._shift]

    def counts(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> sparse.csr_matrix:
        """How often each column occurs, shape (texts, columns), float32; rows of empty texts are empty."""
        short = len(lengths) * self.width < 1 << 31
        row = np.arange(len(lengths), dtype=np.int32 if short else np.int64)  # short keys sort in a third of the time
        text = np.repeat(row, lengths)
        many = self._starts[ids + 1] - self._starts[ids]
        offsets = np.repeat(self._starts[ids] - np.concatenate(([0], np.cumsum(many)[:-1])), many)
        keys = np.repeat(text * row.dtype.type(self.width), many) + self._pool[offsets + np.arange(len(offsets))]
        if len(ids) > 1:
            first, second = self._hashes[ids[:-1]], self._hashes[ids[1:]]
            column = self._column(first * _P + second + np.uint64(13))
            pair = (text[:-1] == text[1:]) & (column >= 0)
            keys = np.concatenate((keys, text[:-1][pair] * row.dtype.type(self.width) + column[pair]))
        keys.sort()
        begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else keys
        often = np.diff(np.concatenate((begins, [len(keys)]))).astype(np.float32) if len(keys) else np.zeros(0, np.float32)
        rows, columns = np.divmod(keys[begins], row.dtype.type(max(1, self.width)))
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(lengths)))))
        return sparse.csr_matrix((often, columns.astype(np.int32), indptr), shape=(len(lengths), self.width))


def _word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """A polynomial of each word's letters, modulo 2**64."""
    longest = max(map(len, words))
    letters = np.zeros((len(words), longest), np.uint64)
    for i, word in enumerate(words):
        letters[i, : len(word)] = np.frombuffer(word.encode(), np.uint8)
    powers = np.cumprod(np.concatenate((np.ones(1, np.uint64), np.full(longest - 1, _P, np.uint64))), dtype=np.uint64)
    return (letters * powers).sum(axis=1, dtype=np.uint64)


def features(texts: Sequence[str], bits: int) -> sparse.csr_matrix:
    """Hashed counts over all 2**bits buckets, shape (len(texts), 2**bits), float32."""
    lexicon = Lexicon(np.arange(1 << bits, dtype=np.int32), bits)
    parts = [lexicon.counts(*lexicon.ids(texts[i : i + _BATCH])) for i in range(0, len(texts), _BATCH)]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, 1 << bits), dtype=np.float32)


def weigh(counts: sparse.csr_matrix, idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """log(1 + count) * idf, each row of length 1."""
    matrix = counts.copy()
    matrix.data = np.log1p(matrix.data) * idf[matrix.indices]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norm = np.sqrt(np.bincount(rows, matrix.data**2, matrix.shape[0]))
    matrix.data /= np.where(norm > 0, norm, 1)[rows].astype(np.float32)
    return matrix


# --- the component --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """One question: its labels, weights (columns, labels), bias (labels) and softmax sharpness."""

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    sharpness: float


class ComplaintClassifier:
    """Linear heads over hashed n-grams; a spaCy pipe that fills doc.cats with "head:label"."""

    def __init__(self, vocab: Vocab, name: str = "complaints") -> None:
        self.vocab, self.name = vocab, name
        self.learn(17, np.zeros(0, np.int32), np.zeros(0, np.float32), {})

    def learn(
        self, bits: int, buckets: NDArray[np.int32], idf: NDArray[np.float32], heads: Mapping[str, Head]
    ) -> None:
        """Take over weights. buckets: ascending, those of the 2**bits that have a column; idf: one a column."""
        self.bits, self.buckets, self.idf, self.heads = bits, buckets, idf, dict(heads)
        columns = np.full(1 << bits, -1, np.int32)
        columns[buckets] = np.arange(len(buckets), dtype=np.int32)
        self._lexicon = Lexicon(columns, bits)
        weights = [head.weights for head in self.heads.values()]
        self._weights = np.ascontiguousarray(np.hstack(weights)) if weights else np.zeros((0, 0), np.float32)
        ends = np.cumsum([0, *(len(head.labels) for head in self.heads.values())]).tolist()
        self._parts = {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.heads)}
        self._said = np.zeros((0, ends[-1]), np.float32)  # what each word of the lexicon alone says for every label

    def predict(self, texts: Sequence[str]) -> dict[str, Prediction]:
        """Prediction of each head for each text."""
        return self._judged([self._scores(*self._ids(texts[i : i + _BATCH])) for i in range(0, len(texts), _BATCH)])

    def explain(self, texts: Sequence[str], head: str) -> tuple[dict[str, Prediction], list[str]]:
        """predict, and the evidence of one head for its first choice, at the cost of reading texts once."""
        scores, found = [], []
        for start in range(0, len(texts), _BATCH):
            ids, lengths = self._ids(texts[start : start + _BATCH])
            scores.append(self._scores(ids, lengths))
            part = self._parts[head]
            first = _judge(self.heads[head], scores[-1][:, part]).first
            found += self._evidence(ids, lengths, first + part.start, 3)
        return self._judged(scores), found

    def _judged(self, parts: list[NDArray[np.float32]]) -> dict[str, Prediction]:
        scores = np.concatenate(parts) if parts else np.zeros((0, self._weights.shape[1]), np.float32)
        return {name: _judge(head, scores[:, self._parts[name]]) for name, head in self.heads.items()}

    def _ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if len(self._lexicon.words) > _WORDS_KEPT:
            self._lexicon.clear()
            self._said = self._said[:0]
        return self._lexicon.ids(texts)

    def _scores(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(weigh(self._lexicon.counts(ids, lengths), self.idf) @ self._weights)

    def evidence(self, texts: Sequence[str], head: str, labels: NDArray[np.int64], most: int = 3) -> list[str]:
        """The words of each text that spoke most for its label, strongest first, blank separated."""
        found: list[str] = []
        for start in range(0, len(texts), _BATCH):
            ids, lengths = self._ids(texts[start : start + _BATCH])
            found += self._evidence(ids, lengths, labels[start : start + _BATCH] + self._parts[head].start, most)
        return found

    def _evidence(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], labels: NDArray[np.int64], most: int
    ) -> list[str]:
        words = self._lexicon.words
        if unsaid := len(words) - len(self._said):
            new = np.arange(len(self._said), len(words))
            self._said = np.concatenate((self._said, self._scores(new, np.ones(unsaid, np.int64))))
        keys = np.repeat(np.arange(len(lengths)), lengths) * len(words) + ids
        keys = keys.astype(np.int32) if len(lengths) * len(words) < 1 << 31 else keys
        text, word = np.divmod(np.unique(keys), max(1, len(words)))
        score = self._said[word, labels[text]]
        text, word, score = text[score > 0], word[score > 0], score[score > 0]
        used = sorted(set(word.tolist()), key=words.__getitem__)  # equal scores: in the order of the alphabet
        rank = np.zeros(len(words), np.int64)
        rank[used] = np.arange(len(used))
        order = np.lexsort((rank[word], -score, text))
        ends = np.cumsum(np.bincount(text, minlength=len(lengths))).tolist()
        ranked = word[order].tolist()
        return [
            " ".join(words[w] for w in ranked[begin : min(begin + most, end)])
            for begin, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = _BATCH) -> Iterator[Doc]:
        for docs in spacy.util.minibatch(stream, batch_size):
            predictions = self.predict([doc.text for doc in docs])
            for i, doc in enumerate(docs):
                doc.cats |= {f"{h}:{p.labels[p.first[i]]}": float(p.confidence[i]) for h, p in predictions.items()}
                yield doc

    # Weights travel as .npz without pickle, so a model file can hold nothing but numbers.
    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        sink = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {"buckets": self.buckets, "idf": self.idf}
        for name, head in self.heads.items():
            arrays |= {f"{name}.weights": head.weights, f"{name}.bias": head.bias}
        np.savez(sink, **arrays)  # type: ignore[arg-type]
        meta = {"bits": self.bits, "heads": {n: [list(h.labels), h.sharpness] for n, h in self.heads.items()}}
        return srsly.msgpack_dumps({"meta": meta, "arrays": sink.getvalue()})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        raw = srsly.msgpack_loads(data)
        meta = raw["meta"]
        with np.load(io.BytesIO(raw["arrays"]), allow_pickle=False) as arrays:
            heads = {
                name: Head(tuple(labels), arrays[f"{name}.weights"], arrays[f"{name}.bias"], sharpness)
                for name, (labels, sharpness) in meta["heads"].items()
            }
            self.learn(meta["bits"], arrays["buckets"], arrays["idf"], heads)
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        Path(path).write_bytes(self.to_bytes())

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        return self.from_bytes(Path(path).read_bytes())


def _judge(head: Head, scores: NDArray[np.float32]) -> Prediction:
    chance = softmax((scores + head.bias) * head.sharpness)
    rows = np.arange(len(chance))
    first = chance.argmax(axis=1) if len(chance) else np.zeros(0, np.int64)
    confidence = chance[rows, first]
    chance[rows, first] = -1.0
    second = chance.argmax(axis=1) if len(chance) else first
    return Prediction(head.labels, first, second, confidence)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    if not len(logits):
        return logits.astype(np.float64)
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    return shifted / shifted.sum(axis=1, keepdims=True)


@Language.factory("kanal_complaints")
def _make_classifier(nlp: Language, name: str) -> ComplaintClassifier:
    return ComplaintClassifier(nlp.vocab, name)


class WholeText:
    """Tokenizer that leaves a text whole: the component reads characters, and spaCy's Indonesian
    rules would cost 3.5 s at every start."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        return Doc(self.vocab, words=[text] if text else [], spaces=[False] if text else [])

    def pipe(self, texts: Iterable[str]) -> Iterator[Doc]:
        return map(self, texts)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        return b""

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> WholeText:
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        Path(path).write_bytes(b"")

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> WholeText:
        return self


@spacy.registry.tokenizers("kanal.WholeText.v1")
def _make_whole_text() -> Any:
    return lambda nlp: WholeText(nlp.vocab)


def blank() -> Language:
    """An Indonesian pipeline with the untrained component in it."""
    config = {"nlp": {"tokenizer": {"@tokenizers": "kanal.WholeText.v1"}}}
    nlp = spacy.blank("id", config=config)
    nlp.add_pipe("kanal_complaints", name="complaints")
    return nlp


# --- training -------------------------------------------------------------------------------


def train(
    texts: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    *,
    bits: int,
    c: float,
    folds: int,
    seed: int,
    soften: float = 1.0,
) -> Language:
    """Fit one balanced linear SVM a head, and its sharpness on out-of-fold scores.

    labels: head -> one label a text. soften: factor on that sharpness, below 1 where the texts to be
    judged are less clear than those learned from. Same input, same seed: same weights.
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import LinearSVC

    counts = features(texts, bits)
    seen = np.bincount(counts.indices, minlength=1 << bits)
    buckets = np.flatnonzero(seen > 1).astype(np.int32)  # seen in one text only: nothing to learn from
    idf = (np.log((1 + len(texts)) / (1 + seen[buckets])) + 1).astype(np.float32)
    matrix = weigh(counts[:, buckets], idf)
    heads = {}
    for name, wanted in labels.items():
        names = tuple(sorted(set(wanted)))
        target = np.array([names.index(w) for w in wanted])
        outside = np.zeros((len(texts), len(names)))
        splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(matrix, target)
        for fit_rows, held_rows in splits:
            fitted = LinearSVC(C=c, class_weight="balanced", random_state=seed).fit(matrix[fit_rows], target[fit_rows])
            outside[held_rows] = fitted.decision_function(matrix[held_rows])
        fitted = LinearSVC(C=c, class_weight="balanced", random_state=seed).fit(matrix, target)
        heads[name] = Head(
            names,
            np.ascontiguousarray(fitted.coef_.T, dtype=np.float32),
            fitted.intercept_.astype(np.float32),
            _sharpness(outside, target) * soften,
        )
    nlp = blank()
    component: ComplaintClassifier = nlp.get_pipe("complaints")
    component.learn(bits, buckets, idf, heads)
    return nlp


def _sharpness(scores: NDArray[Any], target: NDArray[np.int64]) -> float:
    """The factor on scores that makes their softmax most likely to be right (temperature)."""
    tried = np.geomspace(0.5, 20, 60)
    rows = np.arange(len(target))
    losses = [-np.log(softmax(scores * t)[rows, target] + 1e-12).mean() for t in tried]
    return float(tried[int(np.argmin(losses))])
