"""What stands in a line chooses what is asked of a model, and nothing else of what is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.line import CheckedLine, LineChecker
from overnight.domain.request import Fault, LineRules
from support.batches import ENDPOINT
from support.command_line import Ended, overnight
from support.scripted import Received, ScriptedUpstream, Steps, reply_json
from support.scripted_thread import scripted

CHAT = '{"model":"a","messages":[]}'

STRANGE_URLS = [
    "http://evil.example/v1/chat/completions",
    "//evil.example/v1/chat/completions",
    "\\\\evil.example\\v1\\chat\\completions",
    "/v1/chat/completions?to=evil",
    "/v1/chat/completions#",
    "/v1/chat/completions/",
    "/v1/chat/completions/../../admin",
    "/v1/chat/%63ompletions",
    "/v1/%2e%2e/admin",
    "/v1/../v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions HTTP/1.1\r\nX-Evil: 1",
    "/v1/chat/completions\r\nX-Evil: 1",
    "/v1/chat/completions\u0000",
    "/v1/chat/completions ",
    " /v1/chat/completions",
    "/V1/chat/completions",
    # The first is Cyrillic, the second fullwidth, and normalised they would be the real one.
    "/v1/\u0441hat/completions",
    "\uff0fv1/chat/completions",
    "/v1/chat/comp\u200bletions",
    "@evil.example/v1/chat/completions",
    "/models",
    "/sim/stats",
]
STRANGE_METHODS = ["GET", "post", "CONNECT", "POST\r\nX-Evil: 1", "POST /admin HTTP/1.1", ""]

RULES = [LineRules(ENDPOINT, routed=True), LineRules(ENDPOINT), LineRules(None)]


def line(custom_id: str = "a", body: str = CHAT, **fields: object) -> str:
    """Members as JSON text, the body as it is given."""
    told = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT} | fields
    return f'{json.dumps(told)[:-1]},"body":{body}}}'


@pytest.mark.parametrize("rules", RULES, ids=["routed", "endpoint", "free"])
@pytest.mark.parametrize("form", [json.dumps, lambda one: json.dumps(one, ensure_ascii=False)])
def test_a_line_names_the_endpoint_to_the_letter(rules: LineRules, form: Any) -> None:
    check = LineChecker(rules).check
    wrong = [{"url": url} for url in STRANGE_URLS] + [{"method": one} for one in STRANGE_METHODS]
    for fields in wrong:
        told = {"custom_id": "a", "method": "POST", "url": ENDPOINT, "body": json.loads(CHAT)}
        found = check(form(told | fields).encode(), 1)
        assert isinstance(found, Fault), fields
        # Lines that say nothing of it are fine where the job has said it.
        assert isinstance(check(form(told).encode(), 1), CheckedLine)


@pytest.mark.parametrize("value", ["true", "1", '"false"', "[]", "0"])
@pytest.mark.parametrize(
    "key", ['"stream"', '"stre\\u0061m"', '"stream":false,"stream"', ' "stream" ']
)
def test_no_reply_is_streamed(key: str, value: str) -> None:
    body = f'{{"model":"a","messages":[],{key}:{value}}}'
    for rules in RULES:
        found = LineChecker(rules).check(line(body=body).encode(), 1)
        assert isinstance(found, Fault), body
        assert found.param == "body.stream"


MODELS = st.sampled_from(["a", "b", "c\r\nX-Evil: 1", "\u0441", "\U0001f600", "a\\"])
KEYS = st.sampled_from(['"model"', '"mod\\u0065l"', '"\\u006dodel"', '"Model"', '"x"'])
SPACES = st.sampled_from(["", " ", "\t", " \r "])


@given(st.lists(st.tuples(KEYS, SPACES, MODELS), max_size=5), SPACES, st.booleans())
def test_the_model_that_is_routed_by_is_the_one_that_is_read_from_what_is_sent(
    members: list[tuple[str, str, str]], space: str, ascii_only: bool
) -> None:
    """Of keys that are there twice all of them take the last: here, in Python's engines and in
    those on C++. What is sent is what the line says, byte for byte."""
    texts = [f"{k}{s}:{json.dumps(v, ensure_ascii=ascii_only)}" for k, s, v in members]
    body = "{" + space + ",".join(['"messages":[]', *texts]) + space + "}"
    twice = f'{{"body":{{"model":"first"}},{line(body=body)[1:]}'.encode()
    for written in (line(body=body).encode(), twice):
        found = LineChecker(LineRules(ENDPOINT)).check(written, 1)
        read = json.loads(written)["body"]
        if "model" not in read:
            assert isinstance(found, Fault)
            continue
        assert isinstance(found, CheckedLine)
        sent = written[found.body_offset : found.body_offset + found.body_bytes]
        assert sent == body.encode()
        assert found.model == read["model"] == json.loads(sent)["model"]


def engine(request: Received) -> Steps:
    if request.method == "GET":
        return reply_json({"data": []})
    return reply_json({"choices": [], "usage": {}})


def run(folder: Path, lines: list[str], *upstreams: ScriptedUpstream) -> Ended:
    """`overnight run` with a key for the upstreams."""
    (folder / "in.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    words = [word for one in upstreams for word in ("--upstream", one.base_url)]
    words += ["--upstream-api-key", "the-key-of-the-operator"]
    return overnight("run", folder / "in.jsonl", "-o", folder / "out.jsonl", *words)


def test_strange_members_change_nothing_of_what_is_sent(tmp_path: Path) -> None:
    bodies = [
        CHAT,
        '{"model":"a","messages":[],"headers":{"host":"evil"},"base_url":"http://evil.example"}',
        '{"model":"a","messages":[],"model":"b"}',
        '{"model":"a","messages":[],"extra_headers":{"authorization":"Bearer mine"}}',
        '{"model":"a","messages":["POST /admin HTTP/1.1\\r\\nHost: evil\\r\\n\\r\\n"]}',
        '{"model":"\u0441","messages":["\u2028"]}',
    ]
    evil: dict[str, object] = {
        "headers": {"host": "evil.example", "authorization": "Bearer mine", "x-evil": "1"},
        "base_url": "http://evil.example/v1",
        "host": "evil.example",
        "api_key": "mine",
        "path": "/admin",
    }
    lines = [line(f"{n}\r\nX-Evil: 1", body, **evil) for n, body in enumerate(bodies)]
    with scripted(engine) as upstream:
        done = run(tmp_path, lines, upstream)
        assert done.code == 0, done.err
        sent = [one for one in upstream.requests if one.method == "POST"]
    assert sorted(one.body.decode() for one in sent) == sorted(bodies)
    for one in sent:
        assert one.target == "/v1/chat/completions"
        assert one.headers["host"] == f"127.0.0.1:{upstream.port}"
        assert one.headers["authorization"] == "Bearer the-key-of-the-operator"
        assert one.headers["content-length"] == str(len(one.body))
        assert "evil" not in str(one.headers)
        assert one.headers.keys() == sent[0].headers.keys()
    results = (tmp_path / "out.jsonl").read_bytes().splitlines()
    ids = [json.loads(result)["custom_id"] for result in results]
    assert ids == [json.loads(one)["custom_id"] for one in lines]


def test_nothing_is_sent_of_a_file_with_a_strange_line(tmp_path: Path) -> None:
    strange = [line(f"u{n}", url=url) for n, url in enumerate(STRANGE_URLS)]
    strange += [line(f"m{n}", method=one) for n, one in enumerate(STRANGE_METHODS)]
    strange.append(line("model", '{"model":"a\\r\\nX-Evil: 1","messages":[]}'))
    with scripted(engine) as upstream:
        done = run(tmp_path, [line("good"), *strange], upstream)
        assert done.code == 3
        assert [one for one in upstream.requests if one.method == "POST"] == []
    assert not (tmp_path / "out.jsonl").exists()


def test_a_model_that_is_there_twice_goes_where_the_last_one_is_served(tmp_path: Path) -> None:
    def only(model: str) -> Any:
        def answer(request: Received) -> Steps:
            listed = reply_json({"data": [{"id": model}]})
            return listed if request.method == "GET" else engine(request)

        return answer

    with scripted(only("a")) as first, scripted(only("b")) as last:
        body = '{"model":"a","messages":[],"mod\\u0065l":"b"}'
        assert run(tmp_path, [line(body=body)], first, last).code == 0
        assert [one.method for one in first.requests if one.method == "POST"] == []
        assert [one.body.decode() for one in last.requests if one.method == "POST"] == [body]
