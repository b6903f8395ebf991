"""The spaCy component that judges kind and category, and how it is trained.

A text becomes hashed character 3-5-grams inside words and word 1-2-grams, all computed at once
for a whole batch in one byte buffer; one linear layer a head gives scores, a temperature makes
them probabilities. Weights are numpy arrays without pickle. `predict(texts)` is what the classify
step calls; `nlp.pipe` gives the same labels.

Belongs here: features, component, training as pure functions. Not here: which label counts
(classify), reading corpora or caching (knowledge).
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_BATCH = 512  # texts hashed at once: larger spills the caches
_WORDS_KEPT = 100_000  # about 20 MB with 45 labels
_P = np.uint64(0x9E3779B97F4A7C15 | 1)  # odd, so it has an inverse modulo 2**64
_P_INVERSE = np.uint64(pow(int(_P), -1, 1 << 64))
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_LONG = re.compile(r"([a-z])\1{2,}")  # bangettt -> bangett, gggg -> gg
_DIGITS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Label indices and probabilities of one head, one row a text."""

    labels: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]


def fold(text: str) -> str:
    """What features are made of: ASCII letters, digits as 0, words apart by one blank."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = _NOT_WORD.sub(" ", text.lower()).translate(_DIGITS)
    return _LONG.sub(r"\1\1", text).strip()


def features(texts: Sequence[str], bits: int) -> sparse.csr_matrix:
    """Hashed counts, shape (len(texts), 2**bits), float32; rows of empty texts are empty."""
    parts = [_features(texts[i : i + _BATCH], bits) for i in range(0, len(texts), _BATCH)]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, 1 << bits), dtype=np.float32)


def _features(texts: Sequence[str], bits: int) -> sparse.csr_matrix:
    encoded = [f" {fold(t)} ".encode() for t in texts]
    buffer = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    owner = np.repeat(np.arange(len(encoded)), [len(e) for e in encoded])
    b = buffer.astype(np.uint64)
    blank = buffer == 32
    blanks = np.concatenate(([0], np.cumsum(blank)))
    hashes, docs = [], []
    # Character n-grams: a blank may stand at either end (it marks the word's edge), never inside.
    rolling = b.copy()
    for n in range(2, 6):
        if len(b) < n:
            break
        rolling = rolling[:-1] * _P + b[n - 1 :]
        if n < 3:
            continue
        inside = blanks[n - 1 : len(b)] - blanks[1 : len(b) - n + 2]
        keep = (inside == 0) & (owner[: len(b) - n + 1] == owner[n - 1 :])
        hashes.append(rolling[keep] + np.uint64(n))
        docs.append(owner[: len(b) - n + 1][keep])
    starts = np.flatnonzero(~blank & np.concatenate(([True], blank[:-1])))
    ends = np.flatnonzero(~blank & np.concatenate((blank[1:], [True]))) + 1
    if len(starts):
        powers = _powers(len(b))
        prefix = np.concatenate((np.zeros(1, np.uint64), np.cumsum(b * powers, dtype=np.uint64)))
        words = (prefix[ends] - prefix[starts]) * _inverse_powers(len(b))[starts]
        hashes.append(words * np.uint64(3) + np.uint64(11))
        docs.append(owner[starts])
        pair = owner[starts][:-1] == owner[starts][1:]
        hashes.append((words[:-1] * _P + words[1:])[pair] + np.uint64(13))
        docs.append(owner[starts][:-1][pair])
    bucket = (np.concatenate(hashes) * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(64 - bits) if hashes else b[:0]
    doc = np.concatenate(docs) if docs else owner[:0]
    matrix = sparse.coo_matrix(
        (np.ones(len(doc), np.float32), (doc, bucket.astype(np.int32))), shape=(len(texts), 1 << bits)
    ).tocsr()
    matrix.sum_duplicates()
    return matrix


_POWERS: dict[str, NDArray[np.uint64]] = {}


def _powers(n: int) -> NDArray[np.uint64]:
    return _power_table("up", _P, n)


def _inverse_powers(n: int) -> NDArray[np.uint64]:
    return _power_table("down", _P_INVERSE, n)


def _power_table(name: str, base: np.uint64, n: int) -> NDArray[np.uint64]:
    table = _POWERS.get(name)
    if table is None or len(table) < n:
        size = max(n, 1 << 17)
        table = np.cumprod(np.concatenate((np.ones(1, np.uint64), np.full(size, base, np.uint64))), dtype=np.uint64)
        _POWERS[name] = table
    return table[:n]


def weigh(counts: sparse.csr_matrix, idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """log(1 + count) * idf, each row of length 1."""
    matrix = counts.copy()
    matrix.data = np.log1p(matrix.data) * idf[matrix.indices]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norm = np.sqrt(np.bincount(rows, matrix.data**2, matrix.shape[0]))
    matrix.data /= np.where(norm > 0, norm, 1)[rows].astype(np.float32)
    return matrix


# --- the component --------------------------------------------------------------------------


class ComplaintClassifier:
    """Linear heads over hashed n-grams; a spaCy pipe that fills doc.cats with "head:label"."""

    def __init__(self, vocab: Vocab, name: str = "complaints") -> None:
        self.vocab, self.name = vocab, name
        self.bits = 17
        self.idf: NDArray[np.float32] = np.ones(1 << self.bits, np.float32)
        self.heads: dict[str, Head] = {}
        self._words: dict[str, dict[str, NDArray[np.float32]]] = {}

    def predict(self, texts: Sequence[str]) -> dict[str, Prediction]:
        """Prediction of each head for each text."""
        scores = {name: [] for name in self.heads}  # type: dict[str, list[NDArray[np.float32]]]
        for start in range(0, len(texts), _BATCH):
            matrix = weigh(_features(texts[start : start + _BATCH], self.bits), self.idf)
            for name, head in self.heads.items():
                scores[name].append(matrix @ head.weights + head.bias)
        return {name: _judge(head, scores[name]) for name, head in self.heads.items()}

    def evidence(self, texts: Sequence[str], head: str, labels: NDArray[np.int64], most: int = 3) -> list[str]:
        """The words of each text that spoke most for its label, strongest first, blank separated."""
        found: list[str] = []
        for start in range(0, len(texts), _BATCH):
            words = [sorted(set(fold(t).split())) for t in texts[start : start + _BATCH]]
            scores = self._word_scores(head, {w for ws in words for w in ws})
            for ws, label in zip(words, labels[start : start + _BATCH].tolist(), strict=True):
                said = sorted(((float(scores[w][label]), w) for w in ws), key=lambda x: -x[0])
                found.append(" ".join(w for score, w in said[:most] if score > 0))
        return found

    def _word_scores(self, head: str, words: set[str]) -> Mapping[str, NDArray[np.float32]]:
        """What each word alone says for every label; remembered, as the same words come again and again."""
        known = self._words.setdefault(head, {})
        if len(known) > _WORDS_KEPT:
            known.clear()
        if new := sorted(words - known.keys()):
            matrix = weigh(features(new, self.bits), self.idf)
            known.update(zip(new, np.asarray(matrix @ self.heads[head].weights), strict=True))
        return known

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
        arrays = {"idf": self.idf}
        for name, head in self.heads.items():
            arrays |= {f"{name}.weights": head.weights, f"{name}.bias": head.bias}
        np.savez(sink, **arrays)  # type: ignore[arg-type]
        meta = {"bits": self.bits, "heads": {n: [list(h.labels), h.sharpness] for n, h in self.heads.items()}}
        return srsly.msgpack_dumps({"meta": meta, "arrays": sink.getvalue()})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        raw = srsly.msgpack_loads(data)
        meta = raw["meta"]
        with np.load(io.BytesIO(raw["arrays"]), allow_pickle=False) as arrays:
            self.bits, self.idf = meta["bits"], arrays["idf"]
            self._words = {}
            self.heads = {
                name: Head(tuple(labels), arrays[f"{name}.weights"], arrays[f"{name}.bias"], sharpness)
                for name, (labels, sharpness) in meta["heads"].items()
            }
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        Path(path).write_bytes(self.to_bytes())

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        return self.from_bytes(Path(path).read_bytes())


@dataclass(frozen=True, slots=True)
class Head:
    """One question: its labels, weights (2**bits, labels), bias (labels) and softmax sharpness."""

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    sharpness: float


def _judge(head: Head, scores: list[NDArray[np.float32]]) -> Prediction:
    logits = np.concatenate(scores) if scores else np.zeros((0, len(head.labels)), np.float32)
    chance = softmax(logits * head.sharpness)
    order = np.argsort(-chance, axis=1, kind="stable")[:, :2]
    rows = np.arange(len(chance))
    return Prediction(head.labels, order[:, 0], order[:, -1], chance[rows, order[:, 0]])


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64)) if len(logits) else logits
    return shifted / shifted.sum(axis=1, keepdims=True) if len(logits) else shifted.astype(np.float64)


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
    texts: Sequence[str], labels: Mapping[str, Sequence[str]], *, bits: int, c: float, folds: int, seed: int
) -> Language:
    """Fit one balanced linear SVM a head, and its sharpness on out-of-fold scores.

    labels: head -> one label a text. Same input, same seed: same weights.
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import LinearSVC

    counts = features(texts, bits)
    seen = np.bincount(counts.indices, minlength=1 << bits)
    idf = (np.log((1 + len(texts)) / (1 + seen)) + 1).astype(np.float32)
    idf[seen < 2] = 0  # seen in one text only: nothing to learn from
    matrix = weigh(counts, idf)
    nlp = blank()
    component: ComplaintClassifier = nlp.get_pipe("complaints")
    component.bits, component.idf = bits, idf
    for name, wanted in labels.items():
        names = tuple(sorted(set(wanted)))
        target = np.array([names.index(w) for w in wanted])
        outside = np.zeros((len(texts), len(names)))
        splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(matrix, target)
        for fit_rows, held_rows in splits:
            fitted = LinearSVC(C=c, class_weight="balanced", random_state=seed).fit(matrix[fit_rows], target[fit_rows])
            outside[held_rows] = fitted.decision_function(matrix[held_rows])
        fitted = LinearSVC(C=c, class_weight="balanced", random_state=seed).fit(matrix, target)
        component.heads[name] = Head(
            names,
            np.ascontiguousarray(fitted.coef_.T, dtype=np.float32),
            fitted.intercept_.astype(np.float32),
            _sharpness(outside, target),
        )
    return nlp


def _sharpness(scores: NDArray[Any], target: NDArray[np.int64]) -> float:
    """The factor on scores that makes their softmax most likely to be right (temperature)."""
    tried = np.geomspace(0.5, 20, 60)
    rows = np.arange(len(target))
    losses = [-np.log(softmax(scores * t)[rows, target] + 1e-12).mean() for t in tried]
    return float(tried[int(np.argmin(losses))])
