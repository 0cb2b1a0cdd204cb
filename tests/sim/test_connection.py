"""HTTP/1.1 as clients really send it."""

import asyncio
import http.client

import pytest

from overnight.sim import SimEngine, SimOptions
from overnight.sim import connection as module
from support.sim_client import Client, chat, post, until, with_engine

PATH = "/v1/chat/completions"
BODY = b'{"model":"sim","messages":[{"role":"user","content":"hello"}]}'


def test_pipelined_requests_are_answered_in_order_whatever_they_take() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(b"".join(post(PATH, chat(f"number {n}")) for n in range(20)))
        for n in range(20):
            assert f"“number {n}”" in (await client.receive()).body.decode()

    with_engine(test, SimOptions(latency_ms=(0, 5)))


def test_more_pipelined_requests_than_may_wait() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        count = module.MAX_WAITING * 4
        client.send(b"".join(post(PATH, chat(str(n))) for n in range(count)))
        for n in range(count):
            assert f"“{n}”" in (await client.receive()).body.decode()

    with_engine(test, SimOptions(latency_ms=(0.01, 0.02)))


def test_a_client_that_does_not_read_is_not_read_either() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        count, sent = 20_000, post(PATH, chat("x"))
        client.send(sent * count)
        served = -1
        while served != engine.stats()["requests"]:  # until both directions are full
            served = int(str(engine.stats()["requests"]))
            await asyncio.sleep(0.05)
        assert served < count
        for _ in range(count):
            assert (await client.receive()).status == 200

    with_engine(test)


def test_bytes_may_arrive_one_at_a_time() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        for byte in post(PATH + "?a=1", BODY):
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.receive()).status == 200
        assert engine.times_received(BODY) == 1

    with_engine(test)


def test_chunked_request_bodies() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        pieces = (BODY[:7], BODY[7:8], BODY[8:])
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        client.send((head + chunks + b"0\r\n\r\n") * 2)
        assert (await client.receive()).body == (await client.receive()).body
        assert engine.times_received(BODY) == 2

    with_engine(test)


def test_expect_100_continue() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        request = post(PATH, BODY, "Expect: 100-continue")
        client.send(request[: -len(BODY)])
        assert (await client.receive()).status == 100
        client.send(BODY)
        assert (await client.receive()).status == 200

    with_engine(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(PATH, BODY, "Connection: close"),
        post(PATH, BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(PATH, BODY, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
@pytest.mark.parametrize("latency_ms", [0, 1])
def test_closes_when_it_should(request_bytes: bytes, latency_ms: int) -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(request_bytes + post(PATH, BODY))
        answer = await client.receive()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.at_end()
        assert engine.times_received(BODY) == 1

    with_engine(test, SimOptions(latency_ms=(latency_ms, latency_ms)))


def test_what_was_answered_arrives_although_the_client_is_done_sending() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, BODY) * 3)
        client.writer.write_eof()
        assert [(await client.receive()).status for _ in range(3)] == [200] * 3
        assert await client.at_end()

    with_engine(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        post(PATH, BODY, "Connection: Upgrade", "Upgrade: h2c"),
        b"CONNECT sim:1 HTTP/1.1\r\nHost: sim:1\r\n\r\n",
    ],
)
def test_what_is_not_plain_http_is_refused_and_closed(request_bytes: bytes) -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, BODY) + request_bytes)
        assert (await client.receive()).status == 200, "what came before is still answered"
        answer = await client.receive()
        assert (answer.status, answer.error_code) == (400, "invalid_http")
        assert await client.at_end()

    with_engine(test)


def test_a_body_that_is_too_large_is_refused_and_the_connection_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 100)

    async def test(engine: SimEngine, client: Client) -> None:
        answer = await client.post(PATH, b"x" * 101)
        assert (answer.status, answer.error_code) == (413, "body_too_large")
        assert (await client.post(PATH, BODY)).status == 200

    with_engine(test)


def test_head_has_no_body() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(b"HEAD /version HTTP/1.1\r\nHost: sim\r\n\r\n")
        head = await client.receive(has_body=False)
        assert int(head.headers["content-length"]) == len((await client.get("/version")).body) > 0
        assert (await client.get("http://sim/health")).status == 200

    with_engine(test)


def test_stopping_drops_what_is_in_flight() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, BODY))
        await until(lambda: engine.stats()["in_flight"] == 1)
        await engine.stop()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.receive()
        await engine.stop()

    with_engine(test, SimOptions(latency_ms=(60_000, 60_000)))


def test_an_ordinary_client_reuses_its_connection() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        port = client.writer.get_extra_info("peername")[1]

        def ask_twice() -> list[int]:
            ordinary = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            statuses = []
            for _ in range(2):
                ordinary.request("POST", PATH, BODY, {"Content-Type": "application/json"})
                response = ordinary.getresponse()
                response.read()
                statuses.append(response.status)
            ordinary.close()
            return statuses

        assert await asyncio.to_thread(ask_twice) == [200, 200]
        assert len(engine.connections) <= 2

    with_engine(test)
