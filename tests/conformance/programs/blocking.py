"""An asynchronous client, called as a synchronous one: the same steps serve for both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any


class Blocking:
    """Every call is run to its end, on one loop."""

    def __init__(self, wrapped: object, runner: asyncio.Runner) -> None:
        self._wrapped = wrapped
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if inspect.isroutine(value):
            return lambda *args, **named: self._settled(value(*args, **named))
        is_namespace = ".resources" in type(value).__module__
        return Blocking(value, self._runner) if is_namespace else value

    def _settled(self, result: Any) -> Any:
        if hasattr(result, "__aiter__"):
            return Pages(result, self._runner)
        if inspect.isawaitable(result):
            result = ended(self._runner, result)
        has_more_to_await = inspect.iscoroutinefunction(getattr(result, "read", None))
        return Blocking(result, self._runner) if has_more_to_await else result


class Pages:
    """What a list call gives: `data` is the first page, iteration asks for the others."""

    def __init__(self, paginator: Any, runner: asyncio.Runner) -> None:
        self._paginator = paginator
        self._runner = runner

    @property
    def data(self) -> list[Any]:
        return ended(self._runner, self._paginator).data

    def __iter__(self) -> Iterator[Any]:
        return iter(ended(self._runner, everything(self._paginator)))


def ended(runner: asyncio.Runner, awaitable: Awaitable[Any]) -> Any:
    """Its result, or what it raises.

    That is raised out here, for asyncio wants the `repr` of what a main task raised, and an error
    of together 1.x has none.
    """
    result, error = runner.run(outcome(awaitable))
    if error is not None:
        raise error
    return result


async def outcome(awaitable: Awaitable[Any]) -> tuple[Any, Exception | None]:
    try:
        return await awaitable, None
    except Exception as error:  # noqa: BLE001
        return None, error


async def everything(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
