// @apollo/client against the real server: its cache, its links, automatic persisted queries.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { authorization, FOLLOW, report, scenario, start, START, url, whole, wsURL } from './kit.mjs';

const socket = createClient({ url: wsURL, webSocketImpl: WebSocket, connectionParams: { Authorization: authorization } });
const requests = [];
const fetched = async (input, init) => {
  requests.push(init.body ? JSON.parse(init.body) : Object.fromEntries(new URL(input).searchParams));
  return fetch(input, init);
};
const http = new HttpLink({ uri: url, headers: { authorization }, fetch: fetched });
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, new GraphQLWsLink(socket), http),
});

await scenario('a mutation, a subscription and a cached query work together', async () => {
  const input = { profileIds: ['profile_test_success', 'profile_test_slow'], idempotencyKey: crypto.randomUUID() };
  const { data } = await client.mutate({ mutation: gql(START), variables: { input } });
  const run = data.startEnrichment.run.requestId;
  const events = [];
  await new Promise((complete, error) =>
    client.subscribe({ query: gql(FOLLOW), variables: { run, afterSequence: 0 }, fetchPolicy: 'no-cache' }).subscribe({
      next: ({ data, error: e }) => (e ? error(e) : events.push(data.enrichmentProgress)),
      error,
      complete,
    }),
  );
  whole(events);
  const query = gql`query ($run: ID!) { enrichmentRun(requestId: $run) { requestId status progress { total enriched } } }`;
  const read = await client.query({ query, variables: { run } });
  assert.equal(read.data.enrichmentRun.status, 'COMPLETED');
  assert.equal(read.data.enrichmentRun.progress.enriched, 2);
  const before = requests.length;
  await client.query({ query, variables: { run } });
  assert.equal(requests.length, before, 'the second answer comes from the cache');
});

await scenario('a refusal of the document arrives as errors with a code', async () => {
  await assert.rejects(client.query({ query: gql`{ nope }` }), (e) => CombinedGraphQLErrors.is(e) && e.errors[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED');
});

for (const get of [false, true]) {
  await scenario(`automatic persisted queries: the text is sent once${get ? ', hashes by GET' : ''}`, async () => {
    const sha256 = async (text) => createHash('sha256').update(text).digest('hex');
    const persisted = () =>
      new ApolloClient({ cache: new InMemoryCache(), link: new PersistedQueryLink({ sha256, useGETForHashedQueries: get }).concat(http) });
    const query = gql`query ${get ? 'ByGet' : 'ByPost'} { enrichmentRuns(first: 1) { nodes { requestId } } }`;
    requests.length = 0;
    await persisted().query({ query });
    assert.deepEqual(requests.map((r) => Boolean(r.query)), [false, true]);
    requests.length = 0;
    await persisted().query({ query });
    assert.deepEqual(requests.map((r) => Boolean(r.query)), [false]);
  });
}
client.stop();
await socket.dispose();
report('@apollo/client scenarios');
