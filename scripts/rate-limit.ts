/**
 * Lets each client open so many connections in ten seconds, and so many in ten minutes; what is
 * more meets silence. The counts are in the KV store, so they survive a reload of this script.
 *
 * Set in the configuration:  scripts: { vars: { burst: "20", sustained: "300" } }
 */
import { decline, type GatewayScript, reject } from 'culvert';
import { clientOf } from './lib/client.ts';

const WINDOWS = [
  { name: 'burst', lengthMs: 10_000, most: 20 },
  { name: 'sustained', lengthMs: 600_000, most: 300 },
];

export default {
  flow({ src }, { KV, vars }, { log }) {
    const client = clientOf(src);
    for (const { name, lengthMs, most } of WINDOWS) {
      const limit = Number(vars[name] ?? most);
      // The entry is made with the first connection and forgotten when the window has passed.
      // Where a flood of clients fills the KV, the oldest counts go, and new clients still come in.
      const count = KV.incr(`${name} ${client}`, 1, { ttlMs: lengthMs, evict: true });
      if (count <= limit) continue;
      // Once for each window: a flood of connections is no flood of lines.
      if (count === limit + 1) log.warn({ client, limit, window: name }, 'too many connections');
      return reject({ with: 'drop', reason: `over the ${name} limit` });
    }
    return decline();
  },
} satisfies GatewayScript;
