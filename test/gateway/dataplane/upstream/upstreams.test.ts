/** Addresses of upstreams while the configuration changes under dials. */
import { expect, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { dialFailure } from '../../../../src/gateway/dataplane/forward/dial.ts';
import type { Reports } from '../../../../src/gateway/dataplane/reports.ts';
import type { Upstream } from '../../../../src/gateway/dataplane/upstream/upstream.ts';
import { Upstreams } from '../../../../src/gateway/dataplane/upstream/upstreams.ts';
import { ViaDial } from '../../../../src/gateway/dataplane/upstream/via-dial.ts';
import type { UpstreamRule } from '../../../../src/gateway/messages/upstreams.ts';
import type { Instant } from '../../../../src/stack/time.ts';

const NOW = 0 as Instant;
const EGRESS = { fwmark: 0, interface: '', via: '' };
const REFUSED = dialFailure(Errno.ECONNREFUSED);

const web = (...ports: readonly number[]): UpstreamRule => ({
  ...{ name: 'web', id: 1, kind: 'pool', policy: 'failover', retries: 2, sources: [] },
  addresses: ports.map((port) => ({ ip: '10.0.0.1', port })),
  health: { after: 3, forMs: 1000 },
});

/** A pool whose configuration may change. */
function poolOf(...ports: readonly number[]) {
  const reports: Pick<Reports, 'message' | 'isBehind'> = { message: () => true, isBehind: false };
  const upstreams = new Upstreams(reports as Reports);
  const configure = (...next: readonly number[]) =>
    upstreams.configure({ upstreams: [web(...next)], egress: EGRESS });
  configure(...ports);
  const find = () => upstreams.find('web') as Upstream;
  const dial = () => {
    const target = { view: new DataView(new ArrayBuffer(4)), at: 0, family: 4, port: 1 } as const;
    const wish = { mark: undefined, bind: '', connectTimeoutMs: 0 };
    const defaults = { fwmark: 0, interface: '', connectMs: 1000 };
    return new ViaDial(upstreams, find(), { target, wish, defaults, clientHash: 7 });
  };
  const active = () => find().addresses.map((address) => address.active);
  return { upstreams, configure, dial, active };
}

test('a dial that goes on to an address which a reload took away counts nowhere else', () => {
  const { upstreams, configure, dial, active } = poolOf(1, 2);
  const first = dial();
  expect(first.next(NOW)).toBe(true);
  configure(3);
  // The slot that the second address had is taken by another.
  configure(3, 4);
  expect(first.failed(REFUSED, Errno.ECONNREFUSED, NOW)).toBe(true);
  expect(first.next(NOW)).toBe(true);
  expect(first.to.port).toBe(2);
  upstreams.leave(first.slot);
  expect(active()).toEqual([0, 0]);
  // Nobody is at it any more: the slot is free for the next address, and for one only.
  configure(3, 4, 5, 6, 7);
  const slots = upstreams.find('web')?.addresses.map(({ slot }) => slot) ?? [];
  expect(new Set(slots).size).toBe(5);
});
