// What the scripts that drive the real server share: where it is, scenarios
// with a time limit, and runs of the reserved profiles, which need no network.
import assert from 'node:assert/strict';

export const url = process.env.GRAPHQL_URL;
export const wsURL = url.replace(/^http/, 'ws');
export const key = process.env.GRAPHQL_KEY;
export const authorization = `Bearer ${key}`;

let passed = 0;
export async function scenario(name, run) {
  const late = new Promise((_, no) => setTimeout(() => no(new Error('timed out')), 45_000).unref());
  try {
    await Promise.race([run(), late]);
  } catch (e) {
    console.log(`FAILED ${name}`);
    console.error(e);
    process.exit(1);
  }
  passed++;
  console.log(`ok ${name}`);
}
// report ends the script: sockets that a scenario left open do not keep it alive.
export function report(what) {
  console.log(JSON.stringify({ [what]: passed }));
  process.exit(0);
}

export async function ask(query, variables, headers = {}) {
  const res = await fetch(url, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  const body = await res.json();
  assert.equal(body.errors, undefined, JSON.stringify(body.errors));
  return body.data;
}

export const START = `mutation Start($input: StartEnrichmentInput!) {
  startEnrichment(input: $input) { replayed run { requestId status } userErrors { code message field } } }`;
export const FOLLOW = `subscription Follow($run: ID!, $afterSequence: Int) {
  enrichmentProgress(requestId: $run, afterSequence: $afterSequence) {
    __typename sequence progress { total enriched failed }
    ... on RunStatusChanged { status }
    ... on ProfileAdvanced { profileId outcome } } }`;

// start begins a run whose slow profile keeps it open for some seconds.
export async function start(...profiles) {
  const ids = (profiles.length ? profiles : ['success', 'partial', 'slow']).map((p) => `profile_test_${p}`);
  const { startEnrichment } = await ask(START, { input: { profileIds: ids, idempotencyKey: crypto.randomUUID() } });
  assert.deepEqual(startEnrichment.userErrors, []);
  return startEnrichment.run.requestId;
}

// whole checks a run's events: numbered from `from` without gap or repeat, and ended.
export function whole(events, from = 1) {
  assert.deepEqual(events.map((e) => e.sequence), Array.from({ length: events.length }, (_, i) => from + i));
  assert.equal(events.at(-1).__typename, 'RunStatusChanged');
  assert.equal(events.at(-1).status, 'COMPLETED');
}

export async function collect(stream) {
  const out = [];
  for await (const r of stream) {
    assert.equal(r.errors, undefined, JSON.stringify(r.errors));
    out.push(r.data.enrichmentProgress);
  }
  return out;
}
