/** SEGMENT ARRIVES, RFC 9293 §3.10.7: every state, every event. */
import { describe, expect, test } from 'bun:test';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../support/memory-device.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState, POSITIONS, STATES, type StateName } from '../../support/tcp-states.ts';

const EVENTS = [
  'SYN',
  'SYN-ACK',
  'ACK',
  'data',
  'FIN',
  'RST in window',
  'RST exact',
  'old segment',
  'beyond window',
] as const;
type EventName = (typeof EVENTS)[number];

/** What an event does in a state. */
interface Case {
  /** What the test says of it, behind `STATE: `. */
  readonly does: string;
  /** The answer; `''` is none. */
  readonly answer: string;
  /** `gone` when the flow ended and its row is free. */
  readonly moves: StateName | 'gone';
  /** Why the segment was dropped, if it was. */
  readonly drop?: string;
  /** Calls of the owner. */
  readonly calls?: readonly string[];
}

/** Further to the right than any window that the stack has offered in these states. */
const BEYOND = 2_000_000;

/** A SYN may be the peer's first. */
const IS_FIRST_SYN: ReadonlySet<StateName> = new Set([
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
]);

/** The segment of an event; the ACK field acknowledges all that the stack has sent. */
function segmentOf(event: EventName, state: StateName, synOptions: string): string {
  const { peer, stack } = POSITIONS[state];
  const tail = `ack ${stack} win 512`;
  switch (event) {
    case 'SYN': {
      const seq = IS_FIRST_SYN.has(state) ? 0 : peer + 9;
      return `S ${seq}:${seq}(0) win 65535 <${synOptions}>`;
    }
    case 'SYN-ACK': {
      const seq = IS_FIRST_SYN.has(state) ? 0 : peer + 9;
      return `S. ${seq}:${seq}(0) ack ${stack} win 65535 <${synOptions}>`;
    }
    case 'ACK':
      return `. ${peer}:${peer}(0) ${tail}`;
    case 'data':
      return `P. ${peer}:${peer + 100}(100) ${tail}`;
    case 'FIN':
      return `F. ${peer}:${peer}(0) ${tail}`;
    case 'RST in window':
      return `R ${peer + 1}:${peer + 1}(0)`;
    case 'RST exact':
      // In SYN-SENT the ACK is what a reset must have right (RFC 5961 §3.2).
      return state === 'SYN-SENT' ? 'R. 0:0(0) ack 1' : `R ${peer}:${peer}(0)`;
    case 'old segment':
      return `P. ${peer - 50}:${peer}(50) ${tail}`;
    case 'beyond window':
      return `P. ${peer + BEYOND}:${peer + BEYOND + 50}(50) ${tail}`;
  }
}

const unknown = (answer: string): Case => ({
  does: 'is answered with a reset that its sender accepts',
  answer,
  moves: 'gone',
  drop: 'no-flow',
});
const ignored = (state: StateName, drop: string, why = 'waits for its verdict'): Case => ({
  does: `is ignored: the SYN ${why}`,
  answer: '',
  moves: state,
  drop,
});
const challenged = (state: StateName, answer: string): Case => ({
  does: 'draws a challenge ACK (RFC 5961)',
  answer,
  moves: state,
  drop: 'challenged',
});
const reset = (calls: readonly string[] = ['closed client-reset by client']): Case => ({
  does: 'ends the connection',
  answer: '',
  moves: 'gone',
  calls,
});
const unacceptable = (state: StateName, answer: string, drop = 'duplicate'): Case => ({
  does: 'is answered with an ACK',
  answer,
  moves: state,
  drop,
});
const nothing = (state: StateName): Case => ({ does: 'changes nothing', answer: '', moves: state });
const afterFin = (state: StateName): Case => ({
  does: 'is dropped: a FIN came before',
  answer: '',
  moves: state,
  drop: 'after-close',
});

