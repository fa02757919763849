// The graphql-ws client against the real server, as an application uses it.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { authorization, collect, FOLLOW, report, scenario, start, START, whole, wsURL } from './kit.mjs';

const connect = (more = {}) => createClient({ url: wsURL, webSocketImpl: WebSocket, connectionParams: { Authorization: authorization }, ...more });
const one = async (client, payload) => {
  for await (const r of client.iterate(payload)) return r;
};

await scenario('a run is started, followed to its end and read over one socket', async () => {
  const client = connect();
  const input = { profileIds: ['profile_test_success', 'profile_test_failure'], idempotencyKey: crypto.randomUUID() };
  const first = await one(client, { query: START, variables: { input } });
  const run = first.data.startEnrichment.run.requestId;
  const again = await one(client, { query: START, variables: { input } });
  assert.equal(again.data.startEnrichment.replayed, true);
  assert.equal(again.data.startEnrichment.run.requestId, run);
  const events = await collect(client.iterate({ query: FOLLOW, variables: { run, afterSequence: 0 } }));
  whole(events);
  assert.deepEqual(events.at(-1).progress, { total: 2, enriched: 1, failed: 1 });
  const read = await one(client, { query: 'query($run:ID!){enrichmentResults(requestId:$run){status profiles(first:10){nodes{outcome}}}}', variables: { run } });
  assert.deepEqual(read.data.enrichmentResults.profiles.nodes.map((p) => p.outcome), ['ENRICHED', 'FAILED']);
  await client.dispose();
});

await scenario('without a position a snapshot comes first, and events go on from it', async () => {
  const client = connect();
  const run = await start();
  const events = await collect(client.iterate({ query: FOLLOW, variables: { run } }));
  assert.equal(events[0].__typename, 'RunSnapshot');
  whole(events.slice(1), events[0].sequence + 1);
  await client.dispose();
});

await scenario('a hundred subscriptions on one socket all hear the whole run', async () => {
  const client = connect();
  const run = await start();
  const all = await Promise.all(Array.from({ length: 100 }, () => collect(client.iterate({ query: FOLLOW, variables: { run, afterSequence: 0 } }))));
  for (const events of all) whole(events);
  await client.dispose();
});

await scenario('a socket that is cut off again and again resumes without gap or repeat', async () => {
  let socket;
  const client = connect({ retryAttempts: 20, retryWait: async () => {}, on: { opened: (s) => (socket = s) } });
  const run = await start();
  const payload = { query: FOLLOW, variables: { run, afterSequence: 0 } };
  const seen = [];
  let cuts = 0;
  await new Promise((complete, error) =>
    client.subscribe(payload, {
      next: ({ data: { enrichmentProgress: e } }) => {
        if (e.sequence <= (seen.at(-1)?.sequence ?? 0)) return;
        seen.push(e);
        payload.variables.afterSequence = e.sequence;
        if (seen.length % 5 === 0 && cuts < 4) socket.terminate(++cuts);
      },
      error,
      complete,
    }),
  );
  assert.ok(cuts > 1, `cut ${cuts} times`);
  whole(seen);
  await client.dispose();
});

await scenario('leaving one of two subscriptions leaves the other whole', async () => {
  const client = connect();
  const run = await start();
  const other = collect(client.iterate({ query: FOLLOW, variables: { run, afterSequence: 0 } }));
  for await (const r of client.iterate({ query: FOLLOW, variables: { run, afterSequence: 0 } })) {
    if (r.data.enrichmentProgress.sequence === 3) break;
  }
  whole(await other);
  await client.dispose();
});

await scenario('a run that is not there, and a document that is wrong, end with errors', async () => {
  const client = connect();
  const fails = (payload) => assert.rejects(one(client, payload), (e) => e[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED');
  await fails({ query: FOLLOW, variables: { run: 'enr_00000000-0000-4000-8000-000000000000' } });
  await fails({ query: '{nope}' });
  await client.dispose();
});
report('graphql-ws scenarios');
