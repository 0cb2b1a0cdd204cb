// Runs the calls of openai_npm.py with npm's openai: a JSON line for each, answered by one.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [entry, baseURL, apiKey] = process.argv.slice(2);
const { default: OpenAI, APIError } = await import(pathToFileURL(entry));
const client = new OpenAI({ baseURL, apiKey });

async function collected(pages) {
  const ids = [];
  for await (const item of pages) ids.push(item.id);
  return ids;
}

const calls = {
  upload: ({ path, ...more }) => client.files.create({ file: createReadStream(path), ...more }),
  file: ({ id }) => client.files.retrieve(id),
  content: async ({ id }) => Buffer.from(await (await client.files.content(id)).arrayBuffer()).toString("base64"),
  files: () => collected(client.files.list({ limit: 5 })),
  page: async (query) => (await client.files.list(query)).data.map((file) => file.id),
  delete: ({ id }) => client.files.delete(id),
  upload_create: (wanted) => client.uploads.create(wanted),
  upload_part: ({ id, path }) => client.uploads.parts.create(id, { data: createReadStream(path) }),
  upload_complete: ({ id, ...parts }) => client.uploads.complete(id, parts),
  create: ({ headers, ...wanted }) => client.batches.create(wanted, { headers }),
  job: ({ id }) => client.batches.retrieve(id),
  jobs: () => collected(client.batches.list({ limit: 5 })),
  cancel: ({ id }) => client.batches.cancel(id),
};

function refusal(error) {
  if (!(error instanceof APIError) || error.status === undefined) throw error;
  const { status, code, param, message, requestID } = error;
  return { refused: { status, code, param, message, requestID } };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, named } = JSON.parse(line);
  const answer = await calls[call](named).then((result) => ({ result }), refusal);
  process.stdout.write(JSON.stringify(answer) + "\n");
}
