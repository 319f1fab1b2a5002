/**
 * One address for a PostgreSQL primary and its replicas: a session that says at its start that it
 * only reads goes to a replica, by turns. It says so by its user, whose name ends in `_ro`, or by
 *
 *   PGOPTIONS='-c default_transaction_read_only=on' psql …
 *
 * The start-up message has to be readable, so the way from the client to here is not encrypted.
 */
import { type Addr, type Conn, claim, connect, decline, type GatewayScript } from 'culvert';
import { type PostgresHello, readPostgres } from './lib/postgres.ts';

const PRIMARY: Addr = '10.0.0.20:5432';
const REPLICAS: readonly Addr[] = ['10.0.0.21:5432', '10.0.0.22:5432'];
const READS_ONLY = /(?:^|\s)-c\s*default_transaction_read_only=(?:on|true|1)(?:\s|$)/;
const ENCRYPTION_LENGTH = 8;
/** TLS, then GSS, then in the clear. */
const HELLOS_MAX = 3;

/** What the client wants, once it knows that nobody encrypts here. */
async function hear(conn: Conn): Promise<Exclude<PostgresHello, { proto: 'encryption' }>> {
  for (let i = 0; i < HELLOS_MAX; i++) {
    const hello = await conn.sniff({ with: readPostgres, timeoutMs: 5000 });
    if (hello.proto === 'unknown') break;
    if (hello.proto !== 'encryption') return hello;
    // It waits for the answer; whatever follows at once is an attempt to smuggle something in.
    const asked = await conn.read();
    if (asked?.length !== ENCRYPTION_LENGTH) break;
    await conn.write('N');
  }
  throw new Error('no PostgreSQL client');
}

export default {
  flow({ proto, dst }) {
    return proto === 'tcp' && dst.port === 5432 ? claim({ sniff: true }) : decline();
  },

  async connect(conn, { KV }) {
    const hello = await hear(conn);
    const { user = '', options = '' } =
      hello.proto === 'startup' ? Object.fromEntries(hello.parameters) : {};
    const readsOnly = user.endsWith('_ro') || READS_ONLY.test(options);
    const replica = REPLICAS[KV.incr('turn') % REPLICAS.length];
    await conn.splice(connect((readsOnly && replica) || PRIMARY));
  },
} satisfies GatewayScript;
