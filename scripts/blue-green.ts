/**
 * Two versions of a service, blue and green. A share of the clients meets green, and each client
 * always the same version, so that nobody changes sides in the middle of a visit.
 *
 * Set in the configuration:
 *   scripts: { vars: { green: "10", release: "2.4.0" }, sets: { testers: … } }
 */
import { decline, forward, type GatewayScript } from 'culvert';
import { clientOf, shareOf } from './lib/client.ts';

const BLUE = '10.0.1.10:8080';
const GREEN = '10.0.2.10:8080';

export default {
  flow({ proto, src, dst }, { sets, vars }) {
    if (proto !== 'tcp' || dst.port !== 80) return decline();
    // People who want to see green before anybody else does.
    if (sets.has('testers', src.ip)) return forward(GREEN, { proxyProtocol: 2 });
    // With the release in the hash, not always the same clients go first.
    const share = shareOf(`${vars['release'] ?? ''} ${clientOf(src)}`);
    return forward(share < Number(vars['green'] ?? 0) ? GREEN : BLUE, { proxyProtocol: 2 });
  },
} satisfies GatewayScript;
