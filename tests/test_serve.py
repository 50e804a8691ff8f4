"""The server with real clients: curl, httpx, openai's and gRPC's; what it refuses, and how it ends."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import bench

pytest.importorskip("starlette", reason="starlette is not installed (the optional part serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (the optional part serve)")
httpx = pytest.importorskip("httpx")
from serving import Running, gated, running, toy_runs  # noqa: E402

from bench.use.embedder import Embedder  # noqa: E402
from bench.use.weights import settings_of  # noqa: E402

TEXTS = ["kaban lodor", "a long one: " + "mihux nufel " * 9, "kaban lodor", "pegim"]
HAS_GRPC = all(map(find_spec, ("grpc", "grpc_tools")))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    return toy_runs(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def server(toy: tuple[Path, list[str]]) -> Iterator[Running]:
    runs, names = toy
    with running(*names, "--runs-dir", str(runs), *(["--grpc-port", "0"] if HAS_GRPC else [])) as started:
        yield started


@pytest.fixture(scope="module")
def embedder(toy: tuple[Path, list[str]]) -> Embedder:
    return Embedder.load(settings_of(toy[0] / toy[1][0]), "cpu", "fp32")


def post(server: Any, path: str, body: Any, **more: Any) -> Any:
    return httpx.post(f"{server.url}{path}", json=body, timeout=60, **more)


@pytest.mark.parametrize("name", [None, "query", "passage", "document"])
def test_vectors_are_those_of_the_encoder(server: Running, embedder: Embedder, name: str | None) -> None:
    role = "passage" if name == "document" else name
    found = post(server, "/embed", {"inputs": TEXTS, **({"prompt_name": name} if name else {})})
    assert found.status_code == 200
    np.testing.assert_allclose(found.json(), embedder.vectors(TEXTS, role), atol=1e-5)
    one = post(server, "/embed", {"inputs": TEXTS[0], "prompt_name": name}).json()
    np.testing.assert_allclose(one, embedder.vectors(TEXTS[:1], role), atol=1e-5)


def test_vectors_may_be_shorter_or_not_of_unit_length(server: Running, embedder: Embedder) -> None:
    raw = embedder.vectors(TEXTS, raw=True)
    found = post(server, "/embed", {"inputs": TEXTS, "normalize": False}).json()
    np.testing.assert_allclose(found, raw, atol=1e-5)
    found = post(server, "/embed", {"inputs": TEXTS, "normalize": False, "dimensions": 5}).json()
    np.testing.assert_allclose(found, raw[:, :5], atol=1e-5)
    found = post(server, "/embed", {"inputs": TEXTS, "dimensions": 5}).json()
    expected = raw[:, :5] / np.linalg.norm(raw[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_similarity_is_the_cosine(server: Running, embedder: Embedder) -> None:
    asked = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}, "parameters": {"prompt_name": "query"}}
    vectors = embedder.vectors(TEXTS, "query")
    assert post(server, "/similarity", asked).json() == pytest.approx((vectors @ vectors[0]).tolist(), abs=1e-5)


def test_the_client_of_openai_gets_vectors_in_both_formats(server: Running, embedder: Embedder) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    for more in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        found = client.embeddings.create(input=TEXTS, model="any", user="me", **more)
        rows = [row.embedding for row in found.data]
        if more.get("encoding_format") == "base64":
            rows = [np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else row for row in rows]
        np.testing.assert_allclose(np.array(rows, dtype=np.float32), embedder.vectors(TEXTS), atol=1e-5)
        assert found.usage.prompt_tokens == found.usage.total_tokens == embedder.tokens(TEXTS).lengths.sum()
    short = client.embeddings.create(input=TEXTS[0], model="any", dimensions=4, extra_body={"prompt_name": "query"})
    assert np.linalg.norm(short.data[0].embedding) == pytest.approx(1, abs=1e-5) and len(short.data[0].embedding) == 4
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(input="", model="any")
    assert refused.value.body == {"message": "input: text 1 is empty", "code": 400, "error_type": "Empty"}
    with pytest.raises(openai.UnprocessableEntityError, match="tokens of another tokenizer"):
        client.embeddings.create(input=[[1, 2]], model="any")


def test_many_clients_at_once_get_their_own_vectors(server: Running, embedder: Embedder) -> None:
    asked = [[f"kaban {n}", "lodor " * (n % 7 + 1)] for n in range(48)]
    roles = [("query", "passage", None)[n % 3] for n in range(48)]
    bodies = [{"inputs": texts, "prompt_name": role} for texts, role in zip(asked, roles, strict=True)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda body: post(server, "/embed", body).json(), bodies))
    for texts, role, rows in zip(asked, roles, found, strict=True):
        np.testing.assert_allclose(rows, embedder.vectors(texts, role), atol=1e-5)


def test_curl_gets_vectors(server: Running, embedder: Embedder) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sf", f"{server.url}/embed", "-H", "Content-Type: application/json"]
    told = subprocess.run([*command, "-d", '{"inputs": "pegim"}'], capture_output=True, check=True)
    np.testing.assert_allclose(json.loads(told.stdout), embedder.vectors(["pegim"]), atol=1e-5)


def test_search_finds_what_the_command_finds(
    server: Running, toy: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs, names = toy
    example = httpx.get(f"{server.url}/example").json()
    query = example["query"]
    for name in names:
        capsys.readouterr()
        asked = ["--queries", "-", "-k", "4", "--runs-dir", str(runs), "--device", "cpu"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(query.encode())))
            assert bench("search", name, *asked) == 0
        expected = json.loads(capsys.readouterr().out)
        by_address = httpx.get(f"{server.url}/search", params={"query": query, "k": 4, "run": name}).json()
        by_body = post(server, "/search", {"query": query, "k": 4, "run": name}).json()
        assert by_address == by_body and by_body["run"] == name
        assert by_body["id"] == example["id"] == expected["id"] and by_body["relevant"] == example["relevant"]
        for hit, row in zip(by_body["hits"], expected["hits"], strict=True):
            assert {key: hit[key] for key in ("rank", "id", "text")} == {
                key: row[key] for key in ("rank", "id", "text")
            }
            assert hit["score"] == pytest.approx(row["score"], abs=1e-5)
            assert hit["relevant"] == (hit["id"] in example["relevant"])
    first = post(server, "/search", {"query": "not a known query"}).json()
    assert first["run"] == names[0] and len(first["hits"]) == 10
    assert first["relevant"] is None and {hit["relevant"] for hit in first["hits"]} == {None}


def test_examples_are_queries_of_the_test_split(server: Running, toy: tuple[Path, list[str]]) -> None:
    tested = [line.split("\t")[0] for line in (toy[0].parent / "data" / "test.tsv").read_text().splitlines()]
    assert {httpx.get(f"{server.url}/example").json()["query"] for _ in range(20)} <= set(tested)


def test_what_is_served_is_told(server: Running, toy: tuple[Path, list[str]], embedder: Embedder) -> None:
    info = httpx.get(f"{server.url}/info").json()
    assert info["model_id"] == toy[1][0] and info["model_dtype"] == "float32" and info["dim"] == embedder.encoder.dim
    assert info["max_client_batch_size"] == 32 and info["max_concurrent_requests"] == 512
    told = [(run["id"], run["strategy"], run["data"], run["passages"]) for run in info["runs"]]
    assert told == [(name, name.rpartition("-data-")[0], "data", 60) for name in toy[1]]
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.content) == (200, b"")


def test_tokens_have_their_places(server: Running) -> None:
    (found,) = post(server, "/tokenize", {"inputs": "kaban lodor"}).json()
    inner = [token for token in found if not token["special"]]
    assert [("kaban lodor"[token["start"] : token["stop"]]) for token in inner] == ["kaban", "lodor"]
    (bare,) = post(server, "/tokenize", {"inputs": "kaban lodor", "add_special_tokens": False}).json()
    assert bare == inner


def test_figures_are_read_by_prometheus(server: Running) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")

    def read() -> dict[str, float]:
        text = httpx.get(f"{server.url}/metrics").text
        families = list(parser.text_string_to_metric_families(text))
        return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}

    before = read()
    assert post(server, "/embed", {"inputs": ["kaban lodor", "pegim"]}).status_code == 200
    assert post(server, "/embed", {"inputs": []}).status_code == 400
    grown = {key: value - before.get(key, 0) for key, value in read().items()}
    assert grown["te_request_count_total[('method', 'embed')]"] == 2
    assert (
        grown["te_request_success_total[('method', 'embed')]"]
        == grown["te_request_failure_total[('err', 'Empty')]"]
        == 1
    )
    assert grown["te_batch_next_size_count[]"] == grown["te_request_duration_count[]"] == 1
    assert grown["te_batch_next_tokens_sum[]"] == grown["te_request_input_length_sum[]"] > 3
    assert before["te_queue_size[]"] == 0


def test_every_route_is_described(server: Running) -> None:
    from bench.use.serving import openapi
    from bench.use.serving.batcher import Limits
    from bench.use.serving.http import application
    from bench.use.serving.metrics import Metrics
    from bench.use.serving.service import Service

    told = httpx.get(f"{server.url}/openapi.json").json()
    assert told == openapi.document(told["info"]["version"])
    routes: Any = application(Service([], [], Metrics(), Limits(), None)).routes
    made = {(route.path, method.lower()) for route in routes for method in route.methods - {"HEAD"}}
    assert made == {(path, method) for path, methods in told["paths"].items() for method in methods}
    page = httpx.get(f"{server.url}/docs").text
    assert "POST /v1/embeddings" in page and not re.search(r"(src|href)=.?https?:", page)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/embed", b"{bad", 422, "Validation"),
    ("POST", "/embed", b"\xff\xfe", 422, "Validation"),
    ("POST", "/embed", b"", 422, "Validation"),
    ("POST", "/embed", b"[" * 100_000, 422, "Validation"),
    ("POST", "/embed", b"a" * 10_000_000, 413, "Validation"),
    ("POST", "/embed", {"inputs": ["a"] * 10_000}, 413, "Validation"),
    ("POST", "/embed", {"inputs": ["a"] * 33}, 413, "Validation"),
    ("POST", "/embed", {"inputs": "mihux " * 500, "truncate": False}, 413, "Validation"),
    ("POST", "/embed", {"inputs": ""}, 400, "Empty"),
    ("POST", "/embed", {"inputs": []}, 400, "Empty"),
    ("POST", "/embed", {"inputs": ["a", " \n"]}, 400, "Empty"),
    ("POST", "/embed", {"inputs": 5}, 422, "Validation"),
    ("POST", "/embed", {"inputs": ["a", None]}, 422, "Validation"),
    ("POST", "/embed", {"inputs": ["a", ["b"]]}, 422, "Validation"),
    ("POST", "/embed", {"texts": "a"}, 422, "Validation"),
    ("POST", "/embed", ["a"], 422, "Validation"),
    ("POST", "/embed", {"inputs": "a", "truncate": "yes"}, 422, "Validation"),
    ("POST", "/embed", {"inputs": "a", "dimensions": 0}, 422, "Validation"),
    ("POST", "/embed", {"inputs": "a", "dimensions": 4.5}, 422, "Validation"),
    ("POST", "/embed", {"inputs": "a", "dimensions": 10**9}, 422, "Validation"),
    ("POST", "/embed", {"inputs": "a", "prompt_name": "x" * 9999}, 422, "Validation"),
    ("POST", "/embed", b'{"inputs": "half a pair: \\ud800"}', 422, "Tokenizer"),
    ("POST", "/similarity", {"inputs": ["a", "b"]}, 422, "Validation"),
    ("POST", "/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 400, "Empty"),
    ("POST", "/similarity", {"inputs": {"source_sentence": "a", "sentences": "b"}}, 422, "Validation"),
    ("POST", "/tokenize", {"inputs": "a", "add_special_tokens": 1}, 422, "Validation"),
    ("POST", "/v1/embeddings", {"model": "any"}, 422, "Validation"),
    ("POST", "/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 422, "Validation"),
    ("POST", "/v1/embeddings", b"null", 422, "Validation"),
    ("GET", "/search", None, 422, "Validation"),
    ("GET", "/search?query=", None, 400, "Empty"),
    ("GET", "/search?query=a&k=0", None, 422, "Validation"),
    ("GET", "/search?query=a&k=many", None, 422, "Validation"),
    ("GET", "/search?query=a&run=none", None, 404, "NotFound"),
    ("GET", "/nowhere", None, 404, "NotFound"),
    ("GET", "/v1/models", None, 404, "NotFound"),
    ("GET", "/embed", None, 405, "NotAllowed"),
    ("DELETE", "/search", None, 405, "NotAllowed"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "kind"), REFUSED)
def test_what_cannot_be_answered_is_told_in_json(
    server: Running, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    sent = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
    found = httpx.request(method, f"{server.url}{path}", timeout=60, **sent)
    told = found.json()
    assert found.status_code == status and told["error_type"] == kind and "Traceback" not in found.text
    if path.startswith("/v1/"):
        assert told["code"] == status and set(told) == {"message", "code", "error_type"}
    else:
        assert set(told) == {"error", "error_type"} and len(told["error"]) < 300


def test_strange_texts_have_vectors(server: Running) -> None:
    texts = ["\x00\x01\x7f\u202e\u200b", "😀" * 500, "<script>alert(1)</script>", "a\r\nb\tc", "\ufffd\uffff"]
    found = np.array(post(server, "/embed", {"inputs": texts}).json())
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_sigterm_answers_what_is_in_flight_and_ends_with_status_0(toy: tuple[Path, list[str]]) -> None:
    runs, names = toy
    body = json.dumps({"inputs": "kaban"}).encode()
    with running(names[0], "--runs-dir", str(runs)) as server:
        place = server.url.removeprefix("http://").split(":")
        address = (place[0], int(place[1]))
        with socket.create_connection(address, 60) as client:
            head = f"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            client.sendall(head + body[:5])
            httpx.get(f"{server.url}/health")  # what came before is read by now
            server.process.send_signal(signal.SIGTERM)
            while True:  # until nobody else is let in
                try:
                    socket.create_connection(address, 60).close()
                except OSError:
                    break
            client.sendall(body[5:])
            told = b"".join(iter(lambda: client.recv(65536), b""))
        assert told.startswith(b"HTTP/1.1 200 ") and len(json.loads(told.partition(b"\r\n\r\n")[2])[0]) > 1
        assert server.process.wait(60) == 0


def figure(server: Any, line: str) -> float:
    """A figure of ``/metrics``, 0 if it is not there."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for(server: Any, line: str, value: float) -> None:
    while figure(server, line) < value:
        pass


