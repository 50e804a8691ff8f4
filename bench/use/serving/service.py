"""What the server answers, whatever protocol asks for it."""

from __future__ import annotations

import hmac
import random
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from bench.data.dataset import Floats
from bench.use.corpus import Hit
from bench.use.serving.batcher import Batcher, Limits
from bench.use.serving.metrics import Metrics
from bench.use.serving.refused import NOT_FOUND, UNHEALTHY, Refused, invalid
from bench.use.serving.requests import MOST_HITS, Fields, Wanted, number, text_of, texts_of
from bench.use.serving.served import Served

Answer = Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class Service:
    """What is served, first the run whose vectors are given, and how many of its requests wait where.

    ``key`` is what clients must send as ``Authorization: Bearer KEY``, None if nothing.
    """

    served: Sequence[Served]
    batchers: Sequence[Batcher]
    metrics: Metrics
    limits: Limits
    key: str | None

    def allows(self, authorization: str | None) -> bool:
        """Whether a client with this header may ask."""
        expected = f"Bearer {self.key}".encode()
        return self.key is None or hmac.compare_digest((authorization or "").encode(), expected)

    async def vectors(self, wanted: Wanted) -> tuple[Floats, int]:
        """[n, d] the vectors of ``wanted``, and the number of its tokens."""
        if not (wanted.normalize or self.served[0].raw):
            raise invalid("normalize must be true: the export to ONNX has vectors of unit length only")
        vectors, tokens = await self.batchers[0].encode(
            wanted.texts, wanted.role, not wanted.normalize, wanted.truncate
        )
        return wanted.shaped(vectors), int(tokens.lengths.sum())

    async def embed(self, fields: Fields) -> Answer:
        vectors, _ = await self.vectors(Wanted.of(fields, self.limits.texts, self.served[0].dim))
        rows: list[list[float]] = vectors.tolist()
        return rows

    async def similarity(self, fields: Fields) -> Answer:
        """The cosine of ``source_sentence`` with each of ``sentences``, all read alike."""
        inputs = fields.get("inputs")
        if not isinstance(inputs, dict):
            raise invalid("inputs must be an object with source_sentence and sentences")
        source, sentences = text_of(inputs, "source_sentence"), inputs.get("sentences")
        if isinstance(sentences, str):
            raise invalid("sentences must be a list of texts")
        others = texts_of(sentences, "sentences", self.limits.texts)
        parameters = fields.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise invalid("parameters must be an object")
        wanted = Wanted.of({**parameters, "inputs": source, "normalize": True}, 1, self.served[0].dim)
        vectors, _ = await self.vectors(replace(wanted, texts=(source, *others)))
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines

    async def openai(self, fields: Fields) -> Answer:
        found = fields.get("input")
        if isinstance(found, list) and found and isinstance(found[0], int | list) and not isinstance(found[0], bool):
            raise invalid("input must be texts: the tokens of another tokenizer cannot be read")
        kind = fields.get("encoding_format") or "float"
        if kind not in ("float", "base64"):
            raise invalid("encoding_format must be float or base64")
        vectors, tokens = await self.vectors(Wanted.of(fields, self.limits.texts, self.served[0].dim, "input"))
        rows = (
            vectors.tolist()
            if kind == "float"
            else [b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
        )
        data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.served[0].name, "usage": usage}

    async def tokenize(self, fields: Fields) -> Answer:
        texts = texts_of(fields.get("inputs"), "inputs", self.limits.texts)
        special = fields.get("add_special_tokens", True)
        if not isinstance(special, bool):
            raise invalid("add_special_tokens must be true or false")
        return await self.batchers[0].read(partial(_tokens, self.served[0].tokenizer, texts, special))

    async def search(self, fields: Fields) -> Answer:
        query, k = text_of(fields, "query"), number(fields, "k", 10, MOST_HITS)
        served, batcher = self._run(fields.get("run"))
        corpus = served.corpus
        if corpus is None:
            raise Refused(NOT_FOUND, "NotFound", f"{served.name} is served without a corpus")
        vectors, _ = await batcher.encode([query], "query")
        (hits,) = await batcher.search(partial(corpus.nearest, vectors, k or 10))
        known = corpus.queries.get(query)
        relevant = None if known is None else list(known.relevant)
        told = [_hit(hit, relevant) for hit in hits]
        return {
            "run": served.name,
            "query": query,
            "id": known and known.id,
            "relevant": relevant,
            "hits": told,
        }

    async def example(self, fields: Fields) -> Answer:
        """A query of the test split, drawn by chance; any known query where there is no test split."""
        corpus = self._run(fields.get("run"))[0].corpus
        if corpus is None or not corpus.queries:
            raise Refused(NOT_FOUND, "NotFound", "the corpus has no known query")
        known = [text for text, query in corpus.queries.items() if query.tested] or list(corpus.queries)
        text = random.choice(known)
        return {"query": text, "id": corpus.queries[text].id, "relevant": list(corpus.queries[text].relevant)}

    async def health(self) -> None:
        """Raises :class:`Refused` where the last batch failed and a text still cannot be encoded."""
        for batcher in self.batchers:
            if batcher.failing:
                try:
                    await batcher.encode(["health"], None)
                except Refused as error:
                    raise Refused(UNHEALTHY, "Unhealthy", "texts cannot be encoded") from error

    def info(self) -> dict[str, Any]:
        first, limits = self.served[0], self.limits
        return {
            "model_id": first.name,
            "model_sha": None,
            "model_dtype": first.dtype,
            "model_type": {"embedding": {"pooling": first.pooling}},
            "max_concurrent_requests": limits.requests,
            "max_input_length": first.longest,
            "max_batch_tokens": limits.batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": limits.texts,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": version("negbench"),
            "dim": first.dim,
            "prompts": {
                name: {"prefix": reading.prefix, "max_tokens": reading.tokens}
                for name, reading in (("query", first.query), ("passage", first.passage))
            },
            "runs": [
                {
                    "id": one.name,
                    "strategy": one.strategy,
                    "data": one.data,
                    "dim": one.dim,
                    "passages": None if one.corpus is None else len(one.corpus.ids),
                }
                for one in self.served
            ],
        }

    def figures(self) -> str:
        """The metrics, as Prometheus reads them."""
        waiting = ("Requests that wait for their batch.", sum(batcher.waiting for batcher in self.batchers))
        return self.metrics.text({"te_queue_size": waiting})

    def _run(self, name: object) -> tuple[Served, Batcher]:
        both = list(zip(self.served, self.batchers, strict=True))
        for served, batcher in both:
            if name in (None, served.name):
                return served, batcher
        raise Refused(NOT_FOUND, "NotFound", f"run must be one of {', '.join(served.name for served in self.served)}")


def _hit(hit: Hit, relevant: Sequence[str] | None) -> dict[str, Any]:
    marked = None if relevant is None else hit.id in relevant
    return {"rank": hit.rank, "id": hit.id, "score": hit.score, "text": hit.text, "relevant": marked}


def _tokens(tokenizer: Any, texts: Sequence[str], special: bool) -> list[list[dict[str, Any]]]:
    """The tokens of each text: number, text, whether it is special, and where it is in the text."""
    found = tokenizer(
        list(texts), add_special_tokens=special, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    return [
        [
            {"id": token, "text": piece, "special": bool(mark)} | ({} if mark else {"start": start, "stop": stop})
            for token, piece, mark, (start, stop) in zip(
                ids, tokenizer.convert_ids_to_tokens(ids), marks, offsets, strict=True
            )
        ]
        for ids, marks, offsets in zip(
            found["input_ids"], found["special_tokens_mask"], found["offset_mapping"], strict=True
        )
    ]
