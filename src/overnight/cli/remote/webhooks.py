"""`overnight webhooks …`: whom a server tells that a job has ended."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.messages import ExitCode, fail
from overnight.cli.options import JsonOption
from overnight.cli.remote.connection import (
    DEFAULT_BASE_URL,
    ApiKeyOption,
    BaseUrlOption,
    Connection,
    Dialect,
)

if TYPE_CHECKING:
    from overnight.cli.tables import Cell
    from overnight.client.webhooks import DeliveryView, Webhooks, WebhookView


class EventName(StrEnum):
    """The domain's own; loading it here would make help slower."""

    COMPLETED = "batch.completed"
    FAILED = "batch.failed"
    EXPIRED = "batch.expired"
    CANCELLED = "batch.cancelled"


_LIMIT: Final = 10

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]


def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to.")],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it [default: the URL's host]")
    ] = None,
    event: Annotated[
        list[EventName] | None,
        typer.Option(metavar="TYPE", help="Only this event; may be repeated [default: all four]"),
    ] = None,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a URL told when jobs end, and print the secret that signs it, once.

    The events are batch.completed, batch.failed, batch.expired and batch.cancelled.

    \b
    Examples:
      overnight webhooks create https://example.com/hooks/batches
      overnight webhooks create https://example.com/oops --event batch.failed
    """
    connection = _connection(base_url, api_key)
    types = [one.value for one in event or EventName]
    # A URL that is none is the server's to refuse, in its words.
    host = url.partition("//")[2].partition("/")[0]
    with _open(connection) as webhooks:
        made = webhooks.create(url, name or host[:256] or url[:256], types)
    print(json.dumps(asdict(made)) if as_json else made.signing_secret)
    _say(f"Webhook {made.id}. This secret signs what it gets, and is not shown again.")
    _say(f"hint: try it out with: {connection.command('webhooks', 'test', made.id)}")


def list_webhooks(
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List webhooks, the newest first.

    \b
    Example:
      overnight webhooks list
    """
    with _open(_connection(base_url, api_key)) as webhooks:
        found = list(webhooks.list())
    if as_json:
        print(json.dumps({"webhooks": [asdict(one) for one in found]}))
    else:
        _print_webhooks(found)


def show(
    webhook_id: IdArgument,
    *,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most deliveries to list.")
    ] = _LIMIT,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a webhook, and what became of the last events for it.

    \b
    Example:
      overnight webhooks show we_0123456789abcdef01234567
    """
    with _open(_connection(base_url, api_key)) as webhooks:
        webhook = webhooks.get(webhook_id)
        deliveries = list(webhooks.deliveries(webhook_id, limit=limit))
    if as_json:
        told = {**asdict(webhook), "deliveries": [asdict(one) for one in deliveries]}
        print(json.dumps(told))
        return
    _print_webhook(webhook)
    if deliveries:
        print()
        _print_deliveries(deliveries)


def delete(
    webhook_id: IdArgument,
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a webhook, and with it what it was still to be told.

    \b
    Example:
      overnight webhooks delete we_0123456789abcdef01234567
    """
    with _open(_connection(base_url, api_key)) as webhooks:
        webhooks.delete(webhook_id)
    print(json.dumps({"id": webhook_id, "deleted": True}) if as_json else f"{webhook_id}  deleted")


