"""openai's classes for Azure: another place for the key and for the paths."""

import json
from pathlib import Path

import pytest

from support.api_server import ApiServer
from support.sdk import run_script

SCRIPT = Path(__file__).parent / "sdk_scripts" / "azure.py"


@pytest.mark.parametrize("sdk", ["openai-1", "openai-2", "openai-3"])
def test_azure_classes(tmp_path: Path, sdk: str) -> None:
    with ApiServer(tmp_path, api_keys=("secret",)) as server:
        seen = json.loads(run_script(sdk, SCRIPT, server.base_url, "secret").stdout)
    assert seen["plain"].startswith("batch_")
    assert seen["listed"] == 2
    assert seen["refused"] == ["invalid_api_key", True]
