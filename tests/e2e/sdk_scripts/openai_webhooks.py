"""Verify what was received: the secret and a file of `{"headers": …, "body": …}` a line."""

import json
import sys
from pathlib import Path

import openai

client = openai.OpenAI(api_key="any", webhook_secret=sys.argv[1])
seen = []
for line in Path(sys.argv[2]).read_text().splitlines():
    hook = json.loads(line)
    event = client.webhooks.unwrap(hook["body"], hook["headers"])
    seen.append([type(event).__name__, event.type, event.data.id])
    try:
        client.webhooks.unwrap(hook["body"] + " ", hook["headers"])
    except openai.InvalidWebhookSignatureError:
        continue
    sys.exit("a changed body was not noticed")
print(json.dumps(seen))
