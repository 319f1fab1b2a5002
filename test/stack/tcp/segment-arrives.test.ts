/** SEGMENT ARRIVES, RFC 9293 §3.10.7, as traces: every state, every event. */
import { describe, expect, test } from 'bun:test';
import { seconds } from '../../../src/stack/time.ts';
import { inState, POSITIONS, STATES, type StateName } from '../../support/tcp-states.ts';
import { TcpRig } from '../../support/tcp-rig.ts';

const EVENTS = [
  'SYN',
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
  readonly then: StateName | 'gone';
  /** Why the segment was dropped, if it was. */
  readonly drop?: string;
  /** Calls of the owner. */
  readonly calls?: readonly string[];
}

/** Further to the right than any window that the stack has offered in these states. */
const BEYOND = 2_000_000;

/** The segment of an event; the ACK field acknowledges all that the stack has sent. */
function segmentOf(event: EventName, state: StateName): string {
  const { peer, stack } = POSITIONS[state];
  const tail = `ack ${stack} win 512`;
  switch (event) {
    case 'SYN':
      return state === 'SYN-RECEIVED' || state === 'LISTEN' || state === 'CLOSED'
        ? 'S 0:0(0) win 65535 <mss 1460>'
        : `S ${peer + 9}:${peer + 9}(0) win 65535 <mss 1460>`;
    case 'ACK':
      return `. ${peer}:${peer}(0) ${tail}`;
    case 'data':
      return `P. ${peer}:${peer + 100}(100) ${tail}`;
    case 'FIN':
      return `F. ${peer}:${peer}(0) ${tail}`;
    case 'RST in window':
      return `R ${peer + 1}:${peer + 1}(0)`;
    case 'RST exact':
      return `R ${peer}:${peer}(0)`;
    case 'old segment':
      return `P. ${peer - 50}:${peer}(50) ${tail}`;
    case 'beyond window':
      return `P. ${peer + BEYOND}:${peer + BEYOND + 50}(50) ${tail}`;
  }
}

const unknown = (answer: string): Case => ({
  does: 'is answered with a reset that its sender accepts',
  answer,
  then: 'gone',
  drop: 'no-flow',
});
const ignored = (state: StateName, drop: string): Case => ({
  does: 'is ignored: the SYN waits for its verdict',
  answer: '',
  then: state,
  drop,
});
const challenged = (state: StateName, answer: string): Case => ({
  does: 'draws a challenge ACK (RFC 5961)',
  answer,
  then: state,
  drop: 'challenged',
});
const reset = (calls: readonly string[] = ['closed client-reset by client']): Case => ({
  does: 'ends the connection',
  answer: '',
  then: 'gone',
  calls,
});
const unacceptable = (state: StateName, answer: string, drop = 'duplicate'): Case => ({
  does: 'is answered with an ACK',
  answer,
  then: state,
  drop,
});
const nothing = (state: StateName): Case => ({ does: 'changes nothing', answer: '', then: state });
const afterFin = (state: StateName): Case => ({
  does: 'is dropped: a FIN came before',
  answer: '',
  then: state,
  drop: 'after-close',
});