def test_too_many_requests_are_answered_429() -> None:
    with gated(requests=2) as server, ThreadPoolExecutor(12) as pool:
        held = [pool.submit(post, server, "/embed", {"inputs": f"text {n}"}) for n in range(2)]
        wait_for(server, "te_request_input_length_count", 2)
        others = list(pool.map(lambda n: post(server, "/embed", {"inputs": f"other {n}"}), range(10)))
        assert {other.status_code for other in others} == {429}
        assert {other.json()["error_type"] for other in others} == {"Overloaded"}
        assert post(server, "/v1/embeddings", {"input": "a"}).json()["code"] == 429
        server.encoder.gate.set()
        assert [one.result().status_code for one in held] == [200, 200]
        assert post(server, "/embed", {"inputs": "again"}).status_code == 200
        assert sorted(server.encoder.seen) == ["again", "text 0", "text 1"]


def test_requests_that_wait_are_encoded_together() -> None:
    with gated(batch_tokens=8) as server, ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, server, "/embed", {"inputs": "one"})
        wait_for(server, "te_batch_next_size_count", 1)
        asked = [["a b", f"{'x' * n} c"] for n in range(1, 5)]
        others = [pool.submit(post, server, "/embed", {"inputs": texts}) for texts in asked]
        wait_for(server, "te_queue_size", 4)
        server.encoder.gate.set()
        for texts, other in zip(asked, others, strict=True):
            for text, row in zip(texts, other.result().json(), strict=True):
                assert row == pytest.approx([x / (len(text) ** 2 + 25) ** 0.5 for x in (len(text), 3, 4)])
        assert first.result().status_code == 200
        assert server.encoder.batches == [1, 4, 4], "a batch has at most 8 tokens, 4 of each request"


