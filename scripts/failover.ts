/**
 * Several servers behind one address, each with its own copy of the TLS certificate: the first that
 * answers gets the connection. A health check dials all of them every few seconds, so that no
 * client has to find out that one is down; what is known lies in the KV, also after a reload.
 */
import {
  type Addr,
  type BaseEnv,
  type Ctx,
  claim,
  connect,
  decline,
  type GatewayScript,
  SocketError,
} from 'culvert';

/** At most four: as many sockets as a connection may open (`ctx.limits.socketsPerFlow`). */
const SERVERS: readonly Addr[] = ['10.0.0.11:443', '10.0.0.12:443', '10.0.0.13:443'];
const CONNECT_MS = 1_000;
/** Longer than a period of the health check: without one, clients try again then. */
const DOWN_MS = 10_000;

export default {
  flow({ proto, dst }) {
    return proto === 'tcp' && dst.port === 443 ? claim() : decline();
  },

  async connect(conn, env, ctx) {
    const isDown = (server: Addr) => Number(env.KV.get(`down ${server}`) ?? 0);
    // In their order otherwise. When all are down, all are tried.
    for (const server of SERVERS.toSorted((a, b) => isDown(a) - isDown(b))) {
      const upstream = connect(server, { connectTimeoutMs: CONNECT_MS, proxyProtocol: 2 });
      if (!(await answers(server, upstream.opened, env, ctx))) continue;
      await conn.splice(upstream);
      return;
    }
    conn.abort('no server answers');
  },

  async scheduled(_event, env, ctx) {
    await Promise.all(
      SERVERS.map(async (server) => {
        const probe = connect(server, { connectTimeoutMs: CONNECT_MS });
        if (await answers(server, probe.opened, env, ctx)) await probe.close();
      }),
    );
  },
} satisfies GatewayScript;

/** Waits for a dial, and remembers how it went. */
async function answers(
  server: Addr,
  opened: Promise<unknown>,
  { KV }: BaseEnv,
  { log, metrics }: Ctx,
): Promise<boolean> {
  try {
    await opened;
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
    const { code } = error;
    if (KV.get(`down ${server}`) === undefined) log.warn({ server, code }, 'server is down');
    KV.set(`down ${server}`, 1, { ttlMs: DOWN_MS });
    metrics.counter('server_failures', { server, code }).inc();
    return false;
  }
  if (KV.delete(`down ${server}`)) log.info({ server }, 'server is back');
  return true;
}
