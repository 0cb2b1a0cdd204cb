"""A loop as many write it, on aiohttp."""

import aiohttp
import msgspec
from measured import Job, Spent, in_slots, main

HEADERS = {"Content-Type": "application/json"}


class Line(msgspec.Struct, gc=False):
    custom_id: str
    body: msgspec.Raw


async def with_aiohttp(job: Job) -> Spent:
    decode = msgspec.json.Decoder(Line).decode
    check = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    encode = msgspec.json.Encoder().encode
    with job.source.open("rb") as file, job.target.open("wb", 1 << 20) as out:
        lines = map(decode, file)
        connector = aiohttp.TCPConnector(limit=job.in_flight)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def slot() -> None:
                for line in lines:
                    async with session.post(
                        job.url, data=bytes(line.body), headers=HEADERS
                    ) as reply:
                        body = await reply.read()
                    check(body)
                    out.write(b'{"custom_id":%b,"body":%b}\n' % (encode(line.custom_id), body))

            return await in_slots(job, slot)


if __name__ == "__main__":
    main(with_aiohttp)
