// A client of the REST API for Node 18 and later, without dependencies. It was
// written from the contract alone: any service that honours it will do.
//
//   ENRICHD_URL=http://127.0.0.1:8080 ENRICHD_API_KEY=sk_… node enrich.mjs profile_a profile_b
//
// prints one line of JSON a profile, and ends with status 1 when the call failed.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { pathToFileURL } from 'node:url';

/** What the service refused, with its code, its details and the HTTP status. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `HTTP status ${status}`);
    this.status = status;
    this.code = error?.code;
    this.details = error?.details;
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Client {
  constructor({ url, key, pollEveryMs = 2000 }) {
    this.url = url.replace(/\/$/, '');
    this.key = key;
    this.pollEveryMs = pollEveryMs;
  }

  /** Sends one request and returns the status and the parsed body; throws an ApiError unless success is true. */
  async send(method, path, body, headers = {}) {
    for (let attempt = 1; ; attempt++) {
      const res = await fetch(this.url + path, {
        method,
        headers: {
          Authorization: `Bearer ${this.key}`,
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (res.status === 204) return { status: 204, body: null };
      const parsed = await res.json();
      if (res.status === 429 && attempt < 5) {
        await sleep(1000 * Number(res.headers.get('Retry-After') ?? 1));
        continue;
      }
      if (!parsed.success) {
        throw new ApiError(res.status, typeof parsed.error === 'object' ? parsed.error : parsed);
      }
      return { status: res.status, body: parsed };
    }
  }

  /** Starts a run and returns its requestId. With a key, sending it twice starts one run. */
  async start(profileIds, { webhookId, idempotencyKey } = {}) {
    const headers = idempotencyKey ? { 'Idempotency-Key': idempotencyKey } : {};
    const { body } = await this.send('POST', '/sourcing/enrich', { profileIds, webhookId }, headers);
    return body.requestId;
  }

  /** Polls until the run ended, and returns its results body. */
  async results(requestId) {
    for (;;) {
      const { status, body } = await this.send('GET', `/sourcing/enrich/${encodeURIComponent(requestId)}/results`);
      if (status === 200) return body;
      await sleep(this.pollEveryMs);
    }
  }

  async render(profileIds, theme = 'dark') {
    return (await this.send('POST', '/sourcing/render-html', { profileIds, theme })).body.data;
  }

  async createWebhook(webhook) {
    return (await this.send('POST', '/webhooks', webhook)).body.data;
  }

  async webhooks() {
    return (await this.send('GET', '/webhooks')).body.data.data;
  }

  async testWebhook(id) {
    return (await this.send('POST', `/webhooks/${id}/test`)).body.data;
  }

  async deleteWebhook(id) {
    await this.send('DELETE', `/webhooks/${id}`);
  }

  async usage() {
    return (await this.send('GET', '/billing/usage')).body.data;
  }
}

/** Whether a delivery is genuine: raw is the body's bytes as they came, header is X-Webhook-Signature. */
export function genuine(raw, header, signingSecret) {
  const want = Buffer.from(createHmac('sha256', signingSecret).update(raw).digest('hex'));
  const got = Buffer.from(header ?? '');
  return got.length === want.length && timingSafeEqual(got, want);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const client = new Client({
    url: process.env.ENRICHD_URL ?? 'http://127.0.0.1:8080',
    key: process.env.ENRICHD_API_KEY ?? '',
    pollEveryMs: Number(process.env.POLL_EVERY_MS ?? 2000),
  });
  try {
    const run = await client.results(await client.start(process.argv.slice(2)));
    for (const item of run.data) console.log(JSON.stringify(item));
  } catch (error) {
    console.error(`${error.code ?? 'FAILED'}: ${error.message}`, error.details ?? '');
    process.exitCode = 1;
  }
}
