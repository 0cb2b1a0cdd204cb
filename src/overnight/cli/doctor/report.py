"""How findings are told: a line each, as they come; or all of them as JSON at the end."""

import json
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from overnight import __version__
from overnight.cli.doctor.finding import Finding, Scrubber, Status
from overnight.cli.progress import counted
from overnight.cli.tables import utc

_STYLES: Final = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
_NAME_WIDTH: Final = 10
_INDENT: Final = " " * (2 + 4 + 2 + _NAME_WIDTH + 2)


@dataclass(slots=True)
class Report:
    """Not one secret gets in: findings are scrubbed as they are added."""

    scrubber: Scrubber
    as_json: bool
    findings: list[tuple[str, Finding]] = field(default_factory=list)

    def begin(self, group: str) -> None:
        if not self.as_json:
            _print_heading(group, first=not self.findings)

    def add(self, group: str, finding: Finding) -> None:
        finding = self.scrubber.scrubbed(finding)
        self.findings.append((group, finding))
        if not self.as_json:
            _print_finding(finding)

    @property
    def failed(self) -> bool:
        return any(finding.status is Status.FAIL for _, finding in self.findings)

    def end(self) -> None:
        if self.as_json:
            print(json.dumps(self._as_data(), indent=2, ensure_ascii=False))
        else:
            print(f"\n{self._summary()}")

    def _summary(self) -> str:
        counts = Counter(finding.status for _, finding in self.findings)
        if not counts[Status.WARN] and not counts[Status.FAIL]:
            return f"All is well: {counted(counts[Status.OK], 'check')}."
        told = (
            f"{counts[status]} {status.value}" for status in (Status.FAIL, Status.WARN, Status.OK)
        )
        return f"{counted(len(self.findings), 'check')}: {', '.join(told)}."

    def _as_data(self) -> dict[str, object]:
        return {
            "version": __version__,
            "at": utc(time.time()),
            "healthy": not self.failed,
            "checks": [
                {
                    "group": group,
                    "name": finding.name,
                    "status": finding.status.value,
                    "message": finding.message,
                    "advice": finding.advice,
                    "details": list(finding.details),
                }
                for group, finding in self.findings
            ],
        }


def _print_heading(group: str, first: bool) -> None:
    from rich.text import Text

    from overnight.cli.console import standard_output

    standard_output().print(Text(group if first else f"\n{group}", style="bold"))


def _print_finding(finding: Finding) -> None:
    from rich.text import Text

    from overnight.cli.console import standard_output

    console = standard_output()
    width = max(40, console.width) - len(_INDENT) if sys.stdout.isatty() else None
    text = Text("  ").append(f"{finding.status.value:4}", _STYLES[finding.status])
    text.append(f"  {finding.name:{_NAME_WIDTH}}  {_wrapped(finding.message, width)}")
    for detail in finding.details:
        text.append(f"\n{_INDENT}{_wrapped(detail, width)}", "dim")
    if finding.advice:
        text.append(f"\n{_INDENT}{_wrapped(f'→ {finding.advice}', width)}", "bold")
    console.print(text)


def _wrapped(text: str, width: int | None) -> str:
    """In lines that fit; off a terminal in one, to be searched and pasted."""
    if width is None:
        return text
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    return f"\n{_INDENT}".join(lines)
