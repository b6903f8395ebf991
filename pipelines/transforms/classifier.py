"""The spaCy component that judges kind and category, and how it is trained.

Features of a text (ngrams) go through one linear layer a head, which gives scores; a temperature makes
them probabilities. Weights are arrays without pickle. `explain(texts)` is what the classify step
calls; `predict` and `nlp.pipe` give the same labels.

Belongs here: component and training as pure functions. Not here: features (ngrams), which label
counts (classify), reading corpora or caching files (knowledge).
"""

from __future__ import annotations

import io
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

from pipelines.transforms.ngrams import BATCH, Lexicon, features, weigh

_WORDS_KEPT = 100_000  # about 30 MB with 46 labels


@dataclass(frozen=True, slots=True)
class Prediction:
    """Label indices and probabilities of one head, one row a text."""

    labels: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]


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

    def learn(self, bits: int, buckets: NDArray[np.int32], idf: NDArray[np.float32], heads: Mapping[str, Head]) -> None:
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
        return self._judged([self._scores(*self._ids(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)])

    def explain(self, texts: Sequence[str], head: str) -> tuple[dict[str, Prediction], list[str]]:
        """predict, and the evidence of one head for its first choice, at the cost of reading texts once."""
        scores, found = [], []
        for start in range(0, len(texts), BATCH):
            ids, lengths = self._ids(texts[start : start + BATCH])
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
        for start in range(0, len(texts), BATCH):
            ids, lengths = self._ids(texts[start : start + BATCH])
            found += self._evidence(ids, lengths, labels[start : start + BATCH] + self._parts[head].start, most)
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

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = BATCH) -> Iterator[Doc]:
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
            weights, bias = _fit(matrix[fit_rows], target[fit_rows], c=c, seed=seed)
            outside[held_rows] = matrix[held_rows] @ weights + bias
        weights, bias = _fit(matrix, target, c=c, seed=seed)
        heads[name] = Head(
            names,
            np.ascontiguousarray(weights, dtype=np.float32),
            bias.astype(np.float32),
            _sharpness(outside, target) * soften,
        )
    nlp = blank()
    component: ComplaintClassifier = nlp.get_pipe("complaints")
    component.learn(bits, buckets, idf, heads)
    return nlp


def _fit(
    matrix: sparse.csr_matrix, target: NDArray[np.int64], *, c: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (columns, labels) and bias (labels) of a balanced linear SVM, each label against the rest."""
    from sklearn.svm import LinearSVC

    fitted = LinearSVC(C=c, class_weight="balanced", random_state=seed).fit(matrix, target)
    weights, bias = fitted.coef_.T, fitted.intercept_
    if weights.shape[1] == 1:  # of two labels only the second is fitted: the first is its opposite
        return np.hstack((-weights, weights)), np.concatenate((-bias, bias))
    return weights, bias


def _sharpness(scores: NDArray[Any], target: NDArray[np.int64]) -> float:
    """The factor on scores that makes their softmax most likely to be right (temperature)."""
    tried = np.geomspace(0.5, 20, 60)
    rows = np.arange(len(target))
    losses = [-np.log(softmax(scores * t)[rows, target] + 1e-12).mean() for t in tried]
    return float(tried[int(np.argmin(losses))])
