"""The documents themselves: valid, complete, and true where that can be told without asking."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from overnight.api.app import ApiOptions, routing
from support.api_server import ApiServer

Document = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(params=["openai", "together"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def document(server: ApiServer, dialect: str) -> Document:
    reply = server.ask("GET", f"/{dialect}/openapi.json")
    assert reply.status == 200
    return json.loads(reply.body)  # type: ignore[no-any-return]


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_it_is_valid_and_every_reference_leads_somewhere(document: Document) -> None:
    schemathesis.openapi.from_dict(document).validate()

    def follow(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(reference := node.get("$ref"), str):
                target: Any = document
                for key in reference.removeprefix("#/").split("/"):
                    target = target[key]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)


def test_its_paths_are_those_of_its_dialect(document: Document, dialect: str) -> None:
    assert document["servers"] == [{"url": f"/{dialect}/v1"}]


def test_every_route_is_in_it(server: ApiServer, document: Document, dialect: str) -> None:
    mount = next(
        route
        for route in routing(server.services, ApiOptions()).routes
        if getattr(route, "path", "") == f"/{dialect}/v1"
    )
    served = {
        f"{method} {getattr(route, 'path', '')}"
        for route in mount.routes or ()
        for method in getattr(route, "methods", None) or ()
        if getattr(route, "path", "") != "/openapi.json"
    }
    assert served == {name for name, _ in operations(document)}


def test_every_operation_says_what_it_does_and_what_may_go_wrong(document: Document) -> None:
    for name, operation in operations(document):
        assert operation.get("description"), name
        assert {"400", "401", "403", "500", "503"} <= set(operation["responses"]), name
        assert "422" not in operation["responses"], name
        if name.split()[0] == "POST" and not name.endswith(("/cancel", "/preprocess")):
            assert "requestBody" in operation, name


def test_its_errors_have_the_one_shape(document: Document) -> None:
    for status, reply in document["components"]["responses"].items():
        (content,) = reply["content"].items()
        assert content[0] == "application/json"
        error = content[1]["example"]["error"]
        assert set(error) == {"message", "type", "param", "code"}, status
        assert isinstance(error["code"], str)


def test_its_examples_are_of_their_schemas(document: Document) -> None:
    schemas = document["components"]["schemas"]
    with_examples = [name for name, schema in schemas.items() if schema.get("examples")]
    assert len(with_examples) >= 2
    for name in with_examples:
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in schemas[name]["examples"]:
            jsonschema_rs.validate(whole, example)


def test_either_way_of_sending_a_key_will_do(document: Document) -> None:
    assert document["security"] == [{"bearer": []}, {"api-key": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api-key"}
