/** Segments inside and outside of what two ends allow each other. */
import { expect, test } from 'bun:test';
import {
  beginSender,
  Fit,
  fitSegment,
  SenderBit,
  SenderField,
  senderAt,
} from '../../../src/stack/conntrack/tcp-window.ts';
import { FLOW_ROW_BYTES, FlowField, TrackState } from '../../../src/stack/flow-row.ts';
import { Segment } from '../../../src/stack/tcp/segment.ts';
import { type TcpFields, tcpPacket, viewOf } from '../../support/packet-builder.ts';
import { encodeOptions } from '../../support/segment-text.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const IPV4_HEADER = 20;
const PACKET_BYTES = 65_536;
const ISS = 0xffff_f000;
const SERVER_ISS = 7000;
const NAMES = Object.keys(Fit).map((name) => name.toLowerCase());

/** Two ends that offer 1000 bytes, times four; their sequence numbers wrap soon. */
class Watched {
  /** The row, and behind it the packet. */
  readonly view = new DataView(new ArrayBuffer(FLOW_ROW_BYTES + PACKET_BYTES));
  readonly #segment = new Segment();
  isLiberal = false;
  state: TrackState = TrackState.ESTABLISHED;

  constructor(options = encodeOptions(['mss 1460', 'wscale 2', 'sackOK'])) {
    this.state = TrackState.SYN_SENT;
    this.client({ flags: SYN, seq: ISS, window: 1000, options });
    this.upstream({ flags: SYN_ACK, seq: SERVER_ISS, ack: ISS + 1, window: 1000, options });
    this.state = TrackState.ESTABLISHED;
    this.client({ flags: ACK, seq: ISS + 1, ack: SERVER_ISS + 1, window: 1000 });
  }

  client(fields: TcpFields): string {
    return this.#fit(false, fields);
  }

  upstream(fields: TcpFields): string {
    return this.#fit(true, fields);
  }

  /** Data of the client, `offset` behind its first byte. */
  data(offset: number, length: number): string {
    const payload = new Uint8Array(length);
    return this.client({
      flags: ACK,
      seq: (ISS + 1 + offset) >>> 0,
      ack: SERVER_ISS + 1,
      window: 1000,
      payload,
    });
  }

  /** The upstream acknowledges so many bytes, and some beyond them selectively. */
  acknowledge(offset: number, window = 1000, sackTo = 0): string {
    const [left, right] = [(ISS + 1 + sackTo - 1) >>> 0, (ISS + 1 + sackTo) >>> 0];
    const options = sackTo === 0 ? [] : ['nop', 'nop', `sack ${left}:${right}`];
    return this.upstream({
      flags: ACK,
      seq: SERVER_ISS + 1,
      ack: (ISS + 1 + offset) >>> 0,
      window,
      options: encodeOptions(options),
    });
  }

  field(isReply: boolean, field: keyof typeof SenderField): number {
    return this.view.getUint32(senderAt(0, isReply) + SenderField[field], true);
  }

  #fit(isReply: boolean, fields: TcpFields): string {
    const packet = tcpPacket(fields);
    const segment = this.#segment;
    new Uint8Array(this.view.buffer).set(packet, FLOW_ROW_BYTES);
    const end = FLOW_ROW_BYTES + packet.length;
    segment.read(this.view, FLOW_ROW_BYTES + IPV4_HEADER, end);
    const fit = fitSegment(this.view, 0, isReply, this.state, segment, this.isLiberal);
    return NAMES[fit] ?? '';
  }
}

test('after a handshake each end may send a window of the other', () => {
  const watched = new Watched();
  expect(watched.field(false, 'END')).toBe((ISS + 1) >>> 0);
  expect(watched.field(true, 'MAX_END')).toBe(SERVER_ISS + 1 + 4000);
  expect(watched.field(true, 'MAX_WINDOW')).toBe(1000);
  expect(watched.data(0, 1000)).toBe('accepted');
});

test('the window of a SYN is not scaled, those that follow are', () => {
  const watched = new Watched();
  // Of the upstream only the SYN-ACK has spoken: 1000 bytes.
  expect(watched.field(false, 'MAX_END')).toBe((ISS + 1 + 1000) >>> 0);
  watched.acknowledge(0);
  expect(watched.field(false, 'MAX_END')).toBe((ISS + 1 + 4000) >>> 0);
});

