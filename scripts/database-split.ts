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

type Wish = Exclude<PostgresHello, { proto: 'encryption' }>;

/** What the client wants, once it knows that nobody encrypts here; nothing of a stranger. */
async function hear(conn: Conn): Promise<Wish | undefined> {
  for (let i = 0; i < HELLOS_MAX; i++) {
    const hello = await conn.sniff({ with: readPostgres, timeoutMs: 5000 });
    if (hello.proto === 'unknown') return undefined;
    if (hello.proto !== 'encryption') return hello;
    // It waits for the answer; whatever follows at once is an attempt to smuggle something in.
    let length = 0;
    while (length < ENCRYPTION_LENGTH) length += (await conn.read())?.length ?? Infinity;
    if (length > ENCRYPTION_LENGTH) return undefined;
    await conn.write('N');
  }
  return undefined;
}

export default {
  flow({ proto, dst }) {
    return proto === 'tcp' && dst.port === 5432 ? claim({ sniff: true }) : decline();
  },

  async connect(conn, { KV }) {
    const hello = await hear(conn);
    if (hello === undefined) {
      conn.abort('no PostgreSQL client');
      return;
    }
    const { user = '', options = '' } =
      hello.proto === 'startup' ? Object.fromEntries(hello.parameters) : {};
    const readsOnly = user.endsWith('_ro') || READS_ONLY.test(options);
    const replica = readsOnly ? REPLICAS[KV.incr('turn') % REPLICAS.length] : undefined;
    await conn.splice(connect(replica ?? PRIMARY));
  },
} satisfies GatewayScript;
