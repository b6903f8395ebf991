"""The spaCy component that judges kind, category and agency.

Each question (head) hears two voices over the same features (ngrams): a linear one, and one through
hidden units that all heads share. Both give probabilities; their weighted mean, sharpened to fit held-out
texts, chooses the label; how often such a choice was right there is the confidence. Weights are arrays without
pickle. `explain(texts)` is what the classify step calls; `predict` and `nlp.pipe` give the same labels.

Belongs here: the component. Not here: features (ngrams), training it (fitting), which label counts
(classify), where versions lie (classifiers).
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
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from pipelines.transforms.ngrams import BATCH, Growing, Lexicon, size, split, squares

_WORDS_KEPT = 50_000  # about 60 MB with 300 columns


@dataclass(frozen=True, slots=True)
class Prediction:
    """Label indices of one head, one row a text; confidence: the chance that the first is right, 0..1."""

    labels: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]


# --- the component --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """One question.

    labels; weights (columns, labels) and bias (labels) of the linear voice, to whose scores `lean`
    (labels of another head, labels) adds what that head's scores say, or is empty; deep (hidden, labels)
    and deep_bias (labels) of the other voice, or empty; sharpness of the linear voice and of the
    deep one, the deep one's share of their mean, sharpness of that mean; sureness: slopes and start of the curve
    that tells the confidence (doubts), or empty: the chosen label's probability is the confidence.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    lean: NDArray[np.float32]
    deep: NDArray[np.float32]
    deep_bias: NDArray[np.float32]
    sharpness: tuple[float, float, float, float]
    sureness: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """All that was learned. bits: of the feature hash; buckets: ascending, those of the 2**bits that have a column;
    idf: one a column; hidden (columns, units) and hidden_bias (units); leans_on: the head that others lean on, or ""."""

    bits: int
    buckets: NDArray[np.int32]
    idf: NDArray[np.float32]
    heads: Mapping[str, Head]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    leans_on: str = ""


def _untaught() -> Weights:
    none = np.zeros(0, np.float32)
    return Weights(10, np.zeros(0, np.int32), none, {}, np.zeros((0, 0), np.float32), none)


