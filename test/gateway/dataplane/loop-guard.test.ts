import { describe, expect, test } from 'bun:test';
import { TunDevice } from '../../../src/ffi/tun-device.ts';
import { LoopGuard } from '../../../src/gateway/dataplane/loop-guard.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';
import { ip, isRoot, NetworkNamespace } from '../../ffi/support/namespace.ts';

const view = new DataView(new ArrayBuffer(16));
const at = (seconds: number) => (seconds * 1_000_000) as Instant;

/** Would a dial to `ip` come back into `device`? */
function loops(guard: LoopGuard, ip: string, now: Instant, mark = 0): boolean {
  const family = writeAddress(ip, view, 0) === 4 ? 4 : 6;
  return guard.isLoop(view, 0, family, mark, 0, now);
}

describe.skipIf(!isRoot)('loop guard', () => {
  test('what is routed into the own device is a loop, unless a mark leads away', () => {
    using _ = new NetworkNamespace();
    using device = TunDevice.open({ name: 'cvtloop0', offload: false });
    ip('addr', 'add', '10.77.0.1/24', 'dev', device.name);
    ip('addr', 'add', 'fd77::1/64', 'dev', device.name, 'nodad');
    ip('link', 'set', device.name, 'up');
    ip('rule', 'add', 'fwmark', '7', 'table', '77');
    ip('route', 'add', 'local', '10.77.0.0/24', 'dev', 'lo', 'table', '77');
    const guard = new LoopGuard(device.name);
    expect(loops(guard, '10.77.0.9', at(1))).toBe(true);
    expect(loops(guard, 'fd77::9', at(1))).toBe(true);
    expect(loops(guard, '127.0.0.1', at(1))).toBe(false);
    expect(loops(guard, '10.77.0.9', at(1), 7)).toBe(false);
    expect(loops(guard, '192.0.2.1', at(1))).toBe(false);
  });

  test('a route that changes is seen within a second', () => {
    using _ = new NetworkNamespace();
    using device = TunDevice.open({ name: 'cvtloop1', offload: false });
    ip('addr', 'add', '10.78.0.1/24', 'dev', device.name);
    ip('link', 'set', device.name, 'up');
    const guard = new LoopGuard(device.name);
    expect(loops(guard, '10.78.0.9', at(1))).toBe(true);
    ip('route', 'add', 'local', '10.78.0.9', 'dev', 'lo');
    expect(loops(guard, '10.78.0.9', at(1.5))).toBe(true);
    expect(loops(guard, '10.78.0.9', at(2.1))).toBe(false);
  });

  test('another device, or another name of it, is known from the next question on', () => {
    using _ = new NetworkNamespace();
    using first = TunDevice.open({ name: 'cvtloop2', offload: false });
    using second = TunDevice.open({ name: 'cvtloop3', offload: false });
    for (const [name, address] of [
      [first.name, '10.79.0.1/24'],
      [second.name, '10.80.0.1/24'],
    ] as const) {
      ip('addr', 'add', address, 'dev', name);
      ip('link', 'set', name, 'up');
    }
    const guard = new LoopGuard(first.name);
    expect(loops(guard, '10.79.0.9', at(1))).toBe(true);
    expect(loops(guard, '10.80.0.9', at(1))).toBe(false);
    guard.setDevice(second.name);
    expect(loops(guard, '10.79.0.9', at(1))).toBe(false);
    expect(loops(guard, '10.80.0.9', at(1))).toBe(true);
  });
});
