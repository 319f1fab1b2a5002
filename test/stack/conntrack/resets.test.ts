import { expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { CLIENT, POOL, SERVER, TrackRig } from '../../support/track-rig.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const FIN = 0x11;

function connected(): TrackRig {
  const rig = new TrackRig();
  rig.to = { ip: '10.9.9.9', port: 8080 };
  rig.client({ flags: SYN, seq: 1000 });
  rig.upstream({ flags: SYN_ACK, seq: 5000, ack: 1001 });
  rig.client({ flags: ACK, seq: 1001, ack: 5001, payload: new Uint8Array(100) });
  return rig;
}

const kill = (rig: TrackRig): void =>
  rig.conntrack.kill(0, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);

test('both ends of a killed connection are reset, each by the address that it knows', () => {
  const rig = connected();
  kill(rig);
  expect(rig.resets).toEqual([
    `${SERVER}:80 > ${CLIENT}:40000 seq 5001 ack 1101`,
    `${POOL}:40000 > 10.9.9.9:8080 seq 1101 ack 5001`,
  ]);
  expect(rig.closed).toEqual(['killed by gateway']);
  expect(rig.counters.get(Counter.TCP_RESETS_SENT)).toBe(2);
});

test('a connection that is over is not reset', () => {
  const rig = connected();
  rig.client({ flags: FIN, seq: 1101, ack: 5001 });
  rig.upstream({ flags: FIN, seq: 5001, ack: 1102 });
  rig.client({ flags: ACK, seq: 1102, ack: 5002 });
  kill(rig);
  expect(rig.resets).toEqual([]);
  expect(rig.closed).toEqual(['eof by client']);
});

test('there is no reset for datagrams', () => {
  const rig = new TrackRig();
  rig.clientUdp();
  kill(rig);
  expect(rig.resets).toEqual([]);
  expect(rig.flows.used).toBe(0);
});
