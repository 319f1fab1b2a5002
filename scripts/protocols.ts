/**
 * One rule for each protocol: what is ended here, what is only rewritten, what is answered.
 *
 * The addresses that `nat` puts in the place of the client's are those of the configuration:
 *   nat: { addresses: [198.51.100.7] }
 */
import { type Addr, forward, type GatewayScript, nat, reject } from 'culvert';

/** Questions to any resolver go to ours. */
const RESOLVER_DEFAULT = '10.0.0.53:53';
const DNS = 53;
const HTTPS = 443;

export default {
  flow({ proto, dst }, { vars }) {
    switch (proto) {
      // Over a socket of the gateway: a reply is an answer of the real target, and so is an error.
      case 'icmp':
        return forward();

      case 'udp':
        if (dst.port === DNS) return forward((vars['resolver'] ?? RESOLVER_DEFAULT) as Addr);
        // Browsers come back with TCP.
        if (dst.port === HTTPS) return reject({ reason: 'no QUIC' });
        return nat(undefined, { idleTimeoutMs: 300_000 });

      // The server sees an address of the pool; without `masquerade` it would see the client's.
      case 'tcp':
        return nat();
    }
  },
} satisfies GatewayScript;
