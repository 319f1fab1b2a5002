/**
 * Lets only listed clients through, and leaves the rest of the decision to the scripts after it.
 *
 * Set the list in the configuration:  scripts: { vars: { allow: "10.0.0.0/8 192.0.2.7" } }
 */
import { decline, type GatewayScript, reject } from 'culvert';

/** An IPv4 address as a number; undefined for anything else. */
function toNumber(ip: string): number | undefined {
  const bytes = ip.split('.').map(Number);
  if (bytes.length !== 4 || bytes.some((byte) => !(byte >= 0 && byte <= 255))) return undefined;
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** Whether `ip` lies in `block`: `10.0.0.0/8`, or a single address of either family. */
function isInside(ip: string, block: string): boolean {
  const [base = '', bits] = block.split('/');
  if (bits === undefined) return ip === base;
  const [address, start] = [toNumber(ip), toNumber(base)];
  if (address === undefined || start === undefined) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(address / size) === Math.floor(start / size);
}

export default {
  flow({ src }, { vars }, { log }) {
    const allowed = (vars['allow'] ?? '').split(' ').some((block) => isInside(src.ip, block));
    if (allowed) return decline();
    log.info({ client: src.ip }, 'not on the list');
    return reject({ reason: 'not on the list' });
  },
} satisfies GatewayScript;
