import { expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { NO_ADDRESS, POOL_ADDRESSES_MAX, Pool } from '../../../src/stack/nat/pool.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { formatAddress, parseAddress, writeAddress } from '../../../src/stack/wire/ip-address.ts';

const bytesOf = (text: string): Uint8Array => parseAddress(text) as Uint8Array;

/** A pool, asked with text. */
class Asked {
  readonly #arena = new Arena(new ArrayBuffer(Pool.BYTES + 128));
  readonly pool = new Pool(this.#arena, new HalfSipHash(1, 2));
  readonly #at = this.#arena.take(16);

  set(...addresses: string[]): this {
    this.pool.set(addresses.map(bytesOf));
    return this;
  }

  addressFor(client: string): string | undefined {
    const length = this.#write(client);
    const at = this.pool.addressFor(this.#at, length);
    return at === NO_ADDRESS ? undefined : formatAddress(this.#arena.view, at, length);
  }

  has(address: string): boolean {
    return this.pool.has(this.#at, this.#write(address));
  }

  #write(address: string): number {
    return writeAddress(address, this.#arena.view, this.#at) === 4 ? 4 : 16;
  }
}

test('a client gets the same address each time, and clients share all of them', () => {
  const pool = new Asked().set('192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::9');
  const clients = Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`);
  const given = clients.map((client) => pool.addressFor(client));
  expect(new Set(given)).toEqual(new Set(['192.0.2.1', '192.0.2.2', '192.0.2.3']));
  expect(clients.map((client) => pool.addressFor(client))).toEqual(given);
});

test('each family has its own addresses, or none', () => {
  const pool = new Asked().set('2001:db8::9');
  expect(pool.addressFor('fd00::1')).toBe('2001:db8::9');
  expect(pool.addressFor('10.0.0.1')).toBeUndefined();
  expect(pool.set().addressFor('fd00::1')).toBeUndefined();
});

test('the pool knows its addresses', () => {
  const pool = new Asked().set('192.0.2.1', '2001:db8::9');
  expect(['192.0.2.1', '2001:db8::9', '192.0.2.2', '2001:db8::1'].map((a) => pool.has(a))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(pool.set('192.0.2.2').has('192.0.2.1')).toBe(false);
});

test('there is room for so many addresses of each family, and no more', () => {
  const ipv4 = Array.from({ length: POOL_ADDRESSES_MAX }, (_, i) => `192.0.2.${i}`);
  const ipv6 = ipv4.map((_, i) => `2001:db8::${i.toString(16)}`);
  const pool = new Asked().set(...ipv4, ...ipv6);
  expect([...ipv4, ...ipv6].every((address) => pool.has(address))).toBe(true);
  expect(() => pool.set(...ipv4, '198.51.100.1')).toThrow('at most 256');
});
