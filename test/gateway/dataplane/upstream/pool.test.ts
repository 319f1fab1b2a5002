import { describe, expect, test } from 'bun:test';
import { mixed, UpstreamAddress } from '../../../../src/gateway/dataplane/upstream/address.ts';
import { NO_ADDRESS, Pool } from '../../../../src/gateway/dataplane/upstream/pool.ts';
import type { PoolPolicy } from '../../../../src/gateway/messages/upstreams.ts';
import type { Instant } from '../../../../src/stack/time.ts';

const HEALTH = { after: 3, forMs: 10_000 };
const SECOND = 1_000_000;
const at = (seconds: number) => (seconds * SECOND) as Instant;

function poolOf(policy: PoolPolicy, count = 3) {
  const addresses = Array.from(
    { length: count },
    (_, i) => new UpstreamAddress({ ip: `10.0.0.${i + 1}`, port: 80 }),
  );
  return { addresses, pool: new Pool(addresses, policy, HEALTH) };
}

const untried = () => new Uint8Array(8);

/** What so many flows choose, one after the other. */
const picks = (pool: Pool, count: number, client = 7, now = at(0)) =>
  Array.from({ length: count }, () => pool.pick(untried(), client, now));

function breakDown(address: UpstreamAddress, now = at(0)): void {
  for (let i = 0; i < HEALTH.after; i++) {
    address.begin(HEALTH);
    address.failed(HEALTH, 'ECONNREFUSED', true, now);
    address.active--;
  }
}

describe('policies', () => {
  test('round-robin goes round', () => {
    expect(picks(poolOf('round-robin').pool, 7)).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  test('failover takes the first', () => {
    expect(picks(poolOf('failover').pool, 3)).toEqual([0, 0, 0]);
  });

  test('least-connections takes the one with the fewest, and goes round among equals', () => {
    const { pool, addresses } = poolOf('least-connections');
    expect(picks(pool, 3)).toEqual([0, 1, 2]);
    addresses[0]!.active = 2;
    addresses[1]!.active = 1;
    addresses[2]!.active = 2;
    expect(picks(pool, 2)).toEqual([1, 1]);
  });

  test('source-hash keeps a client where it is, and spreads clients evenly', () => {
    const { pool } = poolOf('source-hash');
    const counts = [0, 0, 0];
    for (let client = 0; client < 3000; client++) {
      const [first, again] = picks(pool, 2, mixed(client));
      expect(again).toBe(first!);
      counts[first!]!++;
    }
    for (const count of counts) expect(count).toBeWithin(850, 1150);
  });

  test('source-hash moves the clients of an address that goes, and no others', () => {
    const { pool, addresses } = poolOf('source-hash');
    const before = Array.from({ length: 500 }, (_, client) => picks(pool, 1, mixed(client))[0]!);
    breakDown(addresses[1]!);
    const after = before.map((_, client) => picks(pool, 1, mixed(client))[0]!);
    before.forEach((address, client) => {
      if (address === 1) expect(after[client]).not.toBe(1);
      else expect(after[client]).toBe(address);
    });
  });
});

describe('a flow that tries again', () => {
  test.each(['round-robin', 'least-connections', 'source-hash', 'failover'] as const)(
    'meets each address of %s once',
    (policy) => {
      const { pool } = poolOf(policy, 4);
      const tried = untried();
      const met = new Set<number>();
      for (let i = 0; i < 4; i++) {
        const position = pool.pick(tried, 7, at(0));
        met.add(position);
        tried[position] = 1;
      }
      expect(met).toEqual(new Set([0, 1, 2, 3]));
      expect(pool.pick(tried, 7, at(0))).toBe(NO_ADDRESS);
    },
  );
});

describe('health', () => {
  test('an address is left out after three failures in a row', () => {
    const { pool, addresses } = poolOf('failover');
    const first = addresses[0]!;
    for (let i = 0; i < 2; i++) expect(first.failed(HEALTH, 'x', true, at(0))).toBe(false);
    expect(picks(pool, 1)).toEqual([0]);
    expect(first.failed(HEALTH, 'x', true, at(0))).toBe(true);
    expect(picks(pool, 2)).toEqual([1, 1]);
  });

  test('a success in between begins the count anew', () => {
    const first = poolOf('failover').addresses[0]!;
    first.failed(HEALTH, 'x', true, at(0));
    first.failed(HEALTH, 'x', true, at(0));
    expect(first.succeeded(HEALTH)).toBe(false);
    first.failed(HEALTH, 'x', true, at(0));
    expect(first.isDown(HEALTH)).toBe(false);
  });

  test('what is not its fault does not count', () => {
    const first = poolOf('failover').addresses[0]!;
    for (let i = 0; i < 9; i++) first.failed(HEALTH, 'EMFILE', false, at(0));
    expect(first.isDown(HEALTH)).toBe(false);
  });

  test('when the time is over one flow tries it, and the others do not wait for that', () => {
    const { pool, addresses } = poolOf('failover');
    breakDown(addresses[0]!);
    expect(picks(pool, 1, 7, at(9))).toEqual([1]);
    expect(picks(pool, 1, 7, at(10))).toEqual([0]);
    addresses[0]!.begin(HEALTH);
    expect(picks(pool, 1, 7, at(10))).toEqual([1]);
    expect(addresses[0]!.succeeded(HEALTH)).toBe(true);
    expect(picks(pool, 1, 7, at(10))).toEqual([0]);
  });

  test('a try that fails leaves it out for as long again', () => {
    const { pool, addresses } = poolOf('failover');
    breakDown(addresses[0]!);
    addresses[0]!.begin(HEALTH);
    expect(addresses[0]!.failed(HEALTH, 'x', true, at(10))).toBe(false);
    expect(picks(pool, 1, 7, at(19))).toEqual([1]);
    expect(picks(pool, 1, 7, at(20))).toEqual([0]);
  });

  test('a try whose client went away lets another one try', () => {
    const { pool, addresses } = poolOf('failover');
    breakDown(addresses[0]!);
    addresses[0]!.begin(HEALTH);
    addresses[0]!.abandoned();
    expect(picks(pool, 1, 7, at(10))).toEqual([0]);
  });

  test('when all are left out, they are tried all the same', () => {
    const { pool, addresses } = poolOf('failover');
    for (const address of addresses) breakDown(address);
    expect(picks(pool, 1)).toEqual([0]);
  });

  test('`after: 0` never leaves out', () => {
    const address = new UpstreamAddress({ ip: 'fd00::5', port: 8443 });
    const never = { after: 0, forMs: 1000 };
    for (let i = 0; i < 9; i++) address.failed(never, 'x', true, at(0));
    expect(address.isDown(never)).toBe(false);
    expect(address.text).toBe('[fd00::5]:8443');
  });
});
