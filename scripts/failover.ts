/**
 * Several servers behind one address, each with its own copy of the TLS certificate: the first that
 * answers gets the connection. One that did not answer is asked last for a while; the KV remembers
 * it for all connections, also after a reload.
 */
import { type Addr, claim, connect, decline, type GatewayScript, SocketError } from 'culvert';

/** At most four: as many sockets as a connection may open (`ctx.limits.socketsPerFlow`). */
const SERVERS: readonly Addr[] = ['10.0.0.11:443', '10.0.0.12:443', '10.0.0.13:443'];
const CONNECT_MS = 1_000;
const DOWN_MS = 10_000;

export default {
  flow({ proto, dst }) {
    return proto === 'tcp' && dst.port === 443 ? claim() : decline();
  },

  async connect(conn, { KV }, { log, metrics }) {
    const isDown = (server: Addr) => Number(KV.get(`down ${server}`) ?? 0);
    // In their order otherwise. When all are down, all are tried.
    for (const server of SERVERS.toSorted((a, b) => isDown(a) - isDown(b))) {
      const upstream = connect(server, { connectTimeoutMs: CONNECT_MS, proxyProtocol: 2 });
      try {
        await upstream.opened;
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        KV.set(`down ${server}`, 1, { ttlMs: DOWN_MS });
        metrics.counter('server_failures', { server, code: error.code }).inc();
        log.warn({ server, code: error.code }, 'server is down');
        continue;
      }
      KV.delete(`down ${server}`);
      await conn.splice(upstream);
      return;
    }
    conn.abort('no server answers');
  },
} satisfies GatewayScript;
