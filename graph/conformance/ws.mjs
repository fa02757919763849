// Drives the server with the graphql-ws client as an application would.
import assert from 'node:assert/strict';
import { buildClientSchema, getIntrospectionQuery } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.env.GRAPHQL_URL.replace(/^http/, 'ws');
const connect = (more = {}) =>
  createClient({ url, webSocketImpl: WebSocket, connectionParams: { Authorization: `Bearer ${process.env.GRAPHQL_KEY}` }, ...more });

// collect runs an operation to its end.
const collect = async (client, payload) => {
  const out = [];
  for await (const r of client.iterate(payload)) out.push(r);
  return out;
};
const within = (what, promise) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(`timed out: ${what}`)), 10_000).unref())]);

async function scenario(name, run) {
  await within(name, run());
  console.log(`ok ${name}`);
}

await scenario('queries, mutations and subscriptions share a socket', async () => {
  const client = connect();
  const [q, m, s] = await Promise.all([
    collect(client, { query: 'query($n:String){hello(name:$n)}', variables: { n: 'you' } }),
    collect(client, { query: 'mutation{touch(name:"x")}' }),
    collect(client, { query: 'subscription{count(to:100){sequence}}' }),
  ]);
  assert.equal(q[0].data.hello, 'hello you');
  assert.equal(m[0].data.touch, 'x');
  assert.deepEqual(s.map((r) => r.data.count.sequence), Array.from({ length: 100 }, (_, i) => i + 1));
  await client.dispose();
});

await scenario('a refused document rejects with its errors', async () => {
  const client = connect();
  await assert.rejects(collect(client, { query: '{nope}' }), (e) => e[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED');
  await client.dispose();
});

await scenario('completing ends one subscription and leaves the other', async () => {
  const client = connect();
  const other = collect(client, { query: 'subscription{count(to:2000){sequence}}' });
  let seen = 0;
  for await (const r of client.iterate({ query: 'subscription{endless{sequence}}' })) {
    assert.equal(r.data.endless.sequence, ++seen);
    if (seen === 50) break;
  }
  assert.equal((await other).length, 2000);
  await client.dispose();
});

await scenario('a bad key is final', async () => {
  let attempts = 0;
  const client = connect({ connectionParams: { Authorization: 'Bearer bad' }, retryAttempts: 3, retryWait: async () => {}, on: { opened: () => attempts++ } });
  await assert.rejects(collect(client, { query: '{hello}' }), (e) => e.code === 4403);
  assert.equal(attempts, 3 + 1, 'the client retries 4403, as its documentation says');
  await client.dispose();
});

await scenario('after a lost connection the client resumes without gap or repeat', async () => {
  let socket;
  const client = connect({ retryWait: async () => {}, on: { opened: (s) => (socket = s) } });
  const payload = { query: 'subscription($afterSequence:Int){count(to:300,afterSequence:$afterSequence){sequence}}', variables: {} };
  const seen = [];
  await new Promise((complete, error) =>
    client.subscribe(payload, {
      next: (r) => {
        const n = r.data.count.sequence;
        if (n <= (seen.at(-1) ?? 0)) return; // sent before the cut, and again after it
        seen.push(n);
        payload.variables.afterSequence = n;
        if (n === 100 || n === 200) socket.terminate();
      },
      error,
      complete,
    }),
  );
  assert.deepEqual(seen, Array.from({ length: 300 }, (_, i) => i + 1));
  await client.dispose();
});

await scenario('the introspection of graphql-js builds the schema', async () => {
  const client = connect();
  const [r] = await collect(client, {
    query: getIntrospectionQuery({ directiveIsRepeatable: true, inputValueDeprecation: true, specifiedByUrl: true, schemaDescription: true }),
  });
  assert.ifError(r.errors);
  assert.ok(buildClientSchema(r.data).getSubscriptionType().getFields().count);
  await client.dispose();
});

await scenario('keep-alive pings are answered', async () => {
  let pongs = 0;
  const client = connect({ lazy: false, keepAlive: 20, on: { pong: (received) => received && pongs++ } });
  while (pongs < 3) await new Promise((r) => setTimeout(r, 10));
  await client.dispose();
});
