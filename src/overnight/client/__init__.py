"""A synchronous client of batch APIs: Overnight's, and those it is modelled on.

It stands alone, so that it can be used without the rest:

    from overnight.client.client import Client, Server

    with Client(Server("http://127.0.0.1:8024/v1")) as client:
        file = client.upload(Path("prompts.jsonl"))
        job = client.create_job(file.id, "/v1/chat/completions")

`views` are what it returns, `errors` what it raises.
"""
