/**
 * A page for the time of maintenance: who comes to a website gets "503, come back later" from the
 * gateway itself. Testers get through, and so does all that is no HTTP.
 *
 * Set in the configuration:  scripts: { vars: { maintenance: "on" }, sets: { testers: … } }
 */
import { claim, decline, type GatewayScript, reject } from 'culvert';

const PAGE = `<!doctype html>
<title>Back soon</title>
<h1>We are working on it</h1>
<p>Please come back in a few minutes.</p>
`;

const HEAD = [
  'HTTP/1.1 503 Service Unavailable',
  'Content-Type: text/html; charset=utf-8',
  `Content-Length: ${new TextEncoder().encode(PAGE).length}`,
  'Retry-After: 300',
  'Cache-Control: no-store',
  'Connection: close',
  '\r\n',
].join('\r\n');

export default {
  flow({ src, dst }, { sets, vars }) {
    if (vars['maintenance'] !== 'on' || sets.has('testers', src.ip)) return decline();
    // Without the key of the website nobody can say anything in its name.
    if (dst.port === 443) return reject({ reason: 'maintenance' });
    return dst.port === 80 ? claim({ sniff: true }) : decline();
  },

  async connect(conn) {
    const request = await conn.sniff({ protocols: ['http'], timeoutMs: 5000 });
    if (request.proto !== 'http') return;
    await conn.write(request.method === 'HEAD' ? HEAD : HEAD + PAGE);
  },
} satisfies GatewayScript;
