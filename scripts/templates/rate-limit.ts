import { forward, type GatewayScript, reject } from 'culvert';

const MOST = 100;
const WINDOW_MS = 60_000;

export default {
  flow(f, env) {
    const count = env.KV.incr(`flows:${f.src.ip}`, 1, { ttlMs: WINDOW_MS, evict: true });
    return count > MOST ? reject({ reason: 'too many flows' }) : forward();
  },
} satisfies GatewayScript;
