/** Segments between a client and an upstream, and what the tracker makes of them. */
import { expect, test } from 'bun:test';
import { encodeOptions } from '../../support/segment-text.ts';
import { TrackRig } from '../../support/track-rig.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const FIN = 0x11;
const RST = 0x04;
const RST_ACK = 0x14;
const ISS = 1000;
const SERVER_ISS = 5000;
const bytes = (length: number): Uint8Array => new Uint8Array(length);

/** A rig with a connection whose next bytes are ISS + 1 and SERVER_ISS + 1. */
function connected(rig = new TrackRig()): TrackRig {
  expect(rig.client({ flags: SYN, seq: ISS })).toBe('none');
  expect(rig.upstream({ flags: SYN_ACK, seq: SERVER_ISS, ack: ISS + 1 })).toBe('none');
  expect(rig.client({ flags: ACK, seq: ISS + 1, ack: SERVER_ISS + 1 })).toBe('none');
  return rig;
}

/** Both ends say FIN, the client first; the flow is in TIME_WAIT. */
function closed(rig = connected()): TrackRig {
  rig.client({ flags: FIN, seq: ISS + 1, ack: SERVER_ISS + 1 });
  rig.upstream({ flags: FIN, seq: SERVER_ISS + 1, ack: ISS + 2 });
  rig.client({ flags: ACK, seq: ISS + 2, ack: SERVER_ISS + 2 });
  return rig;
}

test('a handshake makes a flow assured, and long-lived', () => {
  const rig = new TrackRig();
  rig.client({ flags: SYN, seq: ISS });
  expect(rig.flow()).toMatchObject({ trackState: 'SYN_SENT', hasReply: false, phase: 'open' });
  expect(rig.timeLeft()).toBe(120);
  rig.upstream({ flags: SYN_ACK, seq: SERVER_ISS, ack: ISS + 1 });
  expect(rig.flow()).toMatchObject({ trackState: 'SYN_RECV', hasReply: true, isAssured: false });
  expect(rig.timeLeft()).toBe(60);
  rig.client({ flags: ACK, seq: ISS + 1, ack: SERVER_ISS + 1 });
  expect(rig.flow()).toMatchObject({ trackState: 'ESTABLISHED', isAssured: true });
  expect(rig.timeLeft()).toBe(7440);
});

test('a verdict says how long an open connection may be silent', () => {
  const rig = new TrackRig();
  rig.idleTimeoutMs = 40_000;
  connected(rig);
  expect(rig.timeLeft()).toBe(40);
  rig.client({ flags: FIN, seq: ISS + 1, ack: SERVER_ISS + 1 });
  expect(rig.timeLeft()).toBe(120);
});

test('a client that repeats its SYN for ever is forgotten all the same', () => {
  const rig = new TrackRig();
  rig.client({ flags: SYN, seq: ISS });
  rig.pass(100);
  expect(rig.client({ flags: SYN, seq: ISS })).toBe('none');
  expect(rig.timeLeft()).toBe(20);
});

test('data without an acknowledgment shortens the life of a flow, until it comes', () => {
  const rig = connected();
  rig.client({ flags: ACK, seq: ISS + 1, ack: SERVER_ISS + 1, payload: bytes(100) });
  expect(rig.timeLeft()).toBe(300);
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 101 });
  expect(rig.timeLeft()).toBe(7440);
});

test('a closed window shortens the life of a flow', () => {
  const rig = connected();
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 1, window: 0 });
  expect(rig.timeLeft()).toBe(300);
});

test('data that comes for the fourth time shortens the life of a flow', () => {
  const rig = connected();
  const segment = { flags: ACK, seq: ISS + 1, ack: SERVER_ISS + 1, payload: bytes(10) };
  rig.client(segment);
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 11 });
  for (let i = 0; i < 4; i++) {
    expect(rig.timeLeft()).toBe(7440);
    rig.client(segment);
  }
  expect(rig.timeLeft()).toBe(300);
  rig.client({ ...segment, seq: ISS + 11 });
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 21 });
  expect(rig.timeLeft()).toBe(7440);
});

