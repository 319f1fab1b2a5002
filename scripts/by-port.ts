/**
 * Sends flows to different places by the port that the client asked for.
 *
 * Set the places in the configuration:  scripts: { vars: { web: "10.0.0.10:8080" } }
 */
import { type Addr, decline, forward, type GatewayScript, reject } from 'culvert';

export default {
  flow({ proto, dst }, { vars }) {
    switch (dst.port) {
      case 80:
      case 8080:
        return forward((vars['web'] ?? '127.0.0.1:8080') as Addr);

      // The server learns the client's address from a PROXY protocol header, which is for TCP.
      // A browser whose QUIC is refused comes back with TCP.
      case 443:
        if (proto !== 'tcp') return reject({ reason: 'no QUIC here' });
        return forward((vars['tls'] ?? '127.0.0.1:8443') as Addr, { proxyProtocol: 2 });

      // Where the client wanted to go, but not for ever: an hour of silence ends it.
      case 22:
        return forward(undefined, { idleTimeoutMs: 3_600_000 });

      // Mail from here would be spam.
      case 25:
        return reject({ with: 'icmp', reason: 'no mail from this network' });

      // Another script may know. When none does, the flow is rejected.
      default:
        return decline();
    }
  },
} satisfies GatewayScript;
