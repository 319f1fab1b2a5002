/**
 * Sends TLS connections to different places by the name that the client asks for (SNI). Nothing is
 * decrypted: each place has its own certificate, and hears from whom the connection came.
 */
import { type Addr, claim, connect, decline, type GatewayScript, reject } from 'culvert';

/** A name, or `*.` and a domain for all names below it. The first that fits counts. */
const ROUTES: readonly (readonly [name: string, to: Addr])[] = [
  ['www.example.com', '10.0.0.10:443'],
  ['*.example.com', '10.0.0.20:443'],
];

/** A fatal alert, unrecognized_name: RFC 8446 §6, RFC 6066 §3. Browsers say what is wrong then. */
const UNRECOGNIZED_NAME = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);

const fits = (name: string, pattern: string): boolean =>
  pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) : name === pattern;

export default {
  flow({ proto, dst }) {
    if (dst.port !== 443) return decline();
    // A browser whose QUIC is refused comes back with TCP.
    return proto === 'tcp' ? claim({ sniff: true }) : reject({ reason: 'no QUIC' });
  },

  async connect(conn, _env, { log }) {
    const hello = await conn.sniff({ protocols: ['tls'], timeoutMs: 2000 });
    const name = hello.proto === 'tls' ? (hello.sni ?? '') : '';
    const to = ROUTES.find(([pattern]) => fits(name, pattern))?.[1];
    if (to !== undefined) {
      await conn.splice(connect(to, { proxyProtocol: 2 }));
      return;
    }
    log.info({ name, said: hello.proto }, 'nobody has this name');
    if (hello.proto === 'tls') await conn.write(UNRECOGNIZED_NAME);
  },
} satisfies GatewayScript;
