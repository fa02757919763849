// Runs the 61 server audits of graphql-http against GRAPHQL_URL and fails
// unless every one is ok: warnings and notices count as failures.
import { auditServer } from 'graphql-http';

const url = process.env.GRAPHQL_URL;
const results = await auditServer({
  url,
  fetchFn: (input, init = {}) =>
    fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${process.env.GRAPHQL_KEY}` } }),
});
const counts = { ok: 0, notice: 0, warn: 0, error: 0 };
for (const r of results) {
  counts[r.status]++;
  if (r.status !== 'ok') console.log(`${r.status} ${r.id} ${r.name}: ${r.reason}`);
}
console.log(JSON.stringify({ audits: results.length, ...counts }));
process.exit(results.length === 61 && counts.ok === 61 ? 0 : 1);
