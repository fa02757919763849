// Everything that an integration does in a day: makes a webhook and tests it,
// starts a run that names it, waits for both the answer to polling and the
// delivery, compares the two, renders, looks at the usage, and tidies up.
// Prints what it saw as one JSON object. RECEIVER_PORT is where to listen (0: any).
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ApiError, Client, genuine } from './enrich.mjs';

const client = new Client({ url: process.env.ENRICHD_URL, key: process.env.ENRICHD_API_KEY, pollEveryMs: 200 });
const deliveries = [];
let arrived;
const receiver = createServer((req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    deliveries.push({ raw: Buffer.concat(chunks), signature: req.headers['x-webhook-signature'] });
    res.writeHead(200).end();
    arrived?.();
  });
});
await new Promise((resolve) => receiver.listen(Number(process.env.RECEIVER_PORT ?? 0), '127.0.0.1', resolve));

async function delivered(event, secret) {
  for (;;) {
    for (const { raw, signature } of deliveries) {
      const body = JSON.parse(raw);
      if (body.event === event) {
        assert.ok(genuine(raw, signature, secret), `the signature of ${event}`);
        assert.ok(!genuine(Buffer.concat([raw, Buffer.from(' ')]), signature, secret), 'another body has the same signature');
        return body;
      }
    }
    await new Promise((resolve) => { arrived = resolve; });
  }
}

try {
  const url = `http://127.0.0.1:${receiver.address().port}/in`;
  const webhook = await client.createWebhook({ url, events: ['ENRICH_COMPLETED', 'ENRICH_FAILED', 'PING'], name: 'Node' });
  const test = await client.testWebhook(webhook.id);
  assert.equal(test.success, true, test.message);
  assert.deepEqual((await delivered('ping', webhook.signingSecret)).data, { message: 'Webhook test' });

  const profileIds = process.argv.slice(2);
  const options = { webhookId: webhook.id, idempotencyKey: `node-${Date.now()}` };
  const requestId = await client.start(profileIds, options);
  assert.equal(await client.start(profileIds, options), requestId, 'sent twice, started once');
  const results = await client.results(requestId);
  const { data } = await delivered('enrich.completed', webhook.signingSecret);
  assert.deepEqual(data, results, 'the webhook and polling say the same');

  const cards = await client.render(profileIds, 'light');
  const usage = await client.usage();
  await assert.rejects(client.results('enr_unknown'), (e) => e instanceof ApiError && e.status === 404 && e.code === 'REQUEST_NOT_FOUND');
  await assert.rejects(client.start([]), (e) => e instanceof ApiError && e.status === 400 && e.details.errors[0].field === 'profileIds');
  assert.equal((await client.webhooks()).length, 1);
  await client.deleteWebhook(webhook.id);
  assert.equal((await client.webhooks()).length, 0);
  console.log(JSON.stringify({
    requestId,
    outcomes: results.data.map((d) => d.errorCode ?? 'OK'),
    credits: results.creditsConsumed,
    cards: cards.filter((c) => c.success).length,
    used: usage.totalCreditsUsed,
  }));
} finally {
  receiver.close();
  receiver.closeAllConnections();
}
