"""Which upstreams serve which models, as they say themselves when asked now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overnight.cli.probe import UpstreamView
    from overnight.settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class Served:
    views: tuple["UpstreamView", ...]

    @property
    def silent(self) -> list["UpstreamView"]:
        """Those that did not say what they serve."""
        return [view for view in self.views if view.trouble is not None and not view.models]

    @property
    def models(self) -> frozenset[str] | None:
        """All there are; None when some upstream takes any, or did not answer."""
        if not all(view.models for view in self.views):
            return None
        return frozenset(model for view in self.views for model in view.models)

    def by(self, model: str) -> list[str]:
        """The URLs of those that serve it; one that lists no models takes every model."""
        return [view.url for view in self.views if self._serves(view, model)]

    def unknown(self, models: Iterable[str]) -> list[str]:
        """Models that nobody is known to serve, while somebody did not answer."""
        return [model for model in models if self.silent and not self.by(model)]

    def _serves(self, view: "UpstreamView", model: str) -> bool:
        return model in view.models or (not view.models and view.trouble is None)


def ask(upstreams: Sequence["UpstreamSettings"]) -> Served:
    """Takes a few seconds at most for each that is silent."""
    from overnight.cli.probe import look_at

    return Served(tuple(map(look_at, upstreams)))