test('the end of both directions says who closed', () => {
  const rig = closed();
  expect(rig.flow()).toMatchObject({
    trackState: 'TIME_WAIT',
    phase: 'time-wait',
    closeReason: 'eof',
    closedBy: 'client',
  });
  expect(rig.timeLeft()).toBe(120);
  const other = connected();
  other.upstream({ flags: FIN, seq: SERVER_ISS + 1, ack: ISS + 1 });
  expect(other.flow()).toMatchObject({ trackState: 'FIN_WAIT', phase: 'closing' });
  other.client({ flags: FIN, seq: ISS + 1, ack: SERVER_ISS + 2 });
  other.upstream({ flags: ACK, seq: SERVER_ISS + 2, ack: ISS + 2 });
  expect(other.flow()).toMatchObject({ trackState: 'TIME_WAIT', closedBy: 'upstream' });
});

test('a refused SYN leaves nothing behind', () => {
  const rig = new TrackRig();
  rig.client({ flags: SYN, seq: ISS });
  expect(rig.upstream({ flags: RST_ACK, seq: 0, ack: ISS + 1 })).toBe('none');
  expect(rig.forwarded).toHaveLength(2);
  expect(rig.closed).toEqual(['upstream-reset by upstream']);
  expect(rig.flows.used).toBe(0);
});

test('a reset where the other end expects it closes', () => {
  const rig = connected();
  expect(rig.upstream({ flags: RST, seq: SERVER_ISS + 1 })).toBe('none');
  expect(rig.flow()).toMatchObject({
    trackState: 'CLOSE',
    closeReason: 'upstream-reset',
    closedBy: 'upstream',
  });
  expect(rig.timeLeft()).toBe(10);
});

test('a reset before what was acknowledged is invalid, liberal or not', () => {
  for (const tcpLiberal of [false, true]) {
    const rig = connected(new TrackRig({ settings: { tcpLiberal } }));
    expect(rig.upstream({ flags: RST, seq: SERVER_ISS })).toBe('conntrack-invalid');
    expect(rig.flow().trackState).toBe('ESTABLISHED');
  }
});

test('a reset elsewhere in the window passes, and may draw a challenge ACK', () => {
  const rig = connected();
  expect(rig.upstream({ flags: RST, seq: SERVER_ISS + 500 })).toBe('none');
  expect(rig.flow().trackState).toBe('ESTABLISHED');
});

test('a reset right behind data that is under way closes', () => {
  const rig = connected();
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 1, payload: bytes(100) });
  rig.upstream({ flags: RST_ACK, seq: SERVER_ISS + 101, ack: ISS + 1 });
  expect(rig.flow().trackState).toBe('CLOSE');
});

test('a reset beyond the window is invalid', () => {
  const rig = connected();
  expect(rig.upstream({ flags: RST, seq: SERVER_ISS + 200_000 })).toBe('conntrack-invalid');
  expect(rig.flow().trackState).toBe('ESTABLISHED');
});

test('a SYN after TIME_WAIT, or after a reset, begins another flow', () => {
  const rig = closed();
  const { serial } = rig.flow();
  expect(rig.client({ flags: SYN, seq: 90_000 })).toBe('none');
  expect(rig.closed).toEqual(['eof by client']);
  expect(rig.flow()).toMatchObject({ serial: serial + 1, trackState: 'SYN_SENT' });
  const reset = connected();
  reset.upstream({ flags: RST, seq: SERVER_ISS + 1 });
  reset.client({ flags: SYN, seq: 90_000 });
  expect(reset.closed).toEqual(['upstream-reset by upstream']);
  expect(reset.flow().trackState).toBe('SYN_SENT');
});

test('two ends that agree on a new connection are followed into it', () => {
  const rig = connected();
  const options = encodeOptions(['mss 1460', 'wscale 3', 'sackOK']);
  expect(rig.client({ flags: SYN, seq: 700_000, window: 1000, options })).toBe('none');
  expect(rig.flow().trackState).toBe('ESTABLISHED');
  expect(rig.upstream({ flags: SYN_ACK, seq: 800_000, ack: 700_001, window: 2000, options })).toBe(
    'none',
  );
  expect(rig.flow().trackState).toBe('SYN_RECV');
  expect(rig.client({ flags: ACK, seq: 700_001, ack: 800_001, window: 1000 })).toBe('none');
  expect(rig.flow().trackState).toBe('ESTABLISHED');
  // The scale of the SYN counts: 1000 << 3 bytes may come.
  const far = { flags: ACK, ack: 700_001, payload: bytes(10) };
  expect(rig.upstream({ ...far, seq: 800_001 + 7000 })).toBe('none');
  expect(rig.upstream({ ...far, seq: 800_001 + 30_000 })).toBe('conntrack-invalid');
});

