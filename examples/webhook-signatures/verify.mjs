// What two public libraries say of deliveries. Reads from standard input
//
//   {"secrets": ["whsec_…"], "deliveries": [{"headers": {"webhook-id": "…", …}, "body": "…"}]}
//
// and prints, for each library, a list with one list a delivery, of which secrets verify it:
//
//   {"standardwebhooks": [[true, false]], "svix": [[true, false]]}
//
// An integration needs one line of it, new Webhook(secret).verify(body, headers);
// body must be what came, byte for byte.
import { text } from 'node:stream/consumers';
import * as standardwebhooks from 'standardwebhooks';
import * as svix from 'svix';

function verifies({ Webhook, WebhookVerificationError }, secret, { headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

const { secrets, deliveries } = JSON.parse(await text(process.stdin));
const by = (library) => deliveries.map((delivery) => secrets.map((secret) => verifies(library, secret, delivery)));
console.log(JSON.stringify({ standardwebhooks: by(standardwebhooks), svix: by(svix) }));
