"""Dynamic batching: requests that come while a batch is encoded are the next batch.

An encoder that is idle waits for nobody: a wait of 2 ms was measured (docs/performance.md) and not kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

from bench.data.dataset import Floats
from bench.data.tokens import Tokens
from bench.use.embedder import TextEmbedder
from bench.use.serving.metrics import Metrics
from bench.use.serving.refused import FAILED, INVALID, OVERLOADED, Refused, too_large

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much a server takes on; the defaults are those of text-embeddings-inference.

    ``requests`` are in work at once, waiting or encoded; ``texts`` and ``payload`` (bytes) are the most of a request;
    ``batch_tokens`` the most of a batch of several requests.
    """

    requests: int = 512
    texts: int = 32
    payload: int = 2_000_000
    batch_tokens: int = 16_384


@dataclass(frozen=True)
class Waiting:
    """A request's texts, with their number of ``tokens`` in all and the ``future`` of their vectors."""

    texts: Sequence[str]
    role: str | None
    raw: bool
    tokens: int
    future: asyncio.Future[Floats]
    since: float = field(default_factory=perf_counter)


class Batcher:
    """Encodes the texts of many requests in batches, in one thread, while :meth:`run` runs.

    A batch has whole requests in the order of their arrival. A request whose task is cancelled, because its client has
    left, is dropped unless its batch is being encoded.
    """

    def __init__(self, encoder: TextEmbedder, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.failing = False  # the last batch could not be encoded
        self.held = 0  # requests in work
        self._encoder, self._metrics = encoder, metrics
        self._queue: deque[Waiting] = deque()
        self._some = asyncio.Event()
        self._encoding = ThreadPoolExecutor(1, "encoding")
        self._reading = ThreadPoolExecutor(1, "reading")

    @property
    def waiting(self) -> int:
        """Requests that wait for their batch."""
        return sum(not one.future.done() for one in self._queue)

    async def encode(
        self, texts: Sequence[str], role: str | None, raw: bool = False, truncate: bool = True
    ) -> tuple[Floats, Tokens]:
        """[n, d] the vectors of one request, and its tokens.

        Raises :class:`Refused` when too many requests are in work, for a text that no tokenizer reads, for one that is
        too long unless ``truncate``, and when the encoder fails.
        """
        if self.held >= self.limits.requests:
            raise Refused(OVERLOADED, "Overloaded", f"{self.held} requests are in work; try again later")
        self.held += 1
        try:
            tokens = await self.read(partial(self._encoder.tokens, texts, role))
            if not truncate and tokens.truncated.any():
                place = int(tokens.truncated.argmax())
                raise too_large(f"text {place + 1} has more than {len(tokens[place])} tokens, and truncate is false")
            count = int(tokens.lengths.sum())
            self._metrics.observe("te_request_input_length", count)
            future: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()
            self._queue.append(Waiting(texts, role, raw, count, future))
            self._some.set()
            return await future, tokens
        finally:
            self.held -= 1

    async def read(self, work: Callable[[], T]) -> T:
        """What ``work`` with a tokenizer gives, done in its thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, work)
        except (ValueError, TypeError) as error:  # half of a surrogate pair
            raise Refused(INVALID, "Tokenizer", "a text is no Unicode that the tokenizer reads") from error

    async def search(self, work: Callable[[], T]) -> T:
        """What ``work`` with an index gives, done in the thread of the encoder."""
        return await asyncio.get_running_loop().run_in_executor(self._encoding, work)

    async def run(self) -> None:
        """Encode what comes, until cancelled."""
        while True:
            await self._some.wait()
            if batch := self._next():
                await self._encode(batch)

    def close(self) -> None:
        """End the threads."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._reading.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[Waiting]:
        """Take the requests of the next batch: at least one, if there is one whose client waits for it."""
        batch: list[Waiting] = []
        room = self.limits.batch_tokens
        while self._queue and (not batch or self._queue[0].tokens <= room):
            one = self._queue.popleft()
            if not one.future.done():
                batch.append(one)
                room -= one.tokens
        if not self._queue:
            self._some.clear()
        return batch

    async def _encode(self, batch: Sequence[Waiting]) -> None:
        start = perf_counter()
        self._metrics.observe("te_batch_next_size", len(batch))
        self._metrics.observe("te_batch_next_tokens", sum(one.tokens for one in batch))
        try:
            vectors = await self.search(partial(self._vectors, batch))
            self.failing = False
        except Exception:
            log.exception("a batch of %d requests could not be encoded", len(batch))
            self.failing = True
            vectors = None
        took = perf_counter() - start
        for place, one in enumerate(batch):
            self._metrics.observe("te_request_queue_duration", start - one.since)
            self._metrics.observe("te_request_inference_duration", took)
            if one.future.done():  # its client has left
                continue
            if vectors is None:
                one.future.set_exception(Refused(FAILED, "Backend", "the texts could not be encoded"))
            else:
                one.future.set_result(vectors[place])

    def _vectors(self, batch: Sequence[Waiting]) -> list[Floats]:
        """The vectors of each request; those that are read alike are encoded at once."""
        found: dict[int, Floats] = {}
        for role, raw in {(one.role, one.raw) for one in batch}:
            alike = [place for place, one in enumerate(batch) if (one.role, one.raw) == (role, raw)]
            vectors = self._encoder.vectors([text for place in alike for text in batch[place].texts], role, raw=raw)
            start = 0
            for place in alike:
                found[place] = vectors[start : start + len(batch[place].texts)]
                start += len(batch[place].texts)
        return [found[place] for place in range(len(batch))]