def test_the_texts_of_a_client_that_left_are_not_encoded() -> None:
    with gated() as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, server, "/embed", {"inputs": "first"})
        wait_for(server, "te_batch_next_size_count", 1)
        host, port = server.url.removeprefix("http://").split(":")
        body = b'{"inputs": "left"}'
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_for(server, "te_queue_size", 1)
        wait_for(server, 'te_request_failure{err="Left"}', 1)
        assert figure(server, "te_queue_size") == 0
        server.encoder.gate.set()
        assert first.result().status_code == 200
        assert post(server, "/embed", {"inputs": "last"}).status_code == 200
        assert server.encoder.seen == ["first", "last"]


def test_an_encoder_that_fails_is_unhealthy_until_it_works_again() -> None:
    with gated() as server:
        server.encoder.gate.set()
        server.encoder.broken = True
        failed = post(server, "/embed", {"inputs": "a"})
        assert (failed.status_code, failed.json()["error_type"]) == (424, "Backend")
        health = httpx.get(f"{server.url}/health")
        assert (health.status_code, health.json()["error_type"]) == (503, "Unhealthy")
        server.encoder.broken = False
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert post(server, "/search", {"query": "a"}).status_code == 404, "there is no corpus"


def test_a_key_is_asked_for_everywhere_but_where_nothing_is_told() -> None:
    with gated(key="sesame") as server:
        server.encoder.gate.set()
        for path in ("/info", "/metrics", "/example", "/search?query=a"):
            found = httpx.get(f"{server.url}{path}")
            assert (found.status_code, found.json()["error_type"]) == (401, "Unauthorized")
        for path in ("/", "/health", "/docs", "/openapi.json"):
            assert httpx.get(f"{server.url}{path}").status_code == 200
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sesame"}):
            assert post(server, "/v1/embeddings", {"input": "a"}, headers=sent).json()["code"] == 401
        right = {"Authorization": "Bearer sesame"}
        assert post(server, "/embed", {"inputs": "a"}, headers=right).status_code == 200
        assert server.encoder.seen == ["a"]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Clients that gRPC's own tools generate from the file."""
    for package in ("grpc", "grpc_tools"):
        pytest.importorskip(package, reason=f"{package} is not installed (the optional part grpc)")
    from grpc_tools import protoc

    from bench.use.serving.rpc import PROTO

    place = str(tmp_path_factory.mktemp("stubs"))
    assert (
        protoc.main(["", f"-I{PROTO.parent}", f"--python_out={place}", f"--grpc_python_out={place}", PROTO.name]) == 0
    )
    sys.path.insert(0, place)
    import tei_pb2
    import tei_pb2_grpc

    yield tei_pb2, tei_pb2_grpc
    sys.path.remove(place)