def try_out(
    webhook_id: IdArgument,
    *,
    event: Annotated[
        EventName, typer.Option(metavar="TYPE", help="Which event.")
    ] = EventName.COMPLETED,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a sample event sent at once, and tell what was answered.

    Exits with 1 unless the answer is a 2xx, which alone acknowledges an event.

    \b
    Example:
      overnight webhooks test we_0123456789abcdef01234567
    """
    with _open(_connection(base_url, api_key)) as webhooks:
        status = webhooks.test(webhook_id, event.value)
    acknowledged = status is not None and 200 <= status < 300
    if as_json:
        print(json.dumps({"id": webhook_id, "event_type": event.value, "status_code": status}))
    else:
        print(f"{webhook_id}  {event.value}  answered {_phrase(status)}")
    if not acknowledged:
        fail(ExitCode.OUR_FAILURE, "the event was not acknowledged: that takes a status of 2xx")


def rotate(
    webhook_id: IdArgument,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="The old secret signs nothing from now on.")
    ] = False,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a webhook another secret, and print it, once.

    For 24 hours both sign, so that no event is refused while the receiver changes over.

    \b
    Example:
      overnight webhooks rotate we_0123456789abcdef01234567
    """
    with _open(_connection(base_url, api_key)) as webhooks:
        rotated = webhooks.rotate(webhook_id, keep_old=not now)
    print(json.dumps(asdict(rotated)) if as_json else rotated.signing_secret)
    _say("The old secret signs nothing any more." if now else "The old one signs for 24 hours yet.")


def _connection(base_url: str, api_key: str | None) -> Connection:
    return Connection(base_url, api_key, Dialect.AUTO)


@contextmanager
def _open(connection: Connection) -> "Iterator[Webhooks]":
    with connection.open() as client:
        yield client.webhooks


def _say(line: str) -> None:
    """Beside what is printed for pipes."""
    print(line, file=sys.stderr)


def _phrase(status: int | None) -> str:
    if status is None:
        return "nothing"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _print_webhooks(webhooks: "Sequence[WebhookView]") -> None:
    from overnight.cli.tables import Cell, Column, print_table

    columns = [
        Column("id"),
        Column("url", shortened=True),
        Column("events", shortened=True),
        Column("age"),
        Column("name", shortened=True),
    ]
    rows = [
        [
            Cell.text(one.id),
            Cell.text(one.url),
            Cell(_events(one), ",".join(one.event_types)),
            Cell.age(one.created_at),
            Cell.text(one.name),
        ]
        for one in webhooks
    ]
    print_table(columns, rows, when_empty="No webhooks yet.")


def _events(webhook: "WebhookView") -> str:
    if set(webhook.event_types) == set(EventName):
        return "all"
    return ", ".join(kind.removeprefix("batch.") for kind in webhook.event_types)


def _print_webhook(webhook: "WebhookView") -> None:
    from overnight.cli.tables import moment, print_details

    print_details(
        webhook.id,
        None,
        [
            ("name", webhook.name),
            ("url", webhook.url),
            ("events", ", ".join(webhook.event_types)),
            ("secret", webhook.signing_secret_hint),
            ("created", moment(webhook.created_at)),
            ("changed", moment(webhook.updated_at)),
        ],
    )


def _print_deliveries(deliveries: "Sequence[DeliveryView]") -> None:
    from overnight.cli.tables import Column, print_table

    columns = [
        Column("job"),
        Column("event"),
        Column("status"),
        Column("tries", right=True),
        Column("last_answer", shortened=True),
        Column("next"),
        Column("age"),
    ]
    print_table(columns, map(_row, deliveries))


def _row(one: "DeliveryView") -> "list[Cell]":
    from overnight.cli.tables import Cell

    answer = one.last_error or str(one.last_status_code or "")
    styles = {"delivered": "green", "given_up": "red", "pending": "cyan"}
    event = one.event_type or ""
    return [
        Cell.text(one.batch_id),
        Cell(event.removeprefix("batch."), event),
        Cell(one.status or "-", one.status or "", styles.get(one.status or "", "")),
        Cell(str(one.attempts or 0), str(one.attempts or 0)),
        Cell.text(answer),
        _due(one.next_attempt_at),
        Cell.age(one.created_at),
    ]


def _due(at: float | None) -> "Cell":
    from overnight.cli.tables import Cell, relative, utc

    if at is None:
        return Cell("-", "")
    return Cell(relative(at) if at > time.time() else "now", utc(at))