test('windows are scaled only when both SYNs have the option', () => {
  const watched = new Watched(encodeOptions(['mss 1460']));
  watched.acknowledge(0);
  expect(watched.field(false, 'MAX_END')).toBe((ISS + 1 + 1000) >>> 0);
  const half = new Watched();
  const plain = tcpPacket({ flags: SYN_ACK, seq: SERVER_ISS, ack: ISS + 1 });
  const segment = new Segment();
  segment.read(viewOf(plain), IPV4_HEADER, plain.length);
  beginSender(half.view, 0, true, segment);
  expect(half.view.getUint8(FlowField.SCALE_ORIGINAL) & SenderBit.SHIFT).toBe(0);
});

test('data that begins behind the window is invalid, by less than a window it is ignored', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  expect(watched.data(4000, 100)).toBe('accepted');
  const over = new Watched();
  over.acknowledge(0);
  expect(over.data(4001, 100)).toBe('ignored');
  const far = new Watched();
  far.acknowledge(0);
  expect(far.data(50_000, 100)).toBe('invalid');
});

test('what went beyond the window may be acknowledged', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  watched.data(4001, 100);
  expect(watched.acknowledge(4101)).toBe('accepted');
});

test('old data passes and changes nothing', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  watched.data(0, 4000);
  watched.acknowledge(4000);
  watched.data(4000, 4000);
  watched.acknowledge(8000);
  const end = watched.field(false, 'END');
  expect(watched.data(4000, 1000)).toBe('accepted');
  expect(watched.data(0, 1000)).toBe('ignored');
  expect(watched.field(false, 'END')).toBe(end);
});

test('nothing is acknowledged that was not sent', () => {
  const watched = new Watched();
  watched.data(0, 100);
  expect(watched.acknowledge(101)).toBe('invalid');
  expect(watched.acknowledge(100)).toBe('accepted');
});

test('a selective acknowledgment of what was not sent is invalid', () => {
  const watched = new Watched();
  watched.data(0, 500);
  expect(watched.acknowledge(0, 1000, 501)).toBe('invalid');
  expect(watched.acknowledge(0, 1000, 500)).toBe('accepted');
});

test('blocks count only when the other end permits them', () => {
  const watched = new Watched(encodeOptions(['mss 1460', 'wscale 2']));
  watched.data(0, 500);
  expect(watched.acknowledge(0, 1000, 501)).toBe('accepted');
});

test('a selective acknowledgment moves the edge of what may be sent', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  watched.data(0, 3000);
  watched.acknowledge(1000, 1000, 3000);
  expect(watched.field(false, 'MAX_END')).toBe((ISS + 1 + 3000 + 4000) >>> 0);
});

test('an acknowledgment of long ago is ignored', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  for (let sent = 0; sent < 80_000; sent += 4000) {
    expect(watched.data(sent, 4000)).toBe('accepted');
    expect(watched.acknowledge(sent + 4000)).toBe('accepted');
  }
  expect(watched.acknowledge(20_000)).toBe('accepted');
  expect(watched.acknowledge(10_000)).toBe('ignored');
});

test('a closed window leaves room for a probe of one byte', () => {
  const watched = new Watched();
  watched.acknowledge(0);
  watched.data(0, 4000);
  watched.acknowledge(4000, 0);
  expect(watched.data(4000, 1)).toBe('accepted');
  expect(watched.data(4002, 1)).toBe('ignored');
});

test('a liberal tracker lets everything pass, and learns nothing from it', () => {
  const watched = new Watched();
  watched.isLiberal = true;
  const end = watched.field(false, 'END');
  expect(watched.data(50_000, 100)).toBe('accepted');
  expect(watched.field(false, 'END')).toBe(end);
});

test('a reset that acknowledges nothing is measured by its sequence number alone', () => {
  const watched = new Watched();
  const RST_ACK = 0x14;
  expect(watched.upstream({ flags: RST_ACK, seq: SERVER_ISS + 1, ack: 0 })).toBe('accepted');
  expect(watched.upstream({ flags: RST_ACK, seq: SERVER_ISS + 90_000, ack: 0 })).toBe('invalid');
});

test('a SYN with another number begins a sender again', () => {
  const watched = new Watched();
  watched.state = TrackState.SYN_SENT;
  expect(watched.client({ flags: SYN, seq: 1000 })).toBe('accepted');
  expect(watched.field(false, 'END')).toBe(1001);
});
