"""A loop around the official SDK, as its users write it."""

import json

from measured import Job, Spent, in_slots, main
from openai import AsyncOpenAI


async def with_openai(job: Job) -> Spent:
    with job.source.open("rb") as file, job.target.open("w") as out:
        lines = map(json.loads, file)
        url = job.url.removesuffix("/chat/completions")
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def slot() -> None:
                for line in lines:
                    reply = await client.chat.completions.create(**line["body"])
                    result = {"custom_id": line["custom_id"], "body": reply.model_dump()}
                    out.write(json.dumps(result) + "\n")

            return await in_slots(job, slot)


if __name__ == "__main__":
    main(with_openai)
