"""Every error of ours has a status and the one shape."""

import json
from collections.abc import Iterator

import pytest

from overnight.api.faults import STATUS_OF, fault_reply, status_of
from overnight.domain import errors


def all_errors(kind: type[errors.OvernightError]) -> Iterator[type[errors.OvernightError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from all_errors(narrower)


@pytest.mark.parametrize("kind", list(all_errors(errors.OvernightError)))
def test_every_error_has_the_one_shape(kind: type[errors.OvernightError]) -> None:
    error = kind("It is wrong.")
    reply = fault_reply(error)
    body = json.loads(bytes(reply.body))
    assert reply.status_code == status_of(error)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["code"], str)


@pytest.mark.parametrize("kind", list(all_errors(errors.CallerFault)))
def test_what_the_caller_can_mend_is_named_in_the_table(kind: type[errors.CallerFault]) -> None:
    assert kind in STATUS_OF
    assert 400 <= STATUS_OF[kind] < 500


def test_conflicts_and_broken_data_are_not_worth_a_retry() -> None:
    for error in (errors.Conflict("no"), errors.Corrupt("no")):
        assert fault_reply(error).headers["x-should-retry"] == "false"


def test_unavailable_says_when_to_come_back() -> None:
    reply = fault_reply(errors.Unavailable("later"))
    assert reply.status_code == 503
    assert 0 < int(reply.headers["retry-after"]) <= 60
    assert "x-should-retry" not in reply.headers