test('an upstream with an old connection challenges a SYN, and the reset for that closes', () => {
  const rig = new TrackRig();
  rig.client({ flags: SYN, seq: ISS });
  expect(rig.upstream({ flags: ACK, seq: 44_000, ack: 77_000 })).toBe('none');
  expect(rig.flow().trackState).toBe('SYN_SENT');
  expect(rig.client({ flags: RST, seq: 77_000 })).toBe('none');
  expect(rig.closed).toEqual(['client-reset by client']);
});

test('the challenge for a SYN in LAST_ACK is no acknowledgment of the FIN', () => {
  const rig = connected();
  rig.client({ flags: FIN, seq: ISS + 1, ack: SERVER_ISS + 1 });
  rig.upstream({ flags: FIN, seq: SERVER_ISS + 1, ack: ISS + 2 });
  expect(rig.flow().trackState).toBe('LAST_ACK');
  rig.client({ flags: SYN, seq: 90_000 });
  expect(rig.upstream({ flags: ACK, seq: SERVER_ISS + 2, ack: ISS + 2 })).toBe('none');
  expect(rig.flow().trackState).toBe('LAST_ACK');
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 2, ack: ISS + 2 });
  expect(rig.flow().trackState).toBe('TIME_WAIT');
});

test('a simultaneous open becomes a connection, whoever speaks last', () => {
  const rig = new TrackRig();
  rig.client({ flags: SYN, seq: ISS });
  expect(rig.upstream({ flags: SYN, seq: SERVER_ISS })).toBe('none');
  expect(rig.flow().trackState).toBe('SYN_SENT2');
  expect(rig.client({ flags: SYN_ACK, seq: ISS, ack: SERVER_ISS + 1 })).toBe('none');
  expect(rig.flow().trackState).toBe('SYN_RECV');
  expect(rig.upstream({ flags: ACK, seq: SERVER_ISS + 1, ack: ISS + 1 })).toBe('none');
  expect(rig.flow().trackState).toBe('ESTABLISHED');
});

test('a connection in its middle is picked up, unless that is forbidden', () => {
  const rig = new TrackRig();
  expect(rig.client({ flags: ACK, seq: 4000, ack: 9000, payload: bytes(50) })).toBe('none');
  expect(rig.flow()).toMatchObject({ trackState: 'ESTABLISHED', isAssured: false });
  // Only one end was heard.
  expect(rig.timeLeft()).toBe(300);
  expect(rig.upstream({ flags: ACK, seq: 9000, ack: 4050 })).toBe('none');
  rig.client({ flags: ACK, seq: 4050, ack: 9000 });
  expect(rig.flow().isAssured).toBe(true);
  // Its scales are unknown: nothing is too far.
  expect(rig.upstream({ flags: ACK, seq: 9_000_000, ack: 4050 })).toBe('none');
  const strict = new TrackRig({ settings: { tcpLoose: false } });
  expect(strict.client({ flags: ACK, seq: 4000, ack: 9000 })).toBe('conntrack-invalid');
});

test('what is outside of the windows passes when the tracker is liberal', () => {
  const far = { flags: ACK, seq: SERVER_ISS + 500_000, ack: ISS + 1, payload: bytes(10) };
  expect(connected().upstream(far)).toBe('conntrack-invalid');
  expect(connected(new TrackRig({ settings: { tcpLiberal: true } })).upstream(far)).toBe('none');
});

test('a segment that is dropped changes nothing', () => {
  const rig = connected();
  rig.pass(10);
  const before = rig.flow();
  rig.upstream({ flags: ACK, seq: SERVER_ISS + 500_000, ack: ISS + 1, payload: bytes(10) });
  rig.upstream({ flags: SYN, seq: 1 });
  expect(rig.flow()).toEqual(before);
  expect(rig.forwarded).toHaveLength(3);
});
