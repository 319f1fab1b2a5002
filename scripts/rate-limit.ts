/**
 * Lets each client open so many connections in ten seconds; what is more meets silence.
 *
 * The counts are kept in the KV store, so they survive a reload of this script.
 */
import { decline, type GatewayScript, reject } from 'culvert';

const WINDOW_MS = 10_000;
const LIMIT_DEFAULT = 20;

export default {
  flow({ src }, { KV, vars }) {
    const limit = Number(vars['connections'] ?? LIMIT_DEFAULT);
    // The entry is made with the first connection and forgotten when the window has passed.
    const count = KV.incr(`seen:${src.ip}`, 1, { ttlMs: WINDOW_MS });
    return count <= limit ? decline() : reject({ with: 'drop', reason: 'too many connections' });
  },
} satisfies GatewayScript;
