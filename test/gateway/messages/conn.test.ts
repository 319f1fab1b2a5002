import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  CLIENT_END,
  CONN_BYTES_MAX,
  CONN_LENGTHS,
  CONN_PAYLOAD_AT,
  CONN_PAYLOAD_BYTES_MAX,
  ConnKind,
  connEpoch,
  DialResult,
  isEpochOfHost,
  PeekedFlag,
} from '../../../src/gateway/messages/conn.ts';
import {
  ConnMessage,
  decodeToDataPlane,
  decodeToHost,
  endpointAt,
} from '../../../src/gateway/messages/conn-decode.ts';
import {
  encodeBytes,
  encodeClosed,
  encodeCredit,
  encodeDial,
  encodeDialed,
  encodeOpened,
  encodePeek,
  encodePeeked,
  encodeSignal,
  encodeSplice,
  encodeStarted,
  type SocketDial,
} from '../../../src/gateway/messages/conn-encode.ts';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';

const AT = 8;
const CONN = 0xfedc_ba98;
const EPOCH = 0x8001_0003;
const SOCKET = 0xffff_fffe;
const uint32 = fc.nat({ max: 0xffff_ffff });
const uint16 = fc.nat({ max: 0xffff });

/** What an earlier message left behind must not shine through. */
function makeView(): DataView {
  const view = new DataView(new ArrayBuffer(CONN_BYTES_MAX + AT + 8));
  new Uint8Array(view.buffer).fill(0xee);
  return view;
}

/** Each message, in a short form. */
const TO_HOST: Readonly<Record<string, (view: DataView) => number>> = {
  STARTED: (view) => encodeStarted(view, AT, EPOCH),
  OPENED: (view) => encodeOpened(view, AT, CONN, EPOCH, 9, 2 ** 40 + 1, 7, 2),
  PEEKED: (view) => encodePeeked(view, AT, CONN, EPOCH, CLIENT_END, 0xfff0, PeekedFlag.FIN, 3),
  DATA: (view) => encodeBytes(view, AT, ConnKind.DATA, CONN, EPOCH, SOCKET, 5),
  FIN: (view) => encodeSignal(view, AT, ConnKind.FIN, CONN, EPOCH, SOCKET),
  ROOM: (view) => encodeCredit(view, AT, ConnKind.ROOM, CONN, EPOCH, SOCKET, 65_536),
  DIALED: (view) => dialed(view, '192.0.2.9', '198.51.100.7'),
  CLOSED: (view) =>
    encodeClosed(view, AT, CONN, EPOCH, CLIENT_END, CloseReason.IDLE, 9, 2 ** 41, 2 ** 42),
};
const TO_DATA_PLANE: Readonly<Record<string, (view: DataView) => number>> = {
  WANT: (view) => encodeCredit(view, AT, ConnKind.WANT, CONN, EPOCH, CLIENT_END, 4096),
  PEEK: (view) => encodePeek(view, AT, CONN, EPOCH, CLIENT_END, 77, 5, 16_384, 300),
  WRITE: (view) => encodeBytes(view, AT, ConnKind.WRITE, CONN, EPOCH, CLIENT_END, 5),
  FIN: (view) => encodeSignal(view, AT, ConnKind.FIN, CONN, EPOCH, CLIENT_END),
  ABORT: (view) => encodeSignal(view, AT, ConnKind.ABORT, CONN, EPOCH, CLIENT_END),
  CLOSE: (view) => encodeSignal(view, AT, ConnKind.CLOSE, CONN, EPOCH, SOCKET),
  DIAL: (view) => encodeDial(view, AT, CONN, EPOCH, SOCKET, DIAL),
  SPLICE: (view) => encodeSplice(view, AT, CONN, EPOCH, SOCKET, 1000, 2000, 2 ** 40),
};
const DIAL: SocketDial = {
  to: { ip: 'fd00::7', port: 8443, family: 6 },
  isIntoDevice: true,
  timeoutMs: 2500,
  bind: '192.0.2.33',
  mark: 0xffff_ffff,
  proxyProtocol: 2,
};

