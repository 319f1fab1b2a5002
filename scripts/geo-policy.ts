/**
 * Who may come, by where they come from: sets of networks, of which a country's list is one.
 *
 * Set in the configuration, each a file of one network a line:
 *   scripts: { sets: { blocked: …, office: …, country: … } }
 */
import { decline, type GatewayScript, reject } from 'culvert';

/** Ports for administrators: SSH, RDP, a database, Grafana. */
const ADMIN_PORTS: readonly number[] = [22, 3389, 5432, 3000];

export default {
  flow({ src, dst }, { sets }) {
    // They do not even learn that there is somebody.
    if (sets.has('blocked', src.ip)) return reject({ with: 'drop', reason: 'blocked' });
    if (sets.has('office', src.ip)) return decline();
    if (ADMIN_PORTS.includes(dst.port)) return reject({ reason: 'not from the office' });
    if (sets.has('country', src.ip)) return decline();
    return reject({ with: 'icmp', reason: 'not from this country' });
  },
} satisfies GatewayScript;