const MATRIX: Readonly<Record<StateName, Readonly<Record<EventName, Case>>>> = {
  CLOSED: {
    SYN: { does: 'is held and shown to the owner', answer: '', then: 'LISTEN', calls: ['syn'] },
    ACK: unknown('R 0:0(0)'),
    data: unknown('R 0:0(0)'),
    FIN: unknown('R 0:0(0)'),
    'RST in window': {
      does: 'is dropped in silence',
      answer: '',
      then: 'gone',
      drop: 'no-flow',
    },
    'RST exact': { does: 'is dropped in silence', answer: '', then: 'gone', drop: 'no-flow' },
    'old segment': unknown('R 0:0(0)'),
    'beyond window': unknown('R 0:0(0)'),
  },
  LISTEN: {
    SYN: ignored('LISTEN', 'held-syn-repeated'),
    ACK: ignored('LISTEN', 'no-flow'),
    data: ignored('LISTEN', 'no-flow'),
    FIN: ignored('LISTEN', 'no-flow'),
    'RST in window': ignored('LISTEN', 'out-of-window'),
    'RST exact': {
      does: 'means that the client has gone',
      answer: '',
      then: 'gone',
      calls: ['closed client-gone by client'],
    },
    'old segment': ignored('LISTEN', 'no-flow'),
    'beyond window': ignored('LISTEN', 'no-flow'),
  },
  'SYN-RECEIVED': {
    SYN: {
      does: 'is answered with the SYN-ACK again',
      answer: 'S. 0:0(0) ack 1',
      then: 'SYN-RECEIVED',
      drop: 'duplicate',
    },
    ACK: {
      does: 'moves to ESTABLISHED',
      answer: '',
      then: 'ESTABLISHED',
      calls: ['established'],
    },
    data: {
      does: 'moves to ESTABLISHED and is delivered',
      answer: 'delayed . 1:1(0) ack 101',
      then: 'ESTABLISHED',
      calls: ['established', 'data 100'],
    },
    FIN: {
      does: 'moves to ESTABLISHED and on to CLOSE-WAIT',
      answer: '. 1:1(0) ack 2',
      then: 'CLOSE-WAIT',
      calls: ['established', 'fin'],
    },
    'RST in window': challenged('SYN-RECEIVED', '. 1:1(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('SYN-RECEIVED', '. 1:1(0) ack 1'),
    'beyond window': unacceptable('SYN-RECEIVED', '. 1:1(0) ack 1', 'out-of-window'),
  },
  ESTABLISHED: {
    SYN: challenged('ESTABLISHED', '. 1:1(0) ack 1'),
    ACK: nothing('ESTABLISHED'),
    data: {
      does: 'is delivered, and acknowledged within 40 ms',
      answer: 'delayed . 1:1(0) ack 101',
      then: 'ESTABLISHED',
      calls: ['data 100'],
    },
    FIN: {
      does: 'moves to CLOSE-WAIT and is acknowledged',
      answer: '. 1:1(0) ack 2',
      then: 'CLOSE-WAIT',
      calls: ['fin'],
    },
    'RST in window': challenged('ESTABLISHED', '. 1:1(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('ESTABLISHED', '. 1:1(0) ack 1'),
    'beyond window': unacceptable('ESTABLISHED', '. 1:1(0) ack 1', 'out-of-window'),
  },
  'FIN-WAIT-1': {
    SYN: challenged('FIN-WAIT-1', '. 2:2(0) ack 1'),
    ACK: { does: 'of our FIN moves to FIN-WAIT-2', answer: '', then: 'FIN-WAIT-2' },
    data: {
      does: 'is delivered: only our direction is closed',
      answer: 'delayed . 2:2(0) ack 101',
      then: 'FIN-WAIT-2',
      calls: ['data 100'],
    },
    FIN: {
      does: 'that acknowledges our FIN moves to TIME-WAIT',
      answer: '. 2:2(0) ack 2',
      then: 'TIME-WAIT',
      calls: ['fin', 'closed eof by upstream'],
    },
    'RST in window': challenged('FIN-WAIT-1', '. 2:2(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('FIN-WAIT-1', '. 2:2(0) ack 1'),
    'beyond window': unacceptable('FIN-WAIT-1', '. 2:2(0) ack 1', 'out-of-window'),
  },
  'FIN-WAIT-2': {
    SYN: challenged('FIN-WAIT-2', '. 2:2(0) ack 1'),
    ACK: nothing('FIN-WAIT-2'),
    data: {
      does: 'is delivered: only our direction is closed',
      answer: 'delayed . 2:2(0) ack 101',
      then: 'FIN-WAIT-2',
      calls: ['data 100'],
    },
    FIN: {
      does: 'moves to TIME-WAIT and is acknowledged',
      answer: '. 2:2(0) ack 2',
      then: 'TIME-WAIT',
      calls: ['fin', 'closed eof by upstream'],
    },
    'RST in window': challenged('FIN-WAIT-2', '. 2:2(0) ack 1'),
    'RST exact': reset(),
    'old segment': unacceptable('FIN-WAIT-2', '. 2:2(0) ack 1'),
    'beyond window': unacceptable('FIN-WAIT-2', '. 2:2(0) ack 1', 'out-of-window'),
  },
  'CLOSE-WAIT': {
    SYN: challenged('CLOSE-WAIT', '. 1:1(0) ack 2'),
    ACK: nothing('CLOSE-WAIT'),
    data: afterFin('CLOSE-WAIT'),
    FIN: { does: 'further right is acknowledged', answer: '. 1:1(0) ack 2', then: 'CLOSE-WAIT' },
    'RST in window': challenged('CLOSE-WAIT', '. 1:1(0) ack 2'),
    'RST exact': reset(),
    'old segment': unacceptable('CLOSE-WAIT', '. 1:1(0) ack 2'),
    'beyond window': unacceptable('CLOSE-WAIT', '. 1:1(0) ack 2', 'out-of-window'),
  },
  CLOSING: {
    SYN: challenged('CLOSING', '. 2:2(0) ack 2'),
    ACK: {
      does: 'of our FIN moves to TIME-WAIT',
      answer: '',
      then: 'TIME-WAIT',
      calls: ['closed eof by upstream'],
    },
    data: {
      does: 'is dropped, its ACK moves to TIME-WAIT',
      answer: '',
      then: 'TIME-WAIT',
      drop: 'after-close',
      calls: ['closed eof by upstream'],
    },
    FIN: {
      does: 'further right is acknowledged, its ACK moves to TIME-WAIT',
      answer: '. 2:2(0) ack 2',
      then: 'TIME-WAIT',
      calls: ['closed eof by upstream'],
    },
    'RST in window': challenged('CLOSING', '. 2:2(0) ack 2'),
    'RST exact': reset(),
    'old segment': unacceptable('CLOSING', '. 2:2(0) ack 2'),
    'beyond window': unacceptable('CLOSING', '. 2:2(0) ack 2', 'out-of-window'),
  },
  'LAST-ACK': {
    SYN: challenged('LAST-ACK', '. 2:2(0) ack 2'),
    ACK: {
      does: 'of our FIN ends the connection',
      answer: '',
      then: 'gone',
      calls: ['closed eof by client'],
    },
    data: {
      does: 'is dropped, its ACK ends the connection',
      answer: '',
      then: 'gone',
      drop: 'after-close',
      calls: ['closed eof by client'],
    },
    FIN: {
      does: 'further right is no matter, its ACK ends the connection',
      answer: '',
      then: 'gone',
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
      then: 'LISTEN',
      calls: ['syn'],
    },
    ACK: nothing('TIME-WAIT'),
    data: afterFin('TIME-WAIT'),
    FIN: { does: 'further right is acknowledged', answer: '. 2:2(0) ack 2', then: 'TIME-WAIT' },
    'RST in window': challenged('TIME-WAIT', '. 2:2(0) ack 2'),
    'RST exact': { does: 'ends the wait', answer: '', then: 'gone', calls: [] },
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

for (const family of [4, 6] as const) {
  describe(`IPv${family}`, () => {
    for (const state of STATES) {
      for (const event of EVENTS) {
        const { does, answer, then, drop, calls = [] } = MATRIX[state][event];
        test(`${state}: ${event} ${does}`, () => {
          const rig = inState(state, { family });
          const known = rig.owner.flows.flatMap((flow) => flow.calls).length;
          // LISTEN hands the SYN over and goes on when the owner says so, not at once.
          rig.owner.reactions.syn = () => {};
          rig.peer.sends(segmentOf(event, state));
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
          if (then === 'gone') rig.expectEmpty();
          else expect(rig.state).toBe(then);
        });
      }
    }
  });
}

describe('first check, the sequence number', () => {
  test('the part of a segment that was received before is cut off', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.sends('P. 51:201(150) ack 1 win 512');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'data 100']);
    expect(rig.flow.received).toBe(200);
  });

  test('the part of a segment beyond the window is cut off, and the FIN behind it', () => {
    const rig = inState('SYN-RECEIVED');
    rig.owner.reactions.established = (row) => {
      rig.owner.flow(row).appetite = 0;
    };
    // The window of the SYN-ACK is not scaled: 65,535 bytes.
    rig.batch(() => {
      rig.peer.sends('P. 1:60001(60000) ack 1 win 512', 1460);
      rig.peer.sends('F. 60001:66001(6000) ack 1 win 512', 1460);
    });
    rig.peer.expects('. 1:1(0) ack 65536');
    expect(rig.state).toBe('ESTABLISHED');
    expect(rig.tcb.backlogBytes).toBe(65_535);
  });

  test('sequence numbers wrap around on both sides', () => {
    const rig = inState('ESTABLISHED', { peerIss: 0xffff_ff00, stackIss: 0xffff_ff80 });
    expect(rig.peer.serverIss).toBe(0xffff_ff80);
    rig.send(1000);
    rig.peer.expects('P. 1:1001(1000) ack 1');
    rig.peer.sends('P. 401:801(400) ack 1 win 512');
    rig.peer.expects('. 1001:1001(0) ack 1');
    rig.peer.sends('P. 1:401(400) ack 501 win 512');
    rig.peer.expects('. 1001:1001(0) ack 801');
    rig.peer.sends('. 801:801(0) ack 1001 win 512');
    expect(rig.tcb.flightSize).toBe(0);
    expect(rig.flow.received).toBe(800);
  });

  test('SYN-RECEIVED: another SYN in the window draws an ACK that makes the client reset', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('S 9:9(0) win 65535 <mss 1460>');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends('R 1:1(0)');
    expect(rig.flow.calls).toEqual(['syn', 'closed client-reset by client']);
    rig.expectEmpty();
  });
});

describe('timestamps, RFC 7323 §5', () => {
  const timestamps = true;

  test('PAWS drops a segment with an older timestamp, and acknowledges', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const old = rig.clock.ms - 1;
    rig.peer.sends(`P. 1:101(100) ack 1 win 512 <nop,nop,TS val ${old} ecr 0>`);
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.drops).toEqual({ paws: 1 });
    expect(rig.flow.received).toBe(0);
  });

  test('a segment without the negotiated timestamps is dropped in silence', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.peer.sends('P. 1:101(100) ack 1 win 512 <>');
    rig.peer.expectsNothing();
    expect(rig.drops).toEqual({ paws: 1 });
  });

  test('a reset needs no timestamp', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.peer.sends('R 1:1(0) <>');
    rig.expectEmpty();
  });

  test('the newest timestamp of an in-order segment is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.wait(500);
    const { ms } = rig.clock;
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 101 <TS val * ecr ${ms}>`);
  });

  test('an early segment does not change what is echoed: the hole is to be measured', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.wait(500);
    rig.peer.sends('P. 101:201(100) ack 1 win 512');
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('a segment outside the window does not change what is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.peer.sends(`. -9000:-9000(0) ack 1 win 512 <nop,nop,TS val ${ms + 5000} ecr 0>`);
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('a reset in the window, which may be forged, does not change what is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.peer.sends(`R 9:9(0) <nop,nop,TS val ${ms + 5000} ecr 0>`);
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('after 24 days of silence a timestamp is news, whatever its value', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.clock.advance(seconds(25 * 24 * 3600));
    const value = (ms - 1000) >>> 0;
    rig.peer.sends(`P. 1:101(100) ack 1 win 512 <nop,nop,TS val ${value} ecr 0>`);
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 101 <TS val * ecr ${value}>`);
    rig.peer.sends(`P. 101:201(100) ack 1 win 512 <nop,nop,TS val ${value - 1} ecr 0>`);
    expect(rig.drops).toEqual({ paws: 1 });
  });

  test('timestamps wrap around', () => {
    const rig = new TcpRig({ timestamps });
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460,TS val 4294967290 ecr 0>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 <mss 1460,TS val * ecr 4294967290>');
    rig.peer.sends('. 1:1(0) ack 1 win 512 <nop,nop,TS val 3 ecr 0>');
    rig.peer.sends('P. 1:101(100) ack 1 win 512 <nop,nop,TS val 4294967295 ecr 0>');
    expect(rig.drops).toEqual({ paws: 1 });
  });
});

