import { expect, test } from 'bun:test';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import { closedAddresses } from '../../../../src/gateway/supervisor/scripts/closed-addresses.ts';
import { Egress } from '../../../../src/scripts-runtime/conns/egress.ts';

const closedOf = (yaml: string): string[] => closedAddresses(parseConfig(yaml, 'test.yaml'));

test('the device, local addresses and the pool of NAT are the gateway itself', () => {
  const closed = closedOf(`
device: { addresses: [198.18.0.1/15, 'fd00::1/64'] }
nat: { addresses: [198.51.100.1] }
`);
  expect(closed).toEqual(['198.18.0.1:*', '[fd00::1]:*', '198.51.100.1:*']);
  // They are of the form that scripts are given.
  expect(() => new Egress(undefined, closed)).not.toThrow();
});

test.each([
  ['unix:///run/x.sock', []],
  ['127.0.0.1:9090', ['127.0.0.1:9090']],
  ["'[::1]:9090'", ['[::1]:9090']],
  ['0.0.0.0:9090', ['*:9090']],
])('an admin API on %s', (listen, expected) => {
  const token = 'token: 0123456789abcdef0123';
  expect(closedOf(`admin: { listen: ${listen}, ${token} }`)).toEqual(expected);
});
