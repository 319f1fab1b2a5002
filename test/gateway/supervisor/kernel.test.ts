import { describe, expect, test } from 'bun:test';
import { Errno } from '../../../src/ffi/errno.ts';
import { SystemError } from '../../../src/ffi/errors.ts';
import { parseCidr } from '../../../src/gateway/config/values.ts';
import { addAddresses, maskHostBits } from '../../../src/gateway/supervisor/kernel.ts';

describe('where IPv6 is disabled', () => {
  const addresses = ['fd00::1/64', '10.0.0.1/24'].flatMap((text) => parseCidr(text) ?? []);
  const refusal = new SystemError(Errno.EACCES, 'netlink(RTM_NEWADDR)');

  /** Adds to a kernel that refuses one family. */
  function addWithout(family: 4 | 6, onNoIpv6?: (error: SystemError) => void): string[] {
    const added: string[] = [];
    addAddresses(
      addresses,
      (address) => {
        if (address.family === family) throw refusal;
        added.push(address.ip);
      },
      onNoIpv6,
    );
    return added;
  }

  test('the embedded default goes on with IPv4, and says so', () => {
    const told: SystemError[] = [];
    expect(addWithout(6, (error) => told.push(error))).toEqual(['10.0.0.1']);
    expect(told).toEqual([refusal]);
  });

  test('a config that asks for it fails with the hint', () =>
    expect(() => addWithout(6)).toThrow('IPv6 is disabled on this interface'));

  test('a refusal of IPv4 is an error, always', () =>
    expect(() => addWithout(4, () => {})).toThrow(SystemError));
});

test.each([
  [[10, 1, 2, 3], 8, [10, 0, 0, 0]],
  [[198, 19, 255, 1], 15, [198, 18, 0, 0]],
  [[10, 1, 2, 3], 32, [10, 1, 2, 3]],
  [[10, 1, 2, 3], 0, [0, 0, 0, 0]],
])('a route to %p/%d goes to %p', (address, prefixLength, destination) =>
  expect([...maskHostBits(new Uint8Array(address), prefixLength)]).toEqual(destination),
);
