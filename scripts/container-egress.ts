/**
 * Where containers may go: to names on a list, by HTTP, TLS and QUIC, and to networks on another.
 *
 * What a client says is no proof of where it goes: one that asks for a listed name at an address of
 * its own would get out. So the gateway resolves the name itself, and goes there.
 *
 * Set in the configuration:  scripts: { vars: { resolver: "10.0.0.53" }, sets: { names: …,
 *   networks: … }, load: [{ file: container-egress.ts, allow: ['*:80', '*:443'] }] }
 */
import {
  claim,
  connect,
  forward,
  type GatewayScript,
  type Host,
  reject,
  type Sniffed,
  SocketError,
} from 'culvert';

function nameOf(hello: Sniffed): string {
  if (hello.proto === 'tls') return hello.sni ?? '';
  return hello.proto === 'http' ? (hello.host ?? '') : '';
}

export default {
  sniffs: ['quic'],

  flow({ proto, dst, sniffed }, { sets, vars }) {
    if (sets.has('networks', dst.ip)) return forward();
    // Whichever resolver they ask, ours answers.
    if (dst.port === 53) return forward((vars['resolver'] ?? '10.0.0.53') as Host);
    if (proto === 'tcp' && (dst.port === 80 || dst.port === 443)) return claim({ sniff: true });
    if (sniffed?.proto === 'quic' && dst.port === 443 && sets.has('names', sniffed.sni ?? '')) {
      return forward(`${sniffed.sni}:443`);
    }
    return reject({ with: 'icmp', reason: 'not on the list' });
  },

  async connect(conn, { sets }, { log }) {
    const { src, dst } = conn.flow;
    const name = nameOf(await conn.sniff({ protocols: ['tls', 'http'], timeoutMs: 2000 }));
    if (!sets.has('names', name)) {
      log.info({ container: src.ip, name, to: dst.toString() }, 'not on the list');
      conn.abort('not on the list');
      return;
    }
    try {
      await conn.splice(connect({ hostname: name, port: dst.port }));
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      log.info({ container: src.ip, name, code: error.code }, 'out of reach');
      conn.abort(error.code);
    }
  },
} satisfies GatewayScript;
