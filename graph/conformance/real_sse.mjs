// The graphql-sse client (distinct connections mode) against the real server.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-sse';
import { authorization, collect, FOLLOW, report, scenario, start, url, whole } from './kit.mjs';

const connect = (more = {}) => createClient({ url, headers: { Authorization: authorization }, retryAttempts: 0, ...more });

await scenario('a run is followed to its end', async () => {
  const client = connect();
  const run = await start();
  whole(await collect(client.iterate({ query: FOLLOW, variables: { run, afterSequence: 0 } })));
  client.dispose();
});

await scenario('a connection that breaks is resumed without gap or repeat', async () => {
  let broken = 0;
  const breaking = async (input, init) => {
    const res = await fetch(input, init);
    if (broken >= 3) return res;
    broken++;
    let left = 2000; // bytes until the line goes dead
    const cut = res.body.pipeThrough(
      new TransformStream({
        transform(chunk, out) {
          if ((left -= chunk.length) < 0) return out.error(new TypeError('terminated'));
          out.enqueue(chunk);
        },
      }),
    );
    return new Response(cut, { status: res.status, headers: res.headers });
  };
  const client = connect({ fetchFn: breaking, retryAttempts: 10, retry: async () => {} });
  const run = await start();
  const request = { query: FOLLOW, variables: { run, afterSequence: 0 } };
  const seen = [];
  await new Promise((complete, error) =>
    client.subscribe(request, {
      next: ({ data: { enrichmentProgress: e } }) => {
        if (e.sequence <= (seen.at(-1)?.sequence ?? 0)) return;
        seen.push(e);
        request.variables.afterSequence = e.sequence;
      },
      error,
      complete,
    }),
  );
  assert.equal(broken, 3);
  whole(seen);
  client.dispose();
});

await scenario('Last-Event-ID resumes, and ids are the sequence', async () => {
  const run = await start();
  const res = await fetch(`${url}?${new URLSearchParams({ query: FOLLOW, variables: JSON.stringify({ run }) })}`, {
    headers: { authorization, accept: 'text/event-stream', 'last-event-id': '1' },
  });
  assert.equal(res.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  assert.equal(res.headers.get('cache-control'), 'no-store');
  const text = await res.text();
  const ids = [...text.matchAll(/^id: (\d+)$/gm)].map((m) => Number(m[1]));
  assert.deepEqual(ids, Array.from({ length: ids.length }, (_, i) => i + 2));
  assert.ok(ids.length > 5);
  assert.ok(text.endsWith('event: complete\ndata: \n\n'), JSON.stringify(text.slice(-60)));
});

await scenario('queries answer inside a stream, and refusals too', async () => {
  const client = connect();
  const ask = async (query) => {
    for await (const r of client.iterate({ query })) return r;
  };
  assert.equal((await ask('{__typename}')).data.__typename, 'Query');
  assert.equal((await ask('{nope}')).errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  client.dispose();
});
report('graphql-sse scenarios');
