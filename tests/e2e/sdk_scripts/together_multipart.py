"""A multipart upload with together 1.x, 2.x or 3.x: `together_multipart.py BASE_URL INPUT`.

The SDKs do it for files over 5 GiB; their limits are lowered here, and nothing else is changed.
Prints what it saw as JSON.
"""

import asyncio
import importlib
import json
import sys
from importlib.metadata import version

import together

MODULES = ("together.lib.resources.files", "together.filemanager", "together.resources.files")
LOWERED = {"MULTIPART_THRESHOLD_GB": 0, "TARGET_PART_SIZE_MB": 1, "MIN_PART_SIZE_MB": 1}


def lower_limits() -> None:
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for constant, value in LOWERED.items():
            if hasattr(module, constant):
                setattr(module, constant, value)


def main(base_url: str, source: str) -> dict[str, object]:
    lower_limits()
    is_first = version("together").startswith("1.")
    base = f"{base_url}/v1" if is_first else base_url
    client = together.Together(api_key="any", base_url=base)
    file = client.files.upload(file=source, purpose="batch-api", check=False)
    seen = {"files": [file.id], "bytes": file.bytes, "name": file.filename}
    if not is_first:
        seen["files"].append(asyncio.run(upload_async(base, source)))
    assert set(seen["files"]) <= {listed.id for listed in client.files.list().data}
    return seen


async def upload_async(base: str, source: str) -> str:
    async with together.AsyncTogether(api_key="any", base_url=base) as client:
        file = await client.files.upload(file=source, purpose="batch-api", check=False)
        return file.id


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
