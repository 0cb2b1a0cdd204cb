"""Every client of the compatibility table, and the steps it goes through.

`python -m tools.compatibility` makes docs/compatibility.md from what the suite saw of them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.sdk.prepare import LOCKS

STEPS: Final[Mapping[str, str]] = {
    "upload": "Upload a file, its name not ASCII",
    "upload_in_parts": "Upload a file in parts",
    "upload_expiring": "Upload a file that expires",
    "upload_refused": "Upload for a purpose there is not: 400",
    "read_file": "Retrieve a file",
    "read_content": "Read back an input",
    "list_files": "List files, through all pages",
    "list_after_deleted": "List on from a file that was deleted",
    "create": "Create a job",
    "poll": "Poll it to its end",
    "download": "Download its results",
    "refused_requests": "Read requests the engine refused",
    "faulty_input": "Read the faults of an input",
    "list_jobs": "List jobs, through all pages",
    "output_expiry": "Create with results that expire",
    "model_and_priority": "Create with a model and a priority",
    "repeated_create": "Create twice with one `Idempotency-Key`",
    "file_in_use": "Delete a file in use: 409",
    "cancel": "Cancel a job, twice",
    "cancel_ended": "Cancel a job that has ended: 409",
    "unknown_ids": "Ids that nothing has: 404, in a create 400",
    "wrong_endpoint": "An endpoint there is not: 400",
    "wrong_metadata": "Metadata beyond the limits: 400",
    "delete_file": "Delete a file",
    "other_base_urls": "Base URLs with another prefix",
    "wrong_key": "A key that is none: 401",
}
"""In their order: later ones use what earlier ones made."""


@dataclass(frozen=True, kw_only=True)
class ClientUnderTest:
    family: str
    """A table of the page."""
    product: str
    """With its version, a column of the table."""
    way: str = ""
    """What the page calls `kind`, where a product has several."""
    environment: str
    """A lock of tests/sdk; empty for what is on the machine."""
    program: str
    """In `programs`."""
    kind: str = ""
    """Which of a program's ways of calling."""
    command: str = ""
    """The program of the environment that is run, if it is one."""
    lacks: frozenset[str] = field(default_factory=frozenset)
    """Steps it has no call for."""

    @property
    def name(self) -> str:
        """Unique, and good for a file name."""
        return "-".join((self.environment or Path(self.program).stem, *self.kind.split()))

    @property
    def column(self) -> str:
        return f"{self.product} {self.version}".strip()

    @property
    def steps(self) -> list[str]:
        return [step for step in STEPS if step not in self.lacks]

    @property
    def version(self) -> str:
        """As pinned; empty when nothing pins it."""
        if not self.environment:
            return ""
        if self.environment.startswith("npm-"):
            manifest = (LOCKS / self.environment / "package.json").read_text()
            return _only(r'"openai": "([\d.]+)"', manifest)
        lock = (LOCKS / f"{self.environment}.lock").read_text()
        return _only(rf"^{self.product}==(\S+)", lock)


def _only(pattern: str, text: str) -> str:
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return str(found)


ONLY_OPENAI: Final = frozenset(
    {
        "upload_expiring",
        "upload_refused",
        "list_after_deleted",
        "output_expiry",
        "wrong_metadata",
    }
)
"""What the Together API does not have, or its clients check themselves."""

ONLY_TOGETHER: Final = frozenset({"model_and_priority"})

NO_JOBS: Final = frozenset(
    {
        "create",
        "poll",
        "download",
        "refused_requests",
        "faulty_input",
        "list_jobs",
        "output_expiry",
        "model_and_priority",
        "repeated_create",
        "file_in_use",
        "cancel",
        "cancel_ended",
        "wrong_endpoint",
        "wrong_metadata",
    }
)


def _openai() -> Iterator[ClientUnderTest]:
    ways = {
        "sync": "`OpenAI`",
        "async": "`AsyncOpenAI`",
        "azure": "`AzureOpenAI`",
        "azure async": "`AsyncAzureOpenAI`",
        "module": "module-level calls",
    }
    for major in "123":
        for kind, way in ways.items():
            yield ClientUnderTest(
                family="OpenAI's SDK for Python",
                product="openai",
                way=way,
                environment=f"openai-{major}",
                program="openai_sdk.py",
                kind=kind,
                lacks=ONLY_TOGETHER,
            )


def _together() -> Iterator[ClientUnderTest]:
    for major in "123":
        for kind, way in {"sync": "`Together`", "async": "`AsyncTogether`"}.items():
            lacks = ONLY_OPENAI
            if major == "1":
                lacks |= {"model_and_priority", "repeated_create"}
            if (major, kind) == ("1", "async"):
                lacks |= {"upload", "upload_in_parts", "read_content", "download"}
                lacks |= {"refused_requests", "other_base_urls"}
            yield ClientUnderTest(
                family="Together's SDK for Python",
                product="together",
                way=way,
                environment=f"together-{major}",
                program="together_1.py" if major == "1" else "together_sdk.py",
                kind=kind,
                lacks=lacks,
            )


def _command_lines() -> Iterator[ClientUnderTest]:
    no_parts = {"upload_in_parts", "other_base_urls"}
    # Each call is a process of a second: what is the SDK's beneath them is tested there.
    left_out = {"refused_requests", "faulty_input", "wrong_endpoint", "repeated_create"}
    left_out.add("unknown_ids")  # `delete_file` asks for one
    for major in "23":
        yield ClientUnderTest(
            family="Command lines",
            product="together",
            environment=f"together-{major}",
            program="command_lines.py",
            kind="together",
            command="together",
            lacks=ONLY_OPENAI | ONLY_TOGETHER | no_parts | left_out,
        )
    yield ClientUnderTest(
        family="Command lines",
        product="together",
        environment="together-1",
        program="command_lines.py",
        kind="together 1",
        command="together",
        lacks=ONLY_OPENAI | NO_JOBS | no_parts | {"unknown_ids"},
    )
    yield ClientUnderTest(
        family="Command lines",
        product="openai",
        environment="openai-1",
        program="command_lines.py",
        kind="openai",
        command="openai",
        lacks=ONLY_OPENAI
        | NO_JOBS
        | no_parts
        | {"read_file", "read_content", "delete_file", "unknown_ids"},
    )


def _others() -> Iterator[ClientUnderTest]:
    yield ClientUnderTest(
        family="Others",
        product="openai for Node.js",
        environment="npm-openai-6",
        program="openai_npm.py",
        lacks=ONLY_TOGETHER,
    )
    ways = {
        "openai": "provider `openai`",
        "openai async": "provider `openai`, async",
        "hosted_vllm": "provider `hosted_vllm`",
    }
    for kind, way in ways.items():
        yield ClientUnderTest(
            family="Others",
            product="litellm",
            way=way,
            environment="litellm",
            program="litellm_calls.py",
            kind=kind,
            lacks=ONLY_TOGETHER | {"upload_in_parts", "list_after_deleted", "other_base_urls"},
        )
    yield ClientUnderTest(
        family="Others",
        product="curl, OpenAI's forms",
        environment="",
        program="curl.py",
        kind="openai",
        lacks=ONLY_TOGETHER | {"other_base_urls"},
    )
    yield ClientUnderTest(
        family="Others",
        product="curl, Together's forms",
        environment="",
        program="curl.py",
        kind="together",
        lacks=ONLY_OPENAI | {"upload_in_parts", "other_base_urls"},
    )


CLIENTS: Final = (*_openai(), *_together(), *_command_lines(), *_others())
