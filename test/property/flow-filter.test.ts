/** Filters in the bytes of a row against the same question asked of the decoded flow. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseFilter, parseRowFilter } from '../../src/gateway/flow-filter/parse.ts';
import { Carrier, type FlowSnapshot, readFlowRow } from '../../src/stack/flow-row.ts';
import { FlowMemory, flowContext, NOW_US } from '../gateway/supervisor/flows/flow-memory.ts';

interface Question {
  readonly text: string;
  readonly ask: (flow: FlowSnapshot) => boolean;
}

const anyFlow = fc.record({
  source: fc.constantFrom('10.0.0.1', '10.0.0.9', '192.0.2.1', 'fd00::1', 'fd00:0:0:1::1'),
  destinationPort: fc.integer({ min: 78, max: 82 }),
  protocol: fc.constantFrom(1, 6, 17, 58, 132),
  carrier: fc.constantFrom(...Object.values(Carrier)),
  bytesUp: fc.nat(3000),
  bytesDown: fc.nat(3000),
  startedAt: fc.integer({ min: NOW_US - 5_000_000, max: NOW_US }),
});

const COMPARES: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '=': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

const numberQuestion = (
  field: string,
  unit: string,
  value: fc.Arbitrary<number>,
  read: (flow: FlowSnapshot) => number,
) =>
  fc.tuple(fc.constantFrom(...Object.keys(COMPARES)), value).map(
    ([sign, number]): Question => ({
      text: `${field} ${sign} ${number}${unit}`,
      ask: (flow) => COMPARES[sign]!(read(flow), number),
    }),
  );

const PREFIXES: Readonly<Record<string, (ip: string) => boolean>> = {
  '10.0.0.0/29': (ip) => ip === '10.0.0.1',
  '10.0.0.0/8': (ip) => ip.startsWith('10.'),
  '0.0.0.0/0': (ip) => !ip.includes(':'),
  'fd00::/64': (ip) => ip === 'fd00::1',
  '::/0': (ip) => ip.includes(':'),
};

const anyTerm: fc.Arbitrary<Question> = fc.oneof(
  numberQuestion('dport', '', fc.integer({ min: 77, max: 83 }), (flow) => flow.destination.port),
  numberQuestion('bytes', 'B', fc.nat(6000), (flow) => flow.bytesUp + flow.bytesDown),
  numberQuestion('age', 's', fc.nat(6), (flow) => (NOW_US - flow.startedAt) / 1_000_000),
  fc.constantFrom('tcp', 'udp', 'icmp', '132').map((name) => ({
    text: `proto=${name}`,
    ask: (flow: FlowSnapshot) => flow.protocol === name,
  })),
  fc.constantFrom('none', 'tcp', 'nat', 'session').map((name) => ({
    text: `carrier != ${name}`,
    ask: (flow: FlowSnapshot) => flow.carrier !== name,
  })),
  fc.constantFrom(...Object.keys(PREFIXES)).map((network) => ({
    text: `src in ${network}`,
    ask: (flow: FlowSnapshot) => PREFIXES[network]!(flow.source.ip),
  })),
);

const { question } = fc.letrec<{ question: Question; terms: Question[] }>((tie) => ({
  question: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    anyTerm,
    tie('question').map(({ text, ask }) => ({
      text: `not (${text})`,
      ask: (flow: FlowSnapshot) => !ask(flow),
    })),
    tie('terms').map((terms) => ({
      text: terms.map(({ text }) => `(${text})`).join(' or '),
      ask: (flow: FlowSnapshot) => terms.some(({ ask }) => ask(flow)),
    })),
    tie('terms').map((terms) => ({
      text: terms.map(({ text }) => `(${text})`).join(' and '),
      ask: (flow: FlowSnapshot) => terms.every(({ ask }) => ask(flow)),
    })),
  ),
  terms: fc.array(tie('question'), { minLength: 1, maxLength: 4 }),
}));

test('a filter finds in the bytes of a row what the decoded flow says', () => {
  const memory = new FlowMemory(1);
  fc.assert(
    fc.property(anyFlow, question, (fields, { text, ask }) => {
      memory.put(0, fields);
      const flow = readFlowRow(memory.view, 0)!;
      expect(parseFilter(text)(flowContext())(memory.view, 0)).toBe(ask(flow));
    }),
    { numRuns: 2000 },
  );
});

test('without names and time a filter lets pass all that the whole filter does', () => {
  const memory = new FlowMemory(1);
  let narrower = 0;
  fc.assert(
    fc.property(anyFlow, question, (fields, { text, ask }) => {
      memory.put(0, fields);
      const passes = parseRowFilter(text)(flowContext())(memory.view, 0);
      if (ask(readFlowRow(memory.view, 0)!)) expect(passes).toBe(true);
      else if (!passes) narrower++;
    }),
    { numRuns: 2000 },
  );
  // It is not that everything passes.
  expect(narrower).toBeGreaterThan(200);
});