function dialed(view: DataView, local: string, remote: string): number {
  const addresses = new DataView(new ArrayBuffer(32));
  writeAddress(local, addresses, 0);
  const family = writeAddress(remote, addresses, 16) === 4 ? 4 : 6;
  return encodeDialed(view, AT, CONN, EPOCH, SOCKET, DialResult.OK, {
    family,
    addresses,
    localPort: 40_001,
    remotePort: 443,
  });
}

function toHost(encode: (view: DataView) => number) {
  const view = makeView();
  const message = new ConnMessage();
  expect(decodeToHost(view, AT, encode(view), message)).toBe(true);
  return { view, message };
}

function toDataPlane(encode: (view: DataView) => number) {
  const view = makeView();
  const message = new ConnMessage();
  expect(decodeToDataPlane(view, AT, encode(view), message)).toBe(true);
  return { view, message };
}

test('every kind of message has a case here', () => {
  const named = new Set([...Object.keys(TO_HOST), ...Object.keys(TO_DATA_PLANE)]);
  expect([...named].sort()).toEqual(Object.keys(ConnKind).sort());
});

test('the head of every message arrives as it was sent, and with its kind', () => {
  for (const [name, encode] of Object.entries(TO_HOST)) {
    const { message } = toHost(encode);
    const conn = name === 'STARTED' ? 0 : CONN;
    expect([name, message.kind, message.conn, message.epoch]).toEqual([
      name,
      ConnKind[name as keyof typeof ConnKind],
      conn,
      EPOCH,
    ]);
  }
  for (const [name, encode] of Object.entries(TO_DATA_PLANE)) {
    const { message } = toDataPlane(encode);
    const kind = ConnKind[name as keyof typeof ConnKind];
    expect([name, message.kind, message.conn, message.epoch]).toEqual([name, kind, CONN, EPOCH]);
  }
});

test('what a data plane says of conns arrives as it was sent', () => {
  fc.assert(
    fc.property(uint32, uint32, fc.maxSafeNat(), fc.maxSafeNat(), (a, b, up, down) => {
      const opened = toHost((view) => encodeOpened(view, AT, a, b, b, up, a, b)).message;
      expect([opened.conn, opened.requestId, opened.flow]).toEqual([a, b, up]);
      expect([opened.generation, opened.script, opened.end]).toEqual([a, b, CLIENT_END]);
      const closed = toHost((view) =>
        encodeClosed(view, AT, a, b, a, CloseReason.EOF, b, up, down),
      ).message;
      expect([closed.end, closed.detail, closed.requestId]).toEqual([a, CloseReason.EOF, b]);
      expect([closed.bytesUp, closed.bytesDown]).toEqual([up, down]);
      const room = toHost((view) => encodeCredit(view, AT, ConnKind.ROOM, a, b, b, a)).message;
      expect([room.end, room.bytes]).toEqual([b, a]);
    }),
  );
});

test('what a host asks for arrives as it was sent', () => {
  const max = fc.nat({ max: CONN_PAYLOAD_BYTES_MAX });
  fc.assert(
    fc.property(uint32, uint32, uint16, max, max, fc.maxSafeNat(), (a, b, n, x, y, bytes) => {
      const [min, most] = [Math.min(x, y), Math.max(x, y)];
      const peek = toDataPlane((view) => encodePeek(view, AT, a, b, a, n, min, most, b)).message;
      expect([peek.peek, peek.min, peek.max, peek.timeoutMs]).toEqual([n, min, most, b]);
      const socket = a || 1;
      const splice = toDataPlane((view) =>
        encodeSplice(view, AT, a, b, socket, a, b, bytes),
      ).message;
      expect([splice.end, splice.idleTimeoutMs]).toEqual([socket, a]);
      expect([splice.halfCloseTimeoutMs, splice.maxBytes]).toEqual([b, bytes]);
      const want = toDataPlane((view) => encodeCredit(view, AT, ConnKind.WANT, a, b, b, a)).message;
      expect([want.end, want.bytes]).toEqual([b, a]);
    }),
  );
});