def test_grpc_gives_the_same_vectors(
    server: Running, stubs: Any, embedder: Embedder, toy: tuple[Path, list[str]]
) -> None:
    import grpc

    kinds, services = stubs
    asked = [kinds.EmbedRequest(inputs=text, truncate=True, normalize=True) for text in TEXTS]
    with grpc.insecure_channel(server.rpc) as channel:
        client = services.EmbedStub(channel)
        found = [client.Embed(one, timeout=60) for one in asked]
        np.testing.assert_allclose([one.embeddings for one in found], embedder.vectors(TEXTS), atol=1e-5)
        assert [one.metadata.compute_tokens for one in found] == embedder.tokens(TEXTS).lengths.tolist()
        streamed = list(client.EmbedStream(iter(asked), timeout=60))
        assert [one.embeddings for one in streamed] == [one.embeddings for one in found]
        raw = client.Embed(kinds.EmbedRequest(inputs=TEXTS[0], truncate=True), timeout=60)
        np.testing.assert_allclose(raw.embeddings, embedder.vectors(TEXTS[:1], raw=True)[0], atol=1e-5)
        info = services.InfoStub(channel).Info(kinds.InfoRequest(), timeout=60)
        assert info.model_id == toy[1][0] and info.max_client_batch_size == 32
        for wrong in (kinds.EmbedRequest(inputs=" "), kinds.EmbedRequest(inputs="mihux " * 500)):
            with pytest.raises(grpc.RpcError) as refused:
                client.Embed(wrong, timeout=60)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_refuses_as_http_does(stubs: Any) -> None:
    import grpc

    kinds, services = stubs
    asked = kinds.EmbedRequest(inputs="a", truncate=True)
    right = [("authorization", "Bearer sesame")]
    with gated(key="sesame", grpc=True, requests=1) as server, grpc.insecure_channel(server.rpc) as channel:
        client = services.EmbedStub(channel)

        def code(metadata: Any) -> Any:
            with pytest.raises(grpc.RpcError) as refused:
                client.Embed(asked, timeout=60, metadata=metadata)
            return refused.value.code()

        assert code(None) == grpc.StatusCode.UNAUTHENTICATED
        first = client.Embed.future(asked, timeout=60, metadata=right)
        key = {"Authorization": "Bearer sesame"}
        while "te_batch_next_size_count 1" not in httpx.get(f"{server.url}/metrics", headers=key).text:
            pass
        assert code(right) == grpc.StatusCode.RESOURCE_EXHAUSTED
        server.encoder.gate.set()
        assert len(first.result().embeddings) == 3
        server.encoder.broken = True
        assert code(right) == grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_taken_port_is_told_in_one_line(
    toy: tuple[Path, list[str]], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if option == "--grpc-port" and not HAS_GRPC:
        pytest.skip("grpcio is not installed (the optional part grpc)")
    runs, names = toy
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert bench("serve", names[0], "--runs-dir", str(runs), "--port", "0", option, str(port)) == 2
    told = capsys.readouterr().err
    assert told == f"bench: cannot listen at 127.0.0.1, port {port}: Address already in use; choose another\n"


def test_the_server_runs_on_an_export_to_onnx(
    toy: tuple[Path, list[str]], embedder: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    runs, names = toy
    for name in names:
        words = [name, "--to", "onnx", "--out", str(tmp_path / name), "--runs-dir", str(runs)]
        assert bench("export", *words) == 0
    with running(names[0], "--onnx", str(tmp_path / names[0]), "--runs-dir", str(runs)) as started:
        found = post(started, "/embed", {"inputs": TEXTS, "prompt_name": "query"}).json()
        np.testing.assert_allclose(found, embedder.vectors(TEXTS, "query"), atol=1e-4)
        refused = post(started, "/embed", {"inputs": TEXTS, "normalize": False})
        assert refused.status_code == 422 and "unit length only" in refused.json()["error"]
        assert len(post(started, "/search", {"query": TEXTS[0], "k": 3}).json()["hits"]) == 3
    capsys.readouterr()
    assert bench("serve", *names, "--onnx", str(tmp_path / names[0]), "--runs-dir", str(runs)) == 2
    assert "--onnx is the export of one run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "65536"], "--port=65536 must be at most 65,535"),
        (["--port", "-1"], "--port=-1 must be at least 0"),
        (["--grpc-port", "99999"], "--grpc-port=99999 must be at most 65,535"),
        (["--max-concurrent-requests", "0"], "--max-concurrent-requests=0 must be at least 1"),
        (["--api-key", " "], "--api-key is empty"),
        (["--host", "256.1.1.1", "--port", "0"], "cannot listen at 256.1.1.1, port 0"),
        (["{run}", "--port", "0"], "both runs are {run}"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(
    toy: tuple[Path, list[str]], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, names = toy
    given = [word.format(run=names[0]) for word in words]
    assert bench("serve", names[0], *given, "--runs-dir", str(runs), "--device", "cpu") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: ")]
    assert message.format(run=names[0]) in line


def test_a_missing_package_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bench("serve", "minilm-l3") == 2
    told = capsys.readouterr().err
    assert told == 'bench: starlette is not installed: `pip install -e ".[serve]"` in the checkout of negbench\n'
