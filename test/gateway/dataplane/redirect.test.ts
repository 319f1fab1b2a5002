/** Flows that a script gives to a listener of the configuration. */
import { describe, expect, test } from 'bun:test';
import { monotonicNow } from '../../../src/ffi/clock.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { after, seconds } from '../../../src/stack/time.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';
import { tcpServer } from '../../support/tcp-server.ts';

/** None of them takes what the client of the rig asks for. */
const listeners = (port: number): string => `
timeouts: { keepalive: 0s, tarpit: 1h }
listeners:
  - { name: web, ports: 1, action: forward, to: '127.0.0.1:${port}', idle: 7s }
  - { name: no, ports: 1, action: reject, with: icmp }
  - { name: hush, ports: 1, action: drop }
  - { name: trap, ports: 1, action: reject, with: tarpit }
  - { name: dns, protocol: udp, ports: 1, action: forward }
  - { name: all, protocol: any, destination: 10.0.0.0/8, action: reject }
`;
const rigOf = (via: string, port = 1) =>
  new DataPlaneRig({ port: 0, via, config: listeners(port) });

test('are forwarded as it says: target, idle time', async () => {
  using server = await tcpServer();
  using rig = rigOf('web', server.port);
  const row = rig.redirect();
  await rig.until(() => rig.frames.length > 0);
  rig.peer.expects('S. 0:0(0) ack 1');
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  expect(rig.row(row)).toMatchObject({
    ...{ verdict: 'redirect', decider: 'script', phase: 'open' },
    upstream: { ip: '127.0.0.1', port: server.port },
  });
  rig.stack.expire(after(monotonicNow(), seconds(6)));
  expect(rig.ended).toEqual([]);
  rig.stack.expire(after(monotonicNow(), seconds(8)));
  expect(rig.ended).toEqual(['idle']);
});

describe('are refused as it says', () => {
  test.each([
    ['no', 'rejected'],
    ['hush', 'dropped'],
    ['all', 'rejected'],
  ])('%s: %s', (name, closeReason) => {
    using rig = rigOf(name);
    rig.redirect();
    expect(rig.endedRows[0]).toMatchObject({
      verdict: 'redirect',
      closeReason,
      closedBy: 'script',
    });
  });

  test('or held', () => {
    using rig = rigOf('trap');
    rig.redirect();
    rig.peer.expects('S. 0:0(0) ack 1 win 0');
  });
});

test('of another protocol are refused as unfit', () => {
  using rig = rigOf('dns');
  rig.redirect();
  expect(rig.endedRows[0]).toMatchObject({ verdict: 'redirect', closeReason: 'verdict-unfit' });
});

test('fail closed where there is none of that name, or none any more', () => {
  using rig = rigOf('web');
  rig.configure('timeouts: { keepalive: 0s }');
  rig.redirect();
  rig.peer.expects('R. 0:0(0) ack 1');
  expect(rig.ended).toEqual(['script-failed']);
  expect(rig.counters.get(Counter.DECISIONS_FAILED)).toBe(1);
});
