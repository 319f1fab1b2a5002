/** What becomes of a flow about which scripts give no verdict: `scripts.onError`, as it is done. */
import { describe, expect, test } from 'bun:test';
import { VERDICT_FAILED } from '../../../src/gateway/messages/decision.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';
import { ScriptedProxy } from '../../support/scripted-proxy.ts';

const SYN = 'S 0:0(0) win 65535 <mss 1460,sackOK,nop,wscale 7>';
const QUIET = 'timeouts: {keepalive: 0s}';
const configOf = (onError: string, more = '') =>
  `${QUIET}\nscripts: {onError: ${onError}}\n${more}`;

const OPENED = Uint8Array.of(5, 0, 0, 1, 10, 0, 0, 1, 0, 80);
const forwardBy = ({ port }: ScriptedProxy) => {
  const upstreams = `upstreams: {out: {proxy: "socks5://127.0.0.1:${port}"}}`;
  return configOf('forward', `${upstreams}\negress: {via: out}`);
};

const failures = (rig: DataPlaneRig) => rig.counters.get(Counter.DECISIONS_FAILED);

/** Ways in which a flow of `rig` gets no verdict. */
const FAILURES: Readonly<Record<string, (rig: DataPlaneRig) => void>> = {
  'there is no script host': (rig) => {
    rig.setHost(undefined);
    rig.peer.sends(SYN);
  },
  'scripts have failed': (rig) => rig.answers(VERDICT_FAILED),
  'the deadline is over': (rig) => {
    rig.peer.sends(SYN);
    rig.expireDecision();
  },
};

describe.each(Object.entries(FAILURES))('%s', (_, fail) => {
  test.each([
    ['reject', 'reject', 'script-failed'],
    ['decline', 'decline', 'unclaimed'],
  ])('%s: the client is refused, and the row says how', (onError, verdict, reason) => {
    using rig = new DataPlaneRig({ port: 0, config: configOf(onError) });
    fail(rig);
    rig.peer.expects('R. 0:0(0) ack 1');
    const closeReason = reason as 'script-failed';
    expect(rig.endedRows).toMatchObject([{ verdict, closeReason, decider: 'fallback' }]);
    expect(failures(rig)).toBe(1);
  });

  test('forward: its destination is dialled as the configuration has it for all', async () => {
    using proxy = new ScriptedProxy([Uint8Array.of(5, 0), OPENED]);
    using rig = new DataPlaneRig({ port: 0, config: forwardBy(proxy) });
    fail(rig);
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    const asked = proxy.connections[0]?.heard[1] ?? [];
    expect([...asked]).toEqual([5, 1, 0, 1, 198, 18, 0, 80, 443 >> 8, 443 & 0xff]);
    rig.peer.sends('R 1:1(0)');
    expect(rig.endedRows).toMatchObject([{ verdict: 'forward', decider: 'fallback' }]);
    expect(failures(rig)).toBe(1);
  });

  test('forward: a dial that would come back into the device is refused', () => {
    using proxy = new ScriptedProxy([]);
    using rig = new DataPlaneRig({ port: 0, config: forwardBy(proxy), device: 'lo' });
    fail(rig);
    expect(rig.endedRows).toMatchObject([{ verdict: 'forward', closeReason: 'dial-loop' }]);
  });
});

test('a reload changes what becomes of the next flow', () => {
  using rig = new DataPlaneRig({ port: 0, config: configOf('decline') });
  rig.configure(configOf('reject'));
  rig.setHost(undefined);
  rig.peer.sends(SYN);
  expect(rig.ended).toEqual(['script-failed']);
});

test('a verdict that came after a script had failed counts as a failure, too', () => {
  using rig = new DataPlaneRig({ port: 0, config: configOf('decline') });
  rig.claim();
  expect(failures(rig)).toBe(0);
  const other = rig.newPeer({ port: 40_001 });
  rig.claim(other, 2, true);
  expect(failures(rig)).toBe(1);
});
