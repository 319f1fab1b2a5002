/**
 * Port knocking: SSH opens for an address that has knocked at three ports in the right order. All
 * of them look closed, to everybody. It hides SSH from scanners, and replaces no key.
 *
 * Knock:  for p in 7003 7001 7002; do nc -z -w1 HOST $p; done; ssh HOST
 */
import { decline, forward, type GatewayScript, reject } from 'culvert';

/** Not in ascending order, so that a sweep over all ports does not find it. */
const KNOCKS: readonly number[] = [7003, 7001, 7002];
const HIDDEN_PORT = 22;
/** For the next knock, and to log in. What is open stays open. */
const KNOCK_MS = 5_000;
const OPEN_MS = 30_000;

export default {
  flow({ proto, src, dst }, { KV }, { log }) {
    if (proto !== 'tcp') return decline();
    const [done, open] = [`done ${src.ip}`, `open ${src.ip}`];
    if (dst.port === HIDDEN_PORT) return KV.get(open) === undefined ? reject() : forward();
    if (!KNOCKS.includes(dst.port)) return decline();

    const steps = Number(KV.get(done) ?? 0);
    if (dst.port !== KNOCKS[steps]) {
      KV.delete(done);
    } else if (steps + 1 < KNOCKS.length) {
      KV.set(done, steps + 1, { ttlMs: KNOCK_MS });
    } else {
      KV.delete(done);
      KV.set(open, 1, { ttlMs: OPEN_MS });
      log.info({ client: src.ip }, 'knocked');
    }
    return reject();
  },
} satisfies GatewayScript;
