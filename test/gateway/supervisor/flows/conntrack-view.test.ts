import { describe, expect, test } from 'bun:test';
import {
  protocolNumber,
  viewConntrack,
} from '../../../../src/gateway/supervisor/flows/conntrack-view.ts';
import { Carrier, readFlowRow, TrackBit, TrackState } from '../../../../src/stack/flow-row.ts';
import { TcpState } from '../../../../src/stack/tcp/states.ts';
import { type FlowFields, FlowMemory, flowContext, NOW_US } from './flow-memory.ts';

function view(fields: FlowFields) {
  const memory = new FlowMemory(1);
  memory.put(0, fields);
  return viewConntrack(readFlowRow(memory.view, 0)!, flowContext());
}

const NAT = {
  source: '10.0.0.2',
  carrier: Carrier.NAT,
  tcpState: TcpState.CLOSED,
  expiresAt: NOW_US + 1_500_000,
};

describe('an entry of connection tracking', () => {
  test('of a rewritten flow has the tuple that its replies really have', () =>
    expect(
      view({
        ...NAT,
        trackState: TrackState.SYN_SENT,
        upstream: '10.9.0.1',
        upstreamPort: 8080,
        natSource: '192.0.2.1',
        natPort: 40_000,
        packetsUp: 3,
        bytesUp: 180,
      }),
    ).toEqual({
      id: '2s',
      family: 4,
      proto: 'tcp',
      carrier: 'nat',
      state: 'SYN_SENT',
      expires_ms: 1500,
      replied: false,
      assured: false,
      original: {
        src: '10.0.0.2',
        dst: '10.1.0.1',
        sport: 1000,
        dport: 80,
        packets: 3,
        bytes: 180,
      },
      reply: {
        src: '10.9.0.1',
        dst: '192.0.2.1',
        sport: 8080,
        dport: 40_000,
        packets: 0,
        bytes: 0,
      },
    }));

  test('of a flow whose source stays has replies to the client', () =>
    expect(
      view({ ...NAT, upstream: '10.9.0.1', upstreamPort: 8080, bytesDown: 7, packetsDown: 1 }),
    ).toMatchObject({
      replied: true,
      reply: { src: '10.9.0.1', dst: '10.0.0.2', sport: 8080, dport: 1000, packets: 1, bytes: 7 },
    }));

  test('of a ping has identifiers, of which the reply may have another', () => {
    const { original, reply } = view({
      ...NAT,
      protocol: 1,
      sourcePort: 7,
      destinationPort: 0,
      upstream: '10.1.0.1',
      natSource: '192.0.2.1',
      natPort: 900,
      trackState: TrackState.REPLIED,
      trackBits: TrackBit.SEEN_REPLY | TrackBit.ASSURED,
    });
    expect(original).toMatchObject({ src: '10.0.0.2', dst: '10.1.0.1', icmp_id: 7 });
    expect(reply).toMatchObject({ src: '10.1.0.1', dst: '192.0.2.1', icmp_id: 900 });
    expect(original).not.toHaveProperty('sport');
  });

  test('of a protocol without ports has addresses only', () => {
    const { original, assured } = view({
      ...NAT,
      protocol: 47,
      sourcePort: 0,
      destinationPort: 0,
      trackBits: TrackBit.ASSURED,
    });
    expect(original).toEqual({ src: '10.0.0.2', dst: '10.1.0.1', packets: 1, bytes: 5 });
    expect(assured).toBe(true);
  });

  test('of a flow that our TCP ends is as its client sees it, whatever the upstream is', () => {
    const entry = view({ upstream: '10.9.0.1', upstreamPort: 8080, packetsDown: 2 });
    expect(entry).toMatchObject({
      carrier: 'tcp',
      state: 'ESTABLISHED',
      replied: true,
      reply: { src: '10.1.0.1', dst: '10.0.0.0', sport: 80, dport: 1000 },
    });
    expect(entry).not.toHaveProperty('expires_ms');
  });
});

test('the number of a protocol is that of its family', () => {
  const numbers = [
    protocolNumber('tcp', 4),
    protocolNumber('udp', 6),
    protocolNumber('icmp', 4),
    protocolNumber('icmp', 6),
    protocolNumber('132', 4),
  ];
  expect(numbers).toEqual([6, 17, 1, 58, 132]);
});
