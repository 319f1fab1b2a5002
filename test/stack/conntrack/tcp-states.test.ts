/** Connections of RFC 9293, as they pass by. `>` is from the end that sent the first packet. */
import { expect, test } from 'bun:test';
import { IGNORE, INVALID, tcpEvent, tcpStep } from '../../../src/stack/conntrack/tcp-states.ts';
import { TRACK_STATE_NAMES, TrackState } from '../../../src/stack/flow-row.ts';

const FLAGS: Readonly<Record<string, number>> = {
  SYN: 0x02,
  'SYN-ACK': 0x12,
  ACK: 0x10,
  'PSH-ACK': 0x18,
  FIN: 0x11,
  RST: 0x04,
  'RST-ACK': 0x14,
  NULL: 0,
  URG: 0x20,
};

/** Where each segment leads to: `> SYN` → `SYN_SENT`, or `ignored`, `invalid` and no step. */
function walk(lines: readonly (readonly [segment: string, expected: string])[]): void {
  let state: TrackState = TrackState.NONE;
  for (const [segment, expected] of lines) {
    const [direction, flags] = segment.split(' ') as [string, string];
    const step = tcpStep(direction === '<', tcpEvent(FLAGS[flags] ?? -1), state);
    const seen = step === IGNORE ? 'ignored' : step === INVALID ? 'invalid' : undefined;
    expect(`${segment}: ${seen ?? TRACK_STATE_NAMES[step]}`).toBe(`${segment}: ${expected}`);
    if (seen === undefined) state = step as TrackState;
  }
}

const HANDSHAKE = [
  ['> SYN', 'SYN_SENT'],
  ['< SYN-ACK', 'SYN_RECV'],
  ['> ACK', 'ESTABLISHED'],
] as const;

test('figure 6: a handshake, and data in both directions', () => {
  walk([...HANDSHAKE, ['> PSH-ACK', 'ESTABLISHED'], ['< ACK', 'ESTABLISHED']]);
});

test('figure 6: segments of a handshake that come again change nothing', () => {
  walk([
    ['> SYN', 'SYN_SENT'],
    ['> SYN', 'SYN_SENT'],
    ['< SYN-ACK', 'SYN_RECV'],
    ['< SYN-ACK', 'ignored'],
    ['> SYN', 'ignored'],
    ['> ACK', 'ESTABLISHED'],
    ['< SYN-ACK', 'ignored'],
  ]);
});

test('figure 7: a simultaneous open', () => {
  walk([
    ['> SYN', 'SYN_SENT'],
    ['< SYN', 'SYN_SENT2'],
    ['< SYN', 'SYN_SENT2'],
    ['> SYN', 'SYN_SENT2'],
    ['> SYN-ACK', 'SYN_RECV'],
    ['> ACK', 'ESTABLISHED'],
  ]);
  walk([
    ['> SYN', 'SYN_SENT'],
    ['< SYN', 'SYN_SENT2'],
    ['< SYN-ACK', 'SYN_RECV'],
    ['> ACK', 'ESTABLISHED'],
  ]);
});

for (const [name, first, second] of [
  ['client', '>', '<'],
  ['upstream', '<', '>'],
] as const) {
  test(`figure 12: the ${name} closes first`, () => {
    walk([
      ...HANDSHAKE,
      [`${first} FIN`, 'FIN_WAIT'],
      [`${second} ACK`, 'CLOSE_WAIT'],
      [`${second} PSH-ACK`, 'CLOSE_WAIT'],
      [`${second} FIN`, 'LAST_ACK'],
      [`${second} FIN`, 'LAST_ACK'],
      [`${first} ACK`, 'TIME_WAIT'],
      [`${second} FIN`, 'TIME_WAIT'],
      [`${first} ACK`, 'TIME_WAIT'],
    ]);
  });

  test(`figure 13: both close at once, the ${name} a little earlier`, () => {
    walk([
      ...HANDSHAKE,
      [`${first} FIN`, 'FIN_WAIT'],
      [`${second} FIN`, 'LAST_ACK'],
      [`${first} ACK`, 'TIME_WAIT'],
      [`${second} ACK`, 'TIME_WAIT'],
    ]);
  });

  test(`a reset of the ${name} closes in every state that something was seen in`, () => {
    const paths = [
      HANDSHAKE.slice(0, 1),
      HANDSHAKE.slice(0, 2),
      HANDSHAKE,
      [...HANDSHAKE, ['> FIN', 'FIN_WAIT']],
      [...HANDSHAKE, ['> FIN', 'FIN_WAIT'], ['< ACK', 'CLOSE_WAIT']],
      [...HANDSHAKE, ['> FIN', 'FIN_WAIT'], ['< FIN', 'LAST_ACK']],
      [...HANDSHAKE, ['> FIN', 'FIN_WAIT'], ['< FIN', 'LAST_ACK'], ['> ACK', 'TIME_WAIT']],
      [HANDSHAKE[0], ['< SYN', 'SYN_SENT2']],
    ] as const;
    for (const path of paths) {
      walk([...path, [`${first} RST`, 'CLOSE'], [`${second} ACK`, 'CLOSE']]);
      walk([...path, [`${first} RST-ACK`, 'CLOSE'], [`${second} RST`, 'CLOSE']]);
    }
    walk([[`${first} RST`, 'invalid']]);
  });
}

test('a server may close before its client has acknowledged the SYN-ACK', () => {
  walk([...HANDSHAKE.slice(0, 2), ['< FIN', 'FIN_WAIT'], ['> ACK', 'CLOSE_WAIT']]);
});

test('a connection is used again from TIME_WAIT by either end, after a reset by the client', () => {
  const closed = [
    ...HANDSHAKE,
    ['> FIN', 'FIN_WAIT'],
    ['< FIN', 'LAST_ACK'],
    ['> ACK', 'TIME_WAIT'],
  ] as const;
  walk([...closed, ['> SYN', 'SYN_SENT']]);
  walk([...closed, ['< SYN', 'SYN_SENT']]);
  walk([...HANDSHAKE, ['< RST', 'CLOSE'], ['> SYN', 'SYN_SENT']]);
  walk([...HANDSHAKE, ['< RST', 'CLOSE'], ['< SYN', 'invalid']]);
});

test('a connection that is older than the tracker begins with an ACK of its client', () => {
  walk([
    ['> ACK', 'ESTABLISHED'],
    ['< ACK', 'ESTABLISHED'],
  ]);
  walk([
    ['> FIN', 'invalid'],
    ['> SYN-ACK', 'invalid'],
    ['< ACK', 'invalid'],
    ['< SYN', 'invalid'],
    ['< SYN-ACK', 'invalid'],
  ]);
});

test('before the upstream has answered, the client cannot go on', () => {
  walk([
    ['> SYN', 'SYN_SENT'],
    ['> ACK', 'invalid'],
    ['> FIN', 'invalid'],
    ['> SYN-ACK', 'invalid'],
    ['< FIN', 'invalid'],
  ]);
});

test('what only the ends can judge passes: a SYN in a connection, an ACK for a SYN', () => {
  walk([...HANDSHAKE, ['> SYN', 'ignored'], ['< ACK', 'ESTABLISHED']]);
  walk([
    ['> SYN', 'SYN_SENT'],
    ['< ACK', 'ignored'],
    ['> RST', 'CLOSE'],
  ]);
  walk([...HANDSHAKE, ['< SYN', 'invalid']]);
});

test('a segment without one of the four flags is none', () => {
  for (const path of [[], HANDSHAKE]) {
    walk([...path, ['> NULL', 'invalid'], ['< URG', 'invalid']]);
  }
});