test('bytes lie where they were put, up to the longest', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), uint16, (bytes, peek) => {
      const put = (view: DataView) => new Uint8Array(view.buffer).set(bytes, AT + CONN_PAYLOAD_AT);
      const taken = ({ view, message }: ReturnType<typeof toHost>) =>
        new Uint8Array(view.buffer, message.payloadAt, message.payloadLength);
      const data = toHost((view) => {
        put(view);
        return encodeBytes(view, AT, ConnKind.DATA, CONN, EPOCH, SOCKET, bytes.length);
      });
      expect(taken(data)).toEqual(bytes);
      const write = toDataPlane((view) => {
        put(view);
        return encodeBytes(view, AT, ConnKind.WRITE, CONN, EPOCH, CLIENT_END, bytes.length);
      });
      expect(taken(write)).toEqual(bytes);
      const flags = PeekedFlag.FIN | PeekedFlag.TIMED_OUT;
      const peeked = toHost((view) => {
        put(view);
        return encodePeeked(view, AT, CONN, EPOCH, CLIENT_END, peek, flags, bytes.length);
      });
      expect(taken(peeked)).toEqual(bytes);
      expect([peeked.message.peek, peeked.message.detail]).toEqual([peek, flags]);
    }),
  );
  const longest = (view: DataView) =>
    encodeBytes(view, AT, ConnKind.DATA, CONN, EPOCH, SOCKET, CONN_PAYLOAD_BYTES_MAX);
  expect(toHost(longest).message.payloadLength).toBe(CONN_PAYLOAD_BYTES_MAX);
});

test('a PEEKED may be empty, bytes for an end may not', () => {
  const empty = (view: DataView) => encodePeeked(view, AT, CONN, EPOCH, CLIENT_END, 1, 0, 0);
  expect(toHost(empty).message.payloadLength).toBe(0);
  const view = makeView();
  const message = new ConnMessage();
  const data = encodeBytes(view, AT, ConnKind.DATA, CONN, EPOCH, SOCKET, 0);
  expect(decodeToHost(view, AT, data, message)).toBe(false);
  const write = encodeBytes(view, AT, ConnKind.WRITE, CONN, EPOCH, SOCKET, 0);
  expect(decodeToDataPlane(view, AT, write, message)).toBe(false);
});

test('a dial arrives with all that a script said about it', () => {
  const { view, message } = toDataPlane((into) => encodeDial(into, AT, CONN, EPOCH, SOCKET, DIAL));
  expect(message.end).toBe(SOCKET);
  expect(endpointAt(view, message.addressAt, message.family, message.port)).toEqual(DIAL.to);
  const bound = endpointAt(view, message.localAt, message.localFamily, message.localPort);
  expect(bound).toEqual({ ip: '192.0.2.33', port: 0, family: 4 });
  expect([message.timeoutMs, message.mark]).toEqual([2500, 0xffff_ffff]);
  expect([message.proxyProtocol, message.isIntoDevice]).toEqual([2, true]);
});

test('a dial without options has none', () => {
  const to = { ip: '192.0.2.1', port: 1, family: 4 } as const;
  const { view, message } = toDataPlane((into) =>
    encodeDial(into, AT, CONN, EPOCH, 1, { to, isIntoDevice: false, timeoutMs: 0 }),
  );
  expect(endpointAt(view, message.addressAt, message.family, message.port)).toEqual(to);
  expect([message.localFamily, message.mark, message.timeoutMs]).toEqual([0, -1, 0]);
  expect([message.proxyProtocol, message.isIntoDevice]).toEqual([0, false]);
});

test('both ends of a dial that succeeded arrive, and none of one that failed', () => {
  const { view, message } = toHost((into) => dialed(into, 'fd00::1', '2001:db8::9'));
  expect(message.detail).toBe(DialResult.OK);
  const local = endpointAt(view, message.localAt, message.localFamily, message.localPort);
  expect(local).toEqual({ ip: 'fd00::1', port: 40_001, family: 6 });
  const remote = endpointAt(view, message.addressAt, message.family, message.port);
  expect(remote).toEqual({ ip: '2001:db8::9', port: 443, family: 6 });
  const failed = toHost((into) =>
    encodeDialed(into, AT, CONN, EPOCH, SOCKET, DialResult.LOOP, undefined),
  ).message;
  expect([failed.detail, failed.family, failed.localFamily]).toEqual([DialResult.LOOP, 0, 0]);
});