describe('fourth check, SYN', () => {
  const SYN_AGAIN = 'S 5000:5000(0) win 65535 <mss 1460>';

  test('TIME-WAIT: a SYN further left is an old duplicate, and is acknowledged', () => {
    const rig = inState('TIME-WAIT');
    rig.peer.sends('S -5000:-5000(0) win 65535 <mss 1460>');
    rig.peer.expects('. 2:2(0) ack 2');
    expect(rig.state).toBe('TIME-WAIT');
  });

  test('TIME-WAIT: a newer timestamp reopens even where the numbers go back (RFC 6191)', () => {
    const rig = inState('TIME-WAIT', { timestamps: true });
    rig.owner.reactions.syn = () => {};
    rig.wait(1000);
    const { ms } = rig.clock;
    rig.peer.sends(`S -5000:-5000(0) win 65535 <mss 1460,TS val ${ms} ecr 0>`);
    expect(rig.state).toBe('LISTEN');
    expect(rig.owner.flows).toHaveLength(2);
  });

  test('TIME-WAIT: a reopened connection works from SYN to end', () => {
    const rig = inState('TIME-WAIT');
    const again = rig.newPeer({ iss: rig.peer.options.iss + 5000 });
    rig.connect(again);
    again.sends('P. 1:101(100) ack 1 win 512');
    expect(rig.flow.received).toBe(100);
    again.sends('R 101:101(0)');
    rig.expectEmpty();
  });

  test('TIME-WAIT: a SYN waits until the owner has taken all of the old connection', () => {
    const rig = inState('FIN-WAIT-2');
    rig.flow.appetite = 0;
    rig.peer.sends('F. 1:101(100) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 102');
    expect(rig.state).toBe('TIME-WAIT');
    rig.peer.sends(SYN_AGAIN);
    rig.peer.expects('. 2:2(0) ack 102');
    rig.eat(100);
    expect(rig.flow.calls.slice(-3)).toEqual(['data 100', 'fin', 'closed eof by upstream']);
    rig.owner.reactions.syn = () => {};
    rig.peer.sends(SYN_AGAIN);
    expect(rig.state).toBe('LISTEN');
  });
});

