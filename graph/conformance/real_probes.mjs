// The fifteen probes of graphql-transport-ws, and more, as raw frames against the real server.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { authorization, FOLLOW, report, scenario, start, url, wsURL } from './kit.mjs';

const PROTOCOL = 'graphql-transport-ws';

// dial opens a socket and keeps what comes: messages in order, and the close.
async function dial({ protocols = PROTOCOL, query = '', ...options } = {}) {
  const ws = new WebSocket(wsURL + query, protocols, options);
  const got = [];
  let wake = () => {};
  ws.on('message', (data) => (got.push(JSON.parse(data)), wake()));
  const closed = new Promise((done) => ws.on('close', (code, reason) => done({ code, reason: String(reason), at: Date.now() })));
  await new Promise((yes, no) => ws.once('open', yes).once('error', no));
  const say = (m) => ws.send(typeof m === 'string' || Buffer.isBuffer(m) ? m : JSON.stringify(m));
  const hear = async () => {
    while (!got.length) await Promise.race([new Promise((r) => (wake = r)), closed.then((c) => assert.fail(`closed ${c.code} ${c.reason}`))]);
    return got.shift();
  };
  const alive = async () => {
    const payload = { n: Math.random() };
    say({ type: 'ping', payload });
    assert.deepEqual(await hear(), { type: 'pong', payload });
  };
  const closes = async (code) => {
    const c = await closed;
    assert.equal(c.code, code, `closed with ${c.code} ${c.reason}`);
    return c;
  };
  const subscribe = (id, query, variables) => say({ id, type: 'subscribe', payload: { query, variables } });
  return { ws, say, hear, alive, closes, closed, subscribe, got };
}
const post = (body, headers = {}) =>
  fetch(url, { method: 'POST', headers: { authorization, 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });
const init = { type: 'connection_init', payload: { Authorization: authorization } };
async function ready(options) {
  const s = await dial(options);
  s.say(init);
  assert.deepEqual(await s.hear(), { type: 'connection_ack' });
  return s;
}

await Promise.all([
  scenario('1 no connection_init in time: 4408', async () => {
    const began = Date.now();
    const c = await (await dial()).closes(4408);
    assert.ok(c.at - began > 3000 && c.at - began < 15_000, `after ${c.at - began} ms`);
  }),
  scenario('2 subscribe before the acknowledgement: 4401', async () => {
    const s = await dial();
    s.subscribe('1', '{__typename}');
    await s.closes(4401);
  }),
  scenario('3 invalid JSON: 4400, nothing of it quoted', async () => {
    for (const text of ['{ s3cret', '', 'null', '[]', '"s3cret"', '{}', '{"type":1}']) {
      const s = await ready();
      s.say(text);
      assert.ok(!(await s.closes(4400)).reason.includes('s3cret'));
    }
  }),
  scenario('4 unknown message type: 4400', async () => {
    for (const type of ['start', 'next', 'connection_ack', '']) {
      const s = await ready();
      s.say({ id: '1', type });
      await s.closes(4400);
    }
  }),
  scenario('5 second connection_init: 4429', async () => {
    const s = await ready();
    s.say(init);
    await s.closes(4429);
  }),
  scenario('6 id in use: 4409 at once', async () => {
    const s = await ready();
    const run = await start();
    s.subscribe('same', FOLLOW, { run });
    assert.equal((await s.hear()).type, 'next');
    s.subscribe('same', '{__typename}');
    assert.equal((await s.closes(4409)).reason, 'Subscriber for same already exists');
  }),
  scenario('7 bad key, no key, strange origin: 4403', async () => {
    for (const payload of [undefined, {}, { Authorization: 'Bearer sk_live_nonsense' }, { Authorization: authorization.slice(0, -1) }]) {
      const s = await dial();
      s.say({ type: 'connection_init', payload });
      await s.closes(4403);
    }
    await (await dial({ origin: 'https://evil.example' })).closes(4403);
  }),
  scenario('8 no subprotocol: upgraded, then 4406', async () => await (await dial({ protocols: [] })).closes(4406)),
  scenario('9 only unknown subprotocols: upgraded, then 4406', async () => {
    // The client would refuse an answer without one of its own, so this speaks HTTP.
    const { request } = await import('node:http');
    const [code, closeCode] = await new Promise((done, no) => {
      const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': 13, 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Protocol': 'graphql-ws, chat' };
      const r = request(url, { headers });
      r.on('upgrade', (res, socket, head) => {
        const read = (b) => b.length >= 4 && (socket.destroy(), done([res.statusCode, b.readUInt16BE(2)]));
        if (!read(head)) socket.on('data', read);
      });
      r.on('error', no).on('response', (res) => done([res.statusCode])).end();
    });
    assert.deepEqual([code, closeCode], [101, 4406]);
  }),
  scenario('10 subscribe without id: 4400', async () => {
    for (const m of [{ payload: { query: '{__typename}' } }, { id: '', payload: { query: '{__typename}' } }, { id: 7, payload: { query: '{__typename}' } }, { id: '1' }, { id: '1', payload: {} }]) {
      const s = await ready();
      s.say({ type: 'subscribe', ...m });
      await s.closes(4400);
    }
  }),
  scenario('11 validation error: one error, no complete', async () => {
    const s = await ready();
    s.subscribe('1', '{nope}');
    const m = await s.hear();
    assert.equal(m.type, 'error');
    assert.equal(m.payload[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
    await s.alive();
    s.subscribe('1', '{__typename}');
    assert.equal((await s.hear()).type, 'next');
  }),
  scenario("12 the client's complete: silence on the id, which is free at once", async () => {
    const s = await ready();
    const run = await start();
    s.subscribe('1', FOLLOW, { run });
    assert.equal((await s.hear()).type, 'next');
    s.say({ type: 'complete', id: '1' });
    s.say({ type: 'ping' });
    while ((await s.hear()).type !== 'pong'); // what was on its way
    s.subscribe('1', '{__typename}');
    const next = await s.hear();
    assert.deepEqual([next.type, next.id, next.payload.data.__typename], ['next', '1', 'Query']);
    assert.deepEqual(await s.hear(), { id: '1', type: 'complete' });
    await s.alive();
  }),
  scenario('13 ping before connection_init: pong', async () => await (await dial()).alive()),
  scenario('14 ping with payload: pong with it', async () => await (await ready()).alive()),
  scenario('15 a query over the socket: next, complete', async () => {
    const s = await ready();
    s.subscribe('q', '{__typename}');
    assert.equal((await s.hear()).payload.data.__typename, 'Query');
    assert.deepEqual(await s.hear(), { id: 'q', type: 'complete' });
  }),
  scenario('16 a message above 64 KiB: 1009', async () => {
    const s = await ready();
    s.say({ type: 'ping', payload: { x: 'x'.repeat(70_000) } });
    await s.closes(1009);
  }),
  scenario('17 a binary message: 4400', async () => {
    const s = await ready();
    s.say(Buffer.from(JSON.stringify({ type: 'ping' })));
    await s.closes(4400);
  }),
  scenario('18 text that is not UTF-8: 1007', async () => {
    const s = await ready();
    s.ws.send(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), { binary: false });
    await s.closes(1007);
  }),
  scenario('19 a key in the URL does not sign in', async () => {
    const s = await dial({ query: `?authorization=${encodeURIComponent(authorization)}&apiKey=${authorization.slice(7)}` });
    s.say({ type: 'connection_init' });
    await s.closes(4403);
  }),
  scenario('20 the hundred-and-first subscription: an error on its id, and the socket lives', async () => {
    const s = await ready();
    const run = await start();
    for (let i = 0; i <= 100; i++) s.subscribe(`s${i}`, FOLLOW, { run });
    for (;;) {
      const m = await s.hear();
      if (m.type !== 'error') continue;
      assert.deepEqual([m.id, m.payload[0].extensions.code], ['s100', 'RATE_LIMITED']);
      break;
    }
    s.say({ type: 'ping' });
    while ((await s.hear()).type !== 'pong');
  }),
  scenario('21 ids of any text come back as they were', async () => {
    const s = await ready();
    for (const id of ['"', '\\', '<&>', '\u2028', '\u0001', 'ünï', '0'.repeat(500), '__proto__']) {
      s.subscribe(id, '{__typename}');
      assert.equal((await s.hear()).id, id);
      assert.deepEqual(await s.hear(), { id, type: 'complete' });
    }
  }),
  scenario('22 one message in many frames is one message', async () => {
    const s = await ready();
    for (const [i, part] of [...JSON.stringify({ type: 'ping', payload: { n: 1 } })].entries()) s.ws.send(part, { fin: false, binary: false, first: i === 0 });
    s.ws.send('', { fin: true, binary: false });
    assert.deepEqual(await s.hear(), { type: 'pong', payload: { n: 1 } });
  }),
  scenario('23 a revoked key loses its sockets within two seconds: 4403', async () => {
    const s = await dial();
    s.say({ type: 'connection_init', payload: { Authorization: `Bearer ${process.env.GRAPHQL_SPARE_KEY}` } });
    await s.hear();
    await s.alive();
    const [program, ...args] = JSON.parse(process.env.GRAPHQL_REVOKE);
    const revoked = promisify(execFile)(program, args).then(() => Date.now());
    const c = await s.closes(4403);
    assert.ok(c.at - (await revoked) < 2000);
  }),
  scenario('24 mutations never over GET: 405, plain or as a stream', async () => {
    for (const accept of ['application/json', 'text/event-stream']) {
      const res = await fetch(`${url}?query=${encodeURIComponent('mutation{__typename}')}`, { headers: { authorization, accept } });
      assert.deepEqual([res.status, res.headers.get('allow')], [405, 'POST']);
    }
  }),
  scenario('25 a subscription over plain POST names what it needs', async () => {
    const res = await post({ query: FOLLOW, variables: { run: 'enr_x' } });
    assert.match((await res.json()).errors[0].message, /WebSocket.*server-sent events/);
  }),
  scenario('26 malformed JSON is 400 and not echoed', async () => {
    const res = await post('{"query": s3cret');
    assert.equal(res.status, 400);
    assert.ok(!(await res.text()).includes('s3cret'));
  }),
  scenario('27 bodies and variables of 10 MB: 413', async () => {
    for (const body of [' '.repeat(10 << 20), JSON.stringify({ query: '{__typename}', variables: { a: 'x'.repeat(10 << 20) } })]) {
      assert.equal((await post(body)).status, 413);
    }
  }),
  scenario('28 without a key nothing is parsed: 401, whatever is sent', async () => {
    for (const body of ['', '{', JSON.stringify({ query: '{' }), JSON.stringify({ query: `{${'viewer '.repeat(8000)}}` })]) {
      const res = await post(body, { authorization: '' });
      assert.deepEqual([res.status, (await res.json()).errors[0].extensions.code], [401, 'UNAUTHENTICATED']);
    }
  }),
  scenario('29 hostile documents are refused in few bytes', async () => {
    const many = (n, f) => Array.from({ length: n }, (_, i) => f(i)).join(' ');
    for (const query of [
      `{${many(8000, () => 'viewer')}}`,
      `{${many(8000, () => '...{viewer}')}}`,
      `{${many(20_000, (i) => `a${i}:x`)}}`,
      `{viewer${many(20_000, () => '@x')}}`,
      `${'{node'.repeat(500)}{id}${'}'.repeat(500)}`,
      '{...A} fragment A on Query{...B} fragment B on Query{...A}',
    ]) {
      const res = await post({ query });
      const text = await res.text();
      assert.ok(text.length < 4096 && JSON.parse(text).errors.length <= 10 && !JSON.parse(text).data, text.slice(0, 300));
    }
  }),
]);
report('probes');
