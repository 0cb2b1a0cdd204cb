"""What openai 3.x can do with webhooks: the base URL and that of a receiver."""

import json
import sys

import openai
from openai import OpenAI

base_url, receiver = sys.argv[1:]
client = OpenAI(base_url=f"{base_url}/v1", api_key="any", max_retries=0)

types = client.webhooks.event_types.list().data
made = client.webhooks.create(name="mine", url=receiver, event_types=["batch.failed"])
assert client.webhooks.retrieve(made.id).signing_secret_hint == made.signing_secret_hint
for number in range(3):
    client.webhooks.create(name=f"more {number}", url=receiver, event_types=types)
listed = [one.id for one in client.webhooks.list(limit=2)]
assert listed[-1] == made.id
assert len(listed) == 4
changed = client.webhooks.update(made.id, event_types=["batch.completed"])
assert (changed.name, changed.event_types) == ("mine", ["batch.completed"])
kept = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
tried = client.webhooks.test(made.id, event_type="batch.expired")
fresh = client.webhooks.rotate_secret(made.id)
for one in listed:
    assert client.webhooks.delete(one).deleted
try:
    client.webhooks.retrieve(made.id)
except openai.NotFoundError as error:
    gone = error.code
secrets = [made.signing_secret, kept.signing_secret, fresh.signing_secret]
print(json.dumps({"types": types, "status": tried.status_code, "secrets": secrets, "gone": gone}))
