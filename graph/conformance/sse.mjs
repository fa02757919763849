// Drives the server with the graphql-sse client in distinct connections mode.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-sse';

const url = process.env.GRAPHQL_URL;
const headers = { Authorization: `Bearer ${process.env.GRAPHQL_KEY}` };
const client = createClient({ url, headers, retryAttempts: 0 });
const collect = async (payload) => {
  const out = [];
  for await (const r of client.iterate(payload)) out.push(r);
  return out;
};

const s = await collect({ query: 'subscription{count(to:100){sequence}}' });
assert.deepEqual(s.map((r) => r.data.count.sequence), Array.from({ length: 100 }, (_, i) => i + 1));
console.log('ok a subscription streams to its end');

assert.equal((await collect({ query: '{hello}' }))[0].data.hello, 'hello');
console.log('ok a query answers once');

assert.equal((await collect({ query: '{nope}' }))[0].errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
console.log('ok a refused document answers inside the stream');

let n = 0;
for await (const r of client.iterate({ query: 'subscription{endless{sequence}}' })) {
  assert.equal(r.data.endless.sequence, ++n);
  if (n === 50) break;
}
console.log('ok leaving ends the stream');
client.dispose();
