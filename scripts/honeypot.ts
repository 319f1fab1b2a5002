/**
 * A tarpit for whoever tries ports where nobody should be: the connection is taken, and a line
 * comes every 15 seconds, for five minutes. RFC 4253 §4.2 lets an SSH server say lines before its
 * version, so a scanner waits for it. Who was caught is in the log once an hour.
 *
 * Set in the configuration:  scripts: { vars: { held: "200" } }
 */
import {
  type BaseEnv,
  type Conn,
  claim,
  decline,
  type GatewayScript,
  reject,
  SocketError,
} from 'culvert';

const TRAPS: readonly number[] = [22, 23, 2222, 3389, 5900];
const LINE_MS = 15_000;
const LINES = 20;
/** Each takes memory of ours too: what is more meets silence. */
const HELD_DEFAULT = 200;

/** Of this generation; a reload begins at none, and what was held before goes on to its end. */
let held = 0;

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

const heldMax = (vars: BaseEnv['vars']): number => Number(vars['held'] ?? HELD_DEFAULT);

async function drip(conn: Conn): Promise<void> {
  for (let line = 0; line < LINES; line++) {
    await sleep(LINE_MS);
    await conn.write(`${Math.random().toString(36).slice(2)}\r\n`);
  }
}

export default {
  flow({ proto, src, dst }, { KV, vars }, { log }) {
    if (proto !== 'tcp' || !TRAPS.includes(dst.port)) return decline();
    if (KV.add(`caught ${src.ip}`, dst.port, { ttlMs: 3_600_000 })) {
      log.warn({ client: src.ip, port: dst.port }, 'caught');
    }
    return held < heldMax(vars) ? claim() : reject({ with: 'drop' });
  },

  async connect(conn, { vars }, { log, metrics }) {
    const gauge = metrics.gauge('held');
    const since = performance.now();
    gauge.set(++held);
    const letGo = () => {
      gauge.set(--held);
      const seconds = Math.round((performance.now() - since) / 1000);
      log.info({ client: conn.flow.src.ip, seconds }, 'let go');
    };
    // However it ends.
    conn.closed.then(letGo, letGo);
    // More than one can have been claimed for the last place.
    if (held > heldMax(vars)) return;
    await drip(conn).catch((error: unknown) => {
      // The client is gone.
      if (!(error instanceof SocketError)) throw error;
    });
  },
} satisfies GatewayScript;
