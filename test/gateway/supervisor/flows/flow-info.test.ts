import { describe, expect, test } from 'bun:test';
import { flowInfoText } from '../../../../src/gateway/cli/flow-info-text.ts';
import { viewSocket, viewTcp } from '../../../../src/gateway/supervisor/flows/flow-info.ts';
import { viewLiveFlow } from '../../../../src/gateway/supervisor/flows/live-flows.ts';
import { FlowReader } from '../../../../src/stack/layout.ts';
import { TcpRig } from '../../../support/tcp-rig.ts';
import { flowContext } from './flow-memory.ts';

function openFlow() {
  const rig = new TcpRig({ timestamps: true, sack: true });
  rig.connect();
  rig.send(20_000);
  const reader = new FlowReader([rig.memory], rig.limits);
  return { rig, reader, tcb: reader.connection(rig.row) };
}

describe('a connection', () => {
  test('is read from outside as the stack has it', () => {
    const { rig, tcb } = openFlow();
    const own = rig.tcb;
    expect(tcb).toMatchObject({
      congestion: 'cubic',
      recovery: 'open',
      hasTimestamps: true,
      hasSack: true,
      mss: own.mss,
      pathMtu: 1500,
      cwnd: own.cwnd,
      ssthresh: undefined,
      inFlight: own.flightSize,
      sendWindow: own.sndWnd,
      receiveWindow: own.rcvWnd,
      sendSlabs: own.sendSlabBytes,
      sendScale: 7,
    });
    expect(own.flightSize).toBeGreaterThan(10_000);
    expect(tcb.timers.map(({ name }) => name)).toEqual(['probe']);
  });

  test('whose loss is being repaired says so', () => {
    const { rig, reader } = openFlow();
    rig.wait(1500);
    expect(reader.connection(rig.row)).toMatchObject({ recovery: 'loss', backoff: 3 });
  });
});

test('the text has the words of ss, each end on a line of its own', () => {
  const { rig, reader, tcb } = openFlow();
  const flow = viewLiveFlow(reader.snapshot(rig.row)!, flowContext());
  const socket = viewSocket({
    ...{ state: 1, mss: 1448, pmtu: 1500, rttUs: 1500, rttvarUs: 200, minRttUs: 900 },
    ...{ rtoUs: 204_000, cwnd: 10, ssthresh: 0x7fffffff, unacked: 1, sacked: 0, lost: 0 },
    ...{ retrans: 3, notSent: 0, pacingRate: 1_250_000, deliveryRate: 125, lastSentMs: 4 },
    lastReceivedMs: 5,
  });
  const now = flowContext().nowUs;
  const text = flowInfoText([
    {
      ...flow,
      upstream_addr: '10.9.0.1:443',
      tcp: { ...viewTcp(tcb, now), options: ['ts', 'sack'] },
      socket,
    },
  ]);
  const [ends, client, upstream] = text.split('\n\t ');
  expect(ends).toMatch(
    /^tcp ESTABLISHED 198\.18\.0\.1:40000 -> 198\.18\.0\.80:443 id:1 none up 0 B down /,
  );
  expect(client).toMatch(
    /^client ts sack cubic wscale:7,\d+ rto:\d+ rtt:[\d.]+\/[\d.]+ mss:1448 pmtu:1500 /,
  );
  expect(client).toContain('cwnd:10 bytes_sent:');
  expect(client).toMatch(/slabs:\(send:\d+,backlog:0,early:0\) timer:\(/);
  expect(upstream).toBe(
    'upstream 10.9.0.1:443 ESTABLISHED rto:204 rtt:1.5/0.2 mss:1448 pmtu:1500 cwnd:10 lastsnd:4 ' +
      'lastrcv:5 pacing_rate 10.0Mbps delivery_rate 1.0Kbps unacked:1 retrans:3 minrtt:0.9',
  );
});
