import { expect, test } from 'bun:test';
import {
  DEFAULT_TIMEOUTS,
  datagramTimeout,
  tcpTimeout,
} from '../../../src/stack/conntrack/timeouts.ts';
import { TRACK_STATE_NAMES, TrackState } from '../../../src/stack/flow-row.ts';

const inSeconds = (us: number): number => us / 1_000_000;

test('TCP flows live by their state, open ones as long as RFC 5382 REQ-5 asks', () => {
  const lives = Object.fromEntries(
    TRACK_STATE_NAMES.slice(TrackState.SYN_SENT, TrackState.SYN_SENT2 + 1).map((name) => [
      name,
      inSeconds(tcpTimeout(DEFAULT_TIMEOUTS, TrackState[name as keyof typeof TrackState])),
    ]),
  );
  expect(lives).toEqual({
    SYN_SENT: 120,
    SYN_RECV: 60,
    ESTABLISHED: 2 * 3600 + 4 * 60,
    FIN_WAIT: 120,
    CLOSE_WAIT: 60,
    LAST_ACK: 30,
    TIME_WAIT: 120,
    CLOSE: 10,
    SYN_SENT2: 120,
  });
});

test('other flows live by their protocol, UDP by its port and state too', () => {
  const life = (protocol: number, port: number, state: TrackState): number =>
    inSeconds(datagramTimeout(DEFAULT_TIMEOUTS, protocol, port, state));
  expect(life(17, 443, TrackState.UNREPLIED)).toBe(30);
  expect(life(17, 443, TrackState.REPLIED)).toBe(30);
  expect(life(17, 443, TrackState.STREAM)).toBe(120);
  expect(life(17, 53, TrackState.STREAM)).toBe(10);
  expect(life(1, 0, TrackState.REPLIED)).toBe(30);
  expect(life(58, 0, TrackState.REPLIED)).toBe(30);
  expect(life(132, 0, TrackState.REPLIED)).toBe(600);
});