describe('fifth check, ACK', () => {
  test('SYN-RECEIVED: an ACK of what was not sent is answered with a reset', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('. 1:1(0) ack 7 win 512');
    rig.peer.expects('R 7:7(0)');
    expect(rig.drops).toEqual({ 'unacceptable-ack': 1 });
    expect(rig.state).toBe('SYN-RECEIVED');
  });

  test('ESTABLISHED: a segment without ACK is dropped', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P 1:101(100) win 512');
    rig.peer.expectsNothing();
    expect(rig.drops).toEqual({ 'no-ack': 1 });
    expect(rig.flow.received).toBe(0);
  });

  test('the handshake may be finished by data, and by data with FIN', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('FP. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls).toEqual(['syn', 'established', 'data 100', 'fin']);
  });
});

describe('eighth check, FIN', () => {
  test('a FIN that arrives early waits for what comes before it', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 101:201(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.state).toBe('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 202');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'data 100', 'fin']);
  });

  test('a bare FIN that arrives early waits, too', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 101:101(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'fin']);
  });

  for (const state of ['CLOSE-WAIT', 'CLOSING', 'LAST-ACK', 'TIME-WAIT'] as const) {
    test(`${state}: the FIN again is acknowledged again`, () => {
      const rig = inState(state);
      const { stack } = POSITIONS[state];
      rig.peer.sends('F. 1:1(0) ack 1 win 512');
      rig.peer.expects(`. ${stack}:${stack}(0) ack 2`);
      expect(rig.state).toBe(state);
      expect(rig.flow.calls.filter((call) => call === 'fin')).toHaveLength(1);
    });
  }

  test('TIME-WAIT: the FIN again starts the wait again', () => {
    const rig = inState('TIME-WAIT');
    rig.wait(50_000);
    rig.peer.sends('F. 1:1(0) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 2');
    rig.wait(50_000);
    expect(rig.state).toBe('TIME-WAIT');
    rig.wait(11_000);
    rig.expectEmpty();
  });

  test('bytes behind a FIN never reach the owner, and are not kept', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 102:202(100) ack 1 win 512');
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.received).toBe(100);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });
});
