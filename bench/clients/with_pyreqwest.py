"""The same loop on pyreqwest, a binding of Rust's reqwest."""

import msgspec
from measured import Job, Spent, in_slots, main
from pyreqwest.client import ClientBuilder


class Line(msgspec.Struct, gc=False):
    custom_id: str
    body: msgspec.Raw


async def with_pyreqwest(job: Job) -> Spent:
    decode = msgspec.json.Decoder(Line).decode
    check = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    encode = msgspec.json.Encoder().encode
    with job.source.open("rb") as file, job.target.open("wb", 1 << 20) as out:
        lines = map(decode, file)
        async with ClientBuilder().http1_only().build() as client:

            async def slot() -> None:
                for line in lines:
                    request = (
                        client.post(job.url)
                        .header("Content-Type", "application/json")
                        .body_bytes(bytes(line.body))
                        .build()
                    )
                    reply = await request.send()
                    body = bytes(await reply.bytes())
                    check(body)
                    out.write(b'{"custom_id":%b,"body":%b}\n' % (encode(line.custom_id), body))

            return await in_slots(job, slot)


if __name__ == "__main__":
    main(with_pyreqwest)