test('the two halves of an epoch tell a host its own messages', () => {
  const epoch = connEpoch(0x1_0005, 0xabcd);
  expect(epoch).toBe(0xabcd_0005);
  expect(isEpochOfHost(epoch, 5)).toBe(true);
  expect(isEpochOfHost(epoch, 6)).toBe(false);
});

test('no side takes what the other one only sends', () => {
  const message = new ConnMessage();
  for (const [name, encode] of Object.entries(TO_HOST)) {
    if (name === 'FIN') continue;
    const view = makeView();
    expect([name, decodeToDataPlane(view, AT, encode(view), message)]).toEqual([name, false]);
  }
  for (const [name, encode] of Object.entries(TO_DATA_PLANE)) {
    if (name === 'FIN') continue;
    const view = makeView();
    expect([name, decodeToHost(view, AT, encode(view), message)]).toEqual([name, false]);
  }
});

test('a message of any other length than its own is refused', () => {
  const message = new ConnMessage();
  const cases = [
    ...Object.values(TO_HOST).map((encode) => ({ encode, decode: decodeToHost })),
    ...Object.values(TO_DATA_PLANE).map((encode) => ({ encode, decode: decodeToDataPlane })),
  ];
  for (const { encode, decode } of cases) {
    const view = makeView();
    const length = encode(view);
    const isFixed = CONN_LENGTHS[view.getUint8(AT)] !== 0;
    for (let other = 0; other <= CONN_PAYLOAD_AT; other++) {
      if (other !== length && (isFixed || other < CONN_PAYLOAD_AT)) {
        expect(decode(view, AT, other, message)).toBe(false);
      }
    }
    if (isFixed) expect(decode(view, AT, length + 1, message)).toBe(false);
    expect(decode(view, AT, CONN_BYTES_MAX + 1, message)).toBe(false);
  }
});

test('values that mean nothing are refused', () => {
  const message = new ConnMessage();
  const spoilt = (encode: (view: DataView) => number, spoil: (view: DataView) => void) => {
    const view = makeView();
    const length = encode(view);
    spoil(view);
    return decodeToDataPlane(view, AT, length, message);
  };
  const dial = TO_DATA_PLANE['DIAL']!;
  for (const [at, value] of [
    [48, 0],
    [48, 5],
    [49, 7],
    [61, 3],
  ] as const) {
    expect(spoilt(dial, (view) => view.setUint8(AT + at, value))).toBe(false);
  }
  expect(spoilt(dial, (view) => view.setUint16(AT + 50, 0))).toBe(false);
  expect(spoilt(dial, (view) => view.setUint32(AT + 12, CLIENT_END))).toBe(false);
  const splice = TO_DATA_PLANE['SPLICE']!;
  expect(spoilt(splice, (view) => view.setUint32(AT + 12, CLIENT_END))).toBe(false);
  for (const bytes of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(spoilt(splice, (view) => view.setFloat64(AT + 24, bytes, true))).toBe(false);
  }
  const peek = TO_DATA_PLANE['PEEK']!;
  expect(spoilt(peek, (view) => view.setUint32(AT + 16, 16_385, true))).toBe(false);
  expect(spoilt(peek, (view) => view.setUint32(AT + 20, 16_385, true))).toBe(false);
});

test('any bytes are a message or refused, and nothing is read beyond them', () => {
  const message = new ConnMessage();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat({ max: 255 }), (bytes, kind) => {
      if (bytes.length > 0) bytes[0] = kind;
      const exact = new DataView(bytes.slice().buffer);
      for (const decode of [decodeToHost, decodeToDataPlane]) {
        if (!decode(exact, 0, bytes.length, message)) continue;
        expect(message.payloadAt + message.payloadLength).toBe(bytes.length);
      }
    }),
  );
});
