"""The routes of the server: those of text-embeddings-inference, OpenAI's, and a search of the corpus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bench.use.serving import metrics, openapi
from bench.use.serving.refused import (
    INTERNAL,
    LEFT,
    NOT_ALLOWED,
    TOO_SLOW,
    UNAUTHORIZED,
    Refused,
    too_large,
)
from bench.use.serving.requests import Fields, fields_of
from bench.use.serving.service import Answer, Service

log = logging.getLogger(__name__)
PAGE = Path(__file__).with_name("page.html")
READ_S = 30  # seconds in which the body of a request must come
DRAINED = 8  # times the largest body that is read before its client is told that it is too large

Handler = Callable[[Fields], Awaitable[Answer | Response]]


def application(service: Service) -> Starlette:
    """The ASGI application. Every answer but pages and figures is JSON, and so is every error."""
    page, document = PAGE.read_text(encoding="utf-8"), openapi.document(version("negbench"))

    async def fixed(answer: Answer | Response, _: Fields) -> Answer | Response:
        return answer

    async def health(_: Fields) -> Response:
        await service.health()
        return Response()

    async def info(_: Fields) -> Answer:
        return service.info()

    async def figures(_: Fields) -> Response:
        return PlainTextResponse(service.figures(), media_type=metrics.TYPE)

    def route(path: str, handler: Handler, *methods: str, free: bool = False, counted: bool = False) -> Route:
        return Route(path, partial(_answer, service, handler, free, counted), methods=list(methods))

    routes = [
        route("/", partial(fixed, HTMLResponse(page)), "GET", free=True),
        route("/docs", partial(fixed, HTMLResponse(openapi.page(document))), "GET", free=True),
        route("/openapi.json", partial(fixed, document), "GET", free=True),
        route("/health", health, "GET", free=True),
        route("/info", info, "GET"),
        route("/metrics", figures, "GET"),
        route("/embed", service.embed, "POST", counted=True),
        route("/similarity", service.similarity, "POST", counted=True),
        route("/v1/embeddings", service.openai, "POST", counted=True),
        route("/tokenize", service.tokenize, "POST", counted=True),
        route("/search", service.search, "GET", "POST", counted=True),
        route("/example", service.example, "GET"),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_route})


async def _answer(service: Service, handler: Handler, free: bool, counted: bool, request: Request) -> Response:
    """What ``handler`` answers to a request, or why it does not; it is stopped when the client leaves."""
    start, label = perf_counter(), f'method="{request.url.path.strip("/")}"'
    if counted:
        service.metrics.count("te_request_count", label)
    try:
        if not free and not service.allows(request.headers.get("authorization")):
            raise Refused(UNAUTHORIZED, "Unauthorized", "send the key as Authorization: Bearer KEY")
        found = await _while_there(request, handler(await _fields(request, service.limits.payload)))
        response = found if isinstance(found, Response) else JSONResponse(found)
        if counted:
            service.metrics.count("te_request_success", label)
            service.metrics.observe("te_request_duration", perf_counter() - start)
        return response
    except Refused as refused:
        error = refused
    except ClientDisconnect:
        error = Refused(LEFT, "Left", "the client left")
    except Exception:
        log.exception("%s %s failed", request.method, request.url.path)
        error = Refused(INTERNAL, "Internal", "the server failed; its log says why")
    if counted:
        service.metrics.count("te_request_failure", f'err="{error.kind}"')
    return _told(request.url.path, error)


async def _fields(request: Request, most: int) -> Fields:
    """The fields of a request: those of its JSON body, or of its address. Raises :class:`Refused`."""
    if request.method != "POST":
        found: dict[str, Any] = dict(request.query_params)
        if "k" in found:
            with suppress(ValueError):
                found["k"] = int(found["k"])
        return found
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= most:
                    body += chunk
                elif size > DRAINED * most:
                    break
    except TimeoutError:
        raise Refused(TOO_SLOW, "Validation", f"the body did not come in {READ_S} s") from None
    if size > most:
        raise too_large(f"the body has more than {most:,} bytes")
    return fields_of(bytes(body))


async def _while_there(request: Request, work: Awaitable[Answer | Response]) -> Answer | Response:
    """The result of ``work``, which is cancelled when the client leaves. Raises ``ClientDisconnect`` then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(path: str, error: Refused, headers: Mapping[str, str] | None = None) -> Response:
    """An error as TEI words it, on OpenAI's route as that one words it."""
    if path.startswith("/v1/"):
        body: dict[str, Any] = {"message": error.reason, "code": error.status, "error_type": error.kind}
    else:
        body = {"error": error.reason, "error_type": error.kind}
    return JSONResponse(body, error.status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == NOT_ALLOWED:
        refused = Refused(NOT_ALLOWED, "NotAllowed", f"{path} does not take {request.method}")
    else:
        refused = Refused(error.status_code, "NotFound", f"there is no route {path}; /docs lists all")
    return _told(path, refused, error.headers)
