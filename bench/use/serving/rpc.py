"""The services of ``tei.proto`` by gRPC. Its messages are made from that file when the server starts."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from bench.errors import UserError
from bench.use.serving.refused import FAILED, INTERNAL, OVERLOADED, UNAUTHORIZED, UNHEALTHY, Refused
from bench.use.serving.requests import Wanted, texts_of
from bench.use.serving.service import Service

log = logging.getLogger(__name__)
PROTO = Path(__file__).with_name("tei.proto")
CODES = {
    UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UNHEALTHY: grpc.StatusCode.UNAVAILABLE,
    FAILED: grpc.StatusCode.INTERNAL,
    INTERNAL: grpc.StatusCode.INTERNAL,
}

INFO = (
    "version",
    "model_id",
    "model_dtype",
    "max_concurrent_requests",
    "max_input_length",
    "max_batch_tokens",
    "max_client_batch_size",
    "tokenization_workers",
)


def messages() -> dict[str, Any]:
    """The message classes of ``tei.proto``, by name."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "tei.bin"
        if protoc.main(["", f"-I{PROTO.parent}", f"--descriptor_set_out={made}", PROTO.name]):
            raise RuntimeError(f"{PROTO.name} cannot be read")
        files = descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    (file,) = (pool.AddSerializedFile(file.SerializeToString()) for file in files.file)
    return {name: message_factory.GetMessageClass(found) for name, found in file.message_types_by_name.items()}


class Calls:
    """What is answered to each call; errors are those of HTTP as gRPC's codes."""

    def __init__(self, service: Service) -> None:
        self._service, self._kinds = service, messages()

    def handlers(self) -> tuple[Any, ...]:
        """gRPC's handlers of all services."""
        one, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        methods = {
            "Embed": {
                "Embed": self._method(one, self.embed, "EmbedRequest", "EmbedResponse"),
                "EmbedStream": self._method(stream, self.embed_stream, "EmbedRequest", "EmbedResponse"),
            },
            "Info": {"Info": self._method(one, self.info, "InfoRequest", "InfoResponse")},
        }
        return tuple(grpc.method_handlers_generic_handler(f"tei.v1.{name}", of) for name, of in methods.items())

    async def embed(self, request: Any, context: Any) -> Any:
        return await self._answer(self._embedded, request, context)

    async def embed_stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield await self.embed(request, context)

    async def info(self, request: Any, context: Any) -> Any:
        return await self._answer(self._told, request, context)

    def _method(self, kind: Any, behaviour: Any, request: str, response: str) -> Any:
        read, write = self._kinds[request].FromString, self._kinds[response].SerializeToString
        return kind(behaviour, request_deserializer=read, response_serializer=write)

    async def _embedded(self, request: Any) -> Any:
        start = perf_counter_ns()
        texts = texts_of(request.inputs, "inputs", 1)
        vectors, tokens = await self._service.vectors(Wanted(texts, None, request.truncate, request.normalize))
        told = self._kinds["Metadata"](
            compute_chars=len(request.inputs), compute_tokens=tokens, total_time_ns=perf_counter_ns() - start
        )
        return self._kinds["EmbedResponse"](embeddings=vectors[0].tolist(), metadata=told)

    async def _told(self, _: Any) -> Any:
        info = self._service.info()
        return self._kinds["InfoResponse"](**{name: info[name] for name in INFO})

    async def _answer(self, work: Callable[[Any], Awaitable[Any]], request: Any, context: Any) -> Any:
        metrics = self._service.metrics
        metrics.count("te_request_count", 'method="grpc"')
        try:
            if not self._service.allows(dict(context.invocation_metadata()).get("authorization")):
                raise Refused(UNAUTHORIZED, "Unauthorized", "send the key as authorization: Bearer KEY")
            found = await work(request)
            metrics.count("te_request_success", 'method="grpc"')
            return found
        except Refused as refused:
            error = refused
        except Exception:
            log.exception("a call failed")
            error = Refused(INTERNAL, "Internal", "the server failed; its log says why")
        metrics.count("te_request_failure", f'err="{error.kind}"')
        return await context.abort(CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT), error.reason)


def server(service: Service, address: str) -> tuple[grpc.aio.Server, int]:
    """A server at ``HOST:PORT`` that is not started yet, and its port (that of ``HOST:0`` is chosen).

    Raises :class:`UserError` when the port is taken.
    """
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", service.limits.payload)]
    made = grpc.aio.server(options=options)
    made.add_generic_rpc_handlers(Calls(service).handlers())
    try:
        return made, made.add_insecure_port(address)
    except RuntimeError:
        raise UserError(f"cannot listen at {address}; choose another") from None