class ComplaintClassifier:
    """A spaCy pipe that fills doc.cats with "head:label"."""

    def __init__(self, vocab: Vocab, name: str = "complaints") -> None:
        self.vocab, self.name = vocab, name
        self.learn(_untaught())

    def learn(self, weights: Weights) -> None:
        """Take over weights."""
        self.weights, self.heads = weights, dict(weights.heads)
        columns = np.full(1 << weights.bits, -1, np.int32)
        columns[weights.buckets] = np.arange(len(weights.buckets), dtype=np.int32)
        self._lexicon = Lexicon(columns, weights.bits)
        tables = [*(head.weights for head in self.heads.values()), weights.hidden]
        # What each column adds to every score and hidden unit, its idf included.
        self._table = np.ascontiguousarray(np.hstack(tables) * weights.idf[:, None])
        ends = np.cumsum([0, *(table.shape[1] for table in tables)]).tolist()
        parts = [slice(*ends[i : i + 2]) for i in range(len(tables))]
        self._parts, self._hidden = dict(zip(self.heads, parts, strict=False)), parts[-1]
        self._forget()

    def _forget(self) -> None:
        self._lexicon.clear()
        self._said = Growing((self._table.shape[1],), np.float32)  # what each word met adds
        self._squares = Growing((), np.float64)

    def predict(self, texts: Sequence[str]) -> dict[str, Prediction]:
        """Prediction of each head for each text."""
        sums = [self._sums(*self._ids(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
        return self._judged([self._chances(s) for s in sums])

    def chances(self, texts: Sequence[str], head: str) -> NDArray[np.float64]:
        """How likely each label of a head is, shape (texts, labels)."""
        parts = [self._chances(self._sums(*self._ids(texts[i : i + BATCH])))[head] for i in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.heads[head].labels)))

    def chances_of(self, words: Sequence[str], lengths: NDArray[np.int64], head: str) -> NDArray[np.float64]:
        """The same of texts given as their words (as ngrams.words_of), those of text i lengths[i] in number; at best
        BATCH texts at once."""
        return self._chances(self._sums(self._met(words), lengths))[head]

    def explain(self, texts: Sequence[str], head: str) -> tuple[dict[str, Prediction], list[str]]:
        """predict, and the evidence of one head for its first choice, at the cost of reading texts once."""
        chances, found = [], []
        for start in range(0, len(texts), BATCH):
            ids, lengths = self._ids(texts[start : start + BATCH])
            chances.append(self._chances(self._sums(ids, lengths)))
            first = chances[-1][head].argmax(axis=1)
            found += self._evidence(ids, lengths, first + self._parts[head].start, 3)
        return self._judged(chances), found

    def _ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(word ids of all texts one after the other, words in each text)."""
        met, lengths = split(texts)
        return self._met(met), lengths

    def _met(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Word ids, every word met with its row in the cache."""
        if len(self._lexicon.words) > _WORDS_KEPT:
            self._forget()
        ids = self._lexicon.ids(words)
        if len(self._lexicon.words) > len(self._said.all):
            new = self._lexicon.matrix(len(self._said.all))
            self._said.add(new @ self._table)
            new.data *= self.weights.idf[new.indices]
            self._squares.add(squares(new))
        return ids

    def _sums(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores and hidden units of each text, before biases."""
        said, pairs = self._lexicon.documents(ids, lengths), self._lexicon.pairs(ids, lengths)
        sums = said @ self._said.all + pairs @ self._table
        return np.asarray(sums.astype(np.float64) / size(said, self._squares.all, pairs, self.weights.idf)[:, None])

    def _chances(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Probability of each label, per head."""
        units = np.maximum(sums[:, self._hidden] + self.weights.hidden_bias, 0)
        echo = unit(sums[:, self._parts[on]] + self.heads[on].bias) if (on := self.weights.leans_on) else None
        return {n: _chance(h, sums[:, self._parts[n]], units, echo) for n, h in self.heads.items()}

    def _judged(self, parts: list[dict[str, NDArray[np.float64]]]) -> dict[str, Prediction]:
        empty = [{name: np.zeros((0, len(head.labels))) for name, head in self.heads.items()}]
        return {n: _judge(h, np.concatenate([p[n] for p in parts or empty])) for n, h in self.heads.items()}

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
        said = self._lexicon.documents(ids, lengths)
        text, word = np.repeat(np.arange(len(lengths)), np.diff(said.indptr)), said.indices
        score = said.data * self._said.all[word, labels[text]]
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
        sink, w = io.BytesIO(), self.weights
        arrays = {"buckets": w.buckets, "idf": w.idf, "hidden": w.hidden, "hidden_bias": w.hidden_bias}
        for name, head in self.heads.items():
            arrays |= {f"{name}.{field}": getattr(head, field) for field in _ARRAYS}
        np.savez(sink, **arrays)  # type: ignore[arg-type]
        heads = {n: [list(h.labels), list(h.sharpness)] for n, h in self.heads.items()}
        curves = {n: list(h.sureness) for n, h in self.heads.items()}
        meta = {"bits": w.bits, "leans_on": w.leans_on, "heads": heads, "sureness": curves}
        return srsly.msgpack_dumps({"meta": meta, "arrays": sink.getvalue()})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        raw = srsly.msgpack_loads(data)
        meta = raw["meta"]
        curves = meta.get("sureness", {})  # a version trained before there were curves judges as it did
        with np.load(io.BytesIO(raw["arrays"]), allow_pickle=False) as a:
            heads = {
                name: Head(
                    labels=tuple(labels),
                    sharpness=tuple(sharpness),
                    sureness=tuple(curves.get(name, ())),
                    **{f: a[f"{name}.{f}"] for f in _ARRAYS},
                )
                for name, (labels, sharpness) in meta["heads"].items()
            }
            self.learn(
                Weights(meta["bits"], a["buckets"], a["idf"], heads, a["hidden"], a["hidden_bias"], meta["leans_on"])
            )
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        Path(path).write_bytes(self.to_bytes())

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> ComplaintClassifier:
        return self.from_bytes(Path(path).read_bytes())


_ARRAYS = ("weights", "bias", "lean", "deep", "deep_bias")


def _chance(
    head: Head, scores: NDArray[np.float64], units: NDArray[np.float64], echo: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    scores = scores + head.bias
    if echo is not None and len(head.lean):
        scores = scores + echo @ head.lean
    return mixed(scores, units @ head.deep + head.deep_bias if len(head.deep) else None, head.sharpness)


def mixed(
    linear: NDArray[np.float64], deep: NDArray[np.float64] | None, sharpness: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    """Scores of the voices -> probabilities, by Head.sharpness; deep None: one voice alone."""
    first, second, share, both = sharpness
    chance = softmax(linear * first)
    if deep is not None:
        chance = chance * (1 - share) + softmax(deep * second) * share
    return sharpened(chance, both)


def sharpened(chance: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Probabilities to a power, of sum 1 again: above 1 surer, below 1 less sure, the same order."""
    raised = np.maximum(chance, 1e-12) ** power
    return raised / raised.sum(axis=1, keepdims=True)


def _judge(head: Head, chance: NDArray[np.float64]) -> Prediction:
    first, second, best, next_best = leaders(chance)
    sure = best
    if head.sureness:
        sure = 1 / (1 + np.exp(-np.clip(doubts(best, next_best) @ np.array(head.sureness), -30, 30)))
    # the last digits depend on the company a text is judged in
    return Prediction(head.labels, first, second, sure.round(9))


def leaders(
    chance: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The likeliest label of each row, its runner-up, and the probability of either; overwrites `chance`."""
    if not len(chance):
        return (none := np.zeros(0, np.int64)), none, np.zeros(0), np.zeros(0)
    rows = np.arange(len(chance))
    first = chance.argmax(axis=1)
    best = chance[rows, first]
    chance[rows, first] = -1.0
    second = chance.argmax(axis=1)
    return first, second, best, chance[rows, second]


def doubts(best: NDArray[np.float64], next_best: NDArray[np.float64]) -> NDArray[np.float64]:
    """What tells how sure a choice is, shape (texts, 3): its lead over the runner-up, how much it has of all there
    is, and a column of ones. Both as logarithms of probabilities."""
    loud = np.log(np.maximum(best, 1e-12))
    return np.column_stack((loud - np.log(np.maximum(next_best, 1e-12)), loud, np.ones(len(best))))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of probabilities."""
    if not len(logits):
        return logits.astype(np.float64)
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def unit(scores: NDArray[Any]) -> NDArray[Any]:
    """Each row less its mean, of length 1: which labels it favours, not how loudly."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


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