const MATRIX: Readonly<Record<StateName, Readonly<Record<EventName, Case>>>> = {
  CLOSED: {
    SYN: { does: 'is held and shown to the owner', answer: '', moves: 'LISTEN', calls: ['syn'] },
    'SYN-ACK': unknown('R 0:0(0)'),
    ACK: unknown('R 0:0(0)'),
    data: unknown('R 0:0(0)'),
    FIN: unknown('R 0:0(0)'),
    'RST in window': {
      does: 'is dropped in silence',
      answer: '',
      moves: 'gone',
      drop: 'no-flow',
    },
    'RST exact': { does: 'is dropped in silence', answer: '', moves: 'gone', drop: 'no-flow' },
    'old segment': unknown('R 0:0(0)'),
    'beyond window': unknown('R 0:0(0)'),
  },
  LISTEN: {
    SYN: ignored('LISTEN', 'held-syn-repeated'),
    'SYN-ACK': ignored('LISTEN', 'no-flow'),
    ACK: ignored('LISTEN', 'no-flow'),
    data: ignored('LISTEN', 'no-flow'),
    FIN: ignored('LISTEN', 'no-flow'),
    'RST in window': ignored('LISTEN', 'out-of-window'),
    'RST exact': {
      does: 'means that the client has gone',
      answer: '',
      moves: 'gone',
      calls: ['closed client-gone by client'],
      // The SYN that was held.
      drop: 'flow-ended',
    },
    'old segment': ignored('LISTEN', 'no-flow'),
    'beyond window': ignored('LISTEN', 'no-flow'),
  },
  'SYN-SENT': {
    SYN: {
      does: 'is answered with a SYN-ACK: both sides open',
      answer: 'S. 0:0(0) ack 1',
      moves: 'SYN-RECEIVED',
    },
    'SYN-ACK': {
      does: 'moves to ESTABLISHED and is acknowledged',
      answer: '. 1:1(0) ack 1',
      moves: 'ESTABLISHED',
      calls: ['connected'],
    },
    ACK: ignored('SYN-SENT', 'no-flow', 'has no answer yet'),
    data: ignored('SYN-SENT', 'no-flow', 'has no answer yet'),
    FIN: ignored('SYN-SENT', 'no-flow', 'has no answer yet'),
    'RST in window': ignored('SYN-SENT', 'no-ack', 'is not acknowledged by it'),
    'RST exact': {
      does: 'means that the dial was refused',
      answer: '',
      moves: 'gone',
      calls: ['closed dial-refused by upstream'],
    },
    'old segment': ignored('SYN-SENT', 'no-flow', 'has no answer yet'),
    'beyond window': ignored('SYN-SENT', 'no-flow', 'has no answer yet'),
  },
  'SYN-RECEIVED': {
    SYN: {
      does: 'is answered with the SYN-ACK again',
      answer: 'S. 0:0(0) ack 1',
      moves: 'SYN-RECEIVED',
      drop: 'duplicate',
    },
    'SYN-ACK': unacceptable('SYN-RECEIVED', '. 1:1(0) ack 1'),
    ACK: {
      does: 'moves to ESTABLISHED',
      answer: '',
      moves: 'ESTABLISHED',
      calls: ['established'],
    },
    data: {
      does: 'moves to ESTABLISHED and is delivered',
      answer: 'delayed . 1:1(0) ack 101',
      moves: 'ESTABLISHED',
      calls: ['established', 'data 100'],
    },
    FIN: {
      does: 'moves to ESTABLISHED and on to CLOSE-WAIT',
      answer: '. 1:1(0) ack 2',
      moves: 'CLOSE-WAIT',
      calls: ['established', 'fin'],
    },
    'RST in window': challenged('SYN-RECEIVED', '. 1:1(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('SYN-RECEIVED', '. 1:1(0) ack 1'),
    'beyond window': unacceptable('SYN-RECEIVED', '. 1:1(0) ack 1', 'out-of-window'),
  },
  ESTABLISHED: {
    SYN: challenged('ESTABLISHED', '. 1:1(0) ack 1'),
    'SYN-ACK': challenged('ESTABLISHED', '. 1:1(0) ack 1'),
    ACK: nothing('ESTABLISHED'),
    data: {
      does: 'is delivered, and acknowledged within 40 ms',
      answer: 'delayed . 1:1(0) ack 101',
      moves: 'ESTABLISHED',
      calls: ['data 100'],
    },
    FIN: {
      does: 'moves to CLOSE-WAIT and is acknowledged',
      answer: '. 1:1(0) ack 2',
      moves: 'CLOSE-WAIT',
      calls: ['fin'],
    },
    'RST in window': challenged('ESTABLISHED', '. 1:1(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('ESTABLISHED', '. 1:1(0) ack 1'),
    'beyond window': unacceptable('ESTABLISHED', '. 1:1(0) ack 1', 'out-of-window'),
  },
  'FIN-WAIT-1': {
    SYN: challenged('FIN-WAIT-1', '. 2:2(0) ack 1'),
    'SYN-ACK': challenged('FIN-WAIT-1', '. 2:2(0) ack 1'),
    ACK: { does: 'of our FIN moves to FIN-WAIT-2', answer: '', moves: 'FIN-WAIT-2' },
    data: {
      does: 'is delivered: only our direction is closed',
      answer: 'delayed . 2:2(0) ack 101',
      moves: 'FIN-WAIT-2',
      calls: ['data 100'],
    },
    FIN: {
      does: 'that acknowledges our FIN moves to TIME-WAIT',
      answer: '. 2:2(0) ack 2',
      moves: 'TIME-WAIT',
      calls: ['fin', 'closed eof by upstream'],
    },
    'RST in window': challenged('FIN-WAIT-1', '. 2:2(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('FIN-WAIT-1', '. 2:2(0) ack 1'),
    'beyond window': unacceptable('FIN-WAIT-1', '. 2:2(0) ack 1', 'out-of-window'),
  },
  'FIN-WAIT-2': {
    SYN: challenged('FIN-WAIT-2', '. 2:2(0) ack 1'),
    'SYN-ACK': challenged('FIN-WAIT-2', '. 2:2(0) ack 1'),
    ACK: nothing('FIN-WAIT-2'),
    data: {
      does: 'is delivered: only our direction is closed',
      answer: 'delayed . 2:2(0) ack 101',
      moves: 'FIN-WAIT-2',
      calls: ['data 100'],
    },
    FIN: {
      does: 'moves to TIME-WAIT and is acknowledged',
      answer: '. 2:2(0) ack 2',
      moves: 'TIME-WAIT',
      calls: ['fin', 'closed eof by upstream'],
    },
    'RST in window': challenged('FIN-WAIT-2', '. 2:2(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('FIN-WAIT-2', '. 2:2(0) ack 1'),
    'beyond window': unacceptable('FIN-WAIT-2', '. 2:2(0) ack 1', 'out-of-window'),
  },
  'CLOSE-WAIT': {
    SYN: challenged('CLOSE-WAIT', '. 1:1(0) ack 2'),
    'SYN-ACK': challenged('CLOSE-WAIT', '. 1:1(0) ack 2'),
    ACK: nothing('CLOSE-WAIT'),
    data: afterFin('CLOSE-WAIT'),
    FIN: { does: 'further right is acknowledged', answer: '. 1:1(0) ack 2', moves: 'CLOSE-WAIT' },
    'RST in window': challenged('CLOSE-WAIT', '. 1:1(0) ack 2'),
    'RST exact': reset(),
    'old segment': unacceptable('CLOSE-WAIT', '. 1:1(0) ack 2'),
    'beyond window': unacceptable('CLOSE-WAIT', '. 1:1(0) ack 2', 'out-of-window'),
  },
  CLOSING: {
    SYN: challenged('CLOSING', '. 2:2(0) ack 2'),
    'SYN-ACK': challenged('CLOSING', '. 2:2(0) ack 2'),
    ACK: {
      does: 'of our FIN moves to TIME-WAIT',
      answer: '',
      moves: 'TIME-WAIT',
      calls: ['closed eof by upstream'],
    },
    data: {
      does: 'is dropped, its ACK moves to TIME-WAIT',
      answer: '',
      moves: 'TIME-WAIT',
      drop: 'after-close',
      calls: ['closed eof by upstream'],
    },
    FIN: {
      does: 'further right is acknowledged, its ACK moves to TIME-WAIT',
      answer: '. 2:2(0) ack 2',
      moves: 'TIME-WAIT',
      calls: ['closed eof by upstream'],
    },
    'RST in window': challenged('CLOSING', '. 2:2(0) ack 2'),
    'RST exact': reset(),
    'old segment': unacceptable('CLOSING', '. 2:2(0) ack 2'),
    'beyond window': unacceptable('CLOSING', '. 2:2(0) ack 2', 'out-of-window'),
  },
  'LAST-ACK': {
    SYN: challenged('LAST-ACK', '. 2:2(0) ack 2'),
    'SYN-ACK': challenged('LAST-ACK', '. 2:2(0) ack 2'),
    ACK: {
      does: 'of our FIN ends the connection',
      answer: '',
      moves: 'gone',
      calls: ['closed eof by client'],
    },
    data: {
      does: 'is dropped, its ACK ends the connection',
      answer: '',
      moves: 'gone',
      drop: 'after-close',
      calls: ['closed eof by client'],
    },
    FIN: {
      does: 'further right is no matter, its ACK ends the connection',
      answer: '',
      moves: 'gone',
      calls: ['closed eof by client'],
    },
    'RST in window': challenged('LAST-ACK', '. 2:2(0) ack 2'),
    'RST exact': reset(),
    'old segment': unacceptable('LAST-ACK', '. 2:2(0) ack 2'),
    'beyond window': unacceptable('LAST-ACK', '. 2:2(0) ack 2', 'out-of-window'),
  },
  'TIME-WAIT': {
    SYN: {
      does: 'opens a new connection (RFC 9293 §3.6.1)',
      answer: '',
      moves: 'LISTEN',
      calls: ['syn'],
    },
    'SYN-ACK': challenged('TIME-WAIT', '. 2:2(0) ack 2'),
    ACK: nothing('TIME-WAIT'),
    data: afterFin('TIME-WAIT'),
    FIN: { does: 'further right is acknowledged', answer: '. 2:2(0) ack 2', moves: 'TIME-WAIT' },
    'RST in window': challenged('TIME-WAIT', '. 2:2(0) ack 2'),
    'RST exact': { does: 'ends the wait', answer: '', moves: 'gone', calls: [] },
    'old segment': unacceptable('TIME-WAIT', '. 2:2(0) ack 2'),
    'beyond window': unacceptable('TIME-WAIT', '. 2:2(0) ack 2', 'out-of-window'),
  },
};

test('every pair of state and event has a case', () => {
  const missing = STATES.flatMap((state) =>
    EVENTS.filter((event) => MATRIX[state]?.[event] === undefined).map((e) => `${state}: ${e}`),
  );
  expect(missing).toEqual([]);
  expect(Object.keys(MATRIX)).toEqual([...STATES]);
});

/** The flags and the codepoint of ECN change nothing in what a segment does. */
const ECN_EVENTS = {
  'SYN that asks for ECN': { like: 'SYN', letters: 'EW', ecn: 0 },
  'ACK with ECE': { like: 'ACK', letters: 'E', ecn: 0 },
  'data with CWR': { like: 'data', letters: 'W', ecn: 2 },
  'data with CE': { like: 'data', letters: '', ecn: 3 },
} as const;
type EcnEventName = keyof typeof ECN_EVENTS;

/** A client that uses ECN gets its answer with ECE, and at once. */
function withEcn(answer: string, state: StateName, event: EcnEventName): string {
  if (event === 'SYN that asks for ECN' && state === 'SYN-RECEIVED') return `SE${answer.slice(1)}`;
  if (event === 'ACK with ECE' || !answer.startsWith('delayed ')) return answer;
  const atOnce = answer.slice('delayed '.length);
  return event === 'data with CE' ? `E${atOnce}` : atOnce;
}

const VARIANTS = [
  { family: 4, timestamps: false, capabilities: FULL_OFFLOAD },
  { family: 6, timestamps: false, capabilities: FULL_OFFLOAD },
  { family: 4, timestamps: true, capabilities: NO_OFFLOAD },
  { family: 6, timestamps: true, capabilities: NO_OFFLOAD },
  { family: 4, timestamps: false, capabilities: FULL_OFFLOAD, ecn: true },
] as const;

/** Sends the segment, and compares what comes of it. */
function checkCase(rig: TcpRig, expected: Case, line: string, ecn: number): void {
  const { answer, moves, drop, calls = [] } = expected;
  const known = rig.owner.flows.flatMap((flow) => flow.calls).length;
  // The owner of a reopened connection takes its time, so that its state can be seen.
  rig.owner.reactions.syn = () => {};
  rig.peer.sends(line, 0, ecn);
  if (answer.startsWith('delayed ')) {
    rig.peer.expectsNothing();
    rig.wait(44);
    rig.peer.expects(answer.slice('delayed '.length));
  } else if (answer !== '') {
    rig.peer.expects(answer);
  }
  rig.peer.expectsNothing();
  const all = rig.owner.flows.flatMap((flow) => flow.calls);
  expect(all.slice(known)).toEqual([...calls]);
  expect(rig.drops).toEqual(drop === undefined ? {} : { [drop]: 1 });
  if (moves === 'gone') rig.expectEmpty();
  else expect(rig.state).toBe(moves);
}

for (const options of VARIANTS) {
  const { family, timestamps, capabilities } = options;
  const hasEcn = 'ecn' in options;
  const device = capabilities.vnetHeader ? 'with a vnet header' : 'without a vnet header';
  describe(`IPv${family}, timestamps ${timestamps}, ECN ${hasEcn}, ${device}`, () => {
    const lineOf = (rig: TcpRig, event: EventName, state: StateName) =>
      segmentOf(event, state, timestamps ? `mss 1460,TS val ${rig.clock.ms} ecr 0` : 'mss 1460');
    for (const state of STATES) {
      for (const event of EVENTS) {
        const expected = MATRIX[state][event];
        test(`${state}: ${event} ${expected.does}`, () => {
          const rig = inState(state, options);
          checkCase(rig, expected, lineOf(rig, event, state), 0);
        });
      }
      for (const [event, { like, letters, ecn }] of Object.entries(ECN_EVENTS)) {
        const expected = MATRIX[state][like];
        test(`${state}: ${event} ${expected.does}`, () => {
          const rig = inState(state, options);
          const answer = hasEcn
            ? withEcn(expected.answer, state, event as EcnEventName)
            : expected.answer;
          checkCase(rig, { ...expected, answer }, letters + lineOf(rig, like, state), ecn);
        });
      }
    }
  });
}
