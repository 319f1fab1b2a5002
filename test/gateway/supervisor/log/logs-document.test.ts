/** docs/logs.md against the source: every event and every field that stands there by name. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { viewEndedFlow } from '../../../../src/gateway/supervisor/flows/flow-view.ts';
import { readFlowRow } from '../../../../src/stack/flow-row.ts';
import { FlowMemory, flowContext } from '../flows/flow-memory.ts';

const ROOT = join(import.meta.dir, '../../../..');
const document = readFileSync(join(ROOT, 'docs/logs.md'), 'utf8');
/** A table of fields of one line, and one of events. */
const [, flowTable = '', , eventTable = ''] = document.split(/^## /m);

interface LogCall {
  readonly event: string;
  readonly level: string | undefined;
  readonly fields: readonly string[];
}

const source = [...new Bun.Glob('src/gateway/**/*.ts').scanSync({ cwd: ROOT })]
  .map((file) => readFileSync(join(ROOT, file), 'utf8'))
  .join('\n');

const documented: LogCall[] = Array.from(
  eventTable.matchAll(/^\| `([\w*-]+)` \| (\w+) \| ([^|]*)\|/gm),
  ([, event = '', level, cell = '']) => ({ event, level, fields: wordsOf(cell) }),
);

function wordsOf(cell: string): string[] {
  return Array.from(cell.matchAll(/`([\w-]+)`/g), ([, word = '']) => word);
}

/** `log.warn({ … }, 'event')`, and the messages of the data plane that become lines. */
const written: LogCall[] = [
  ...Array.from(source.matchAll(/\blog\.(info|warn|error|debug)\(/g), ({ 1: level, index }) => {
    const call = balanced(source, source.indexOf('(', index));
    const [, name, more] = /['`]([\w-]+)(\$\{\w+\})?['`],?\s*\)$/.exec(call) ?? [];
    // A name that ends with a variable stands in the document with a star.
    const event = name === undefined ? `unnamed: ${call}` : more === undefined ? name : `${name}*`;
    return { event, level, fields: keysOf(call.slice(call.indexOf('{'))) };
  }),
  ...Array.from(
    source.matchAll(/\bkind: 'log',\s*level: '(\w+)',\s*event: '([\w-]+)'/g),
    (match) => {
      const at = source.indexOf('fields:', match.index);
      return { event: match[2] ?? '', level: match[1], fields: keysOf(source.slice(at + 8)) };
    },
  ),
];

/** The text from an opening bracket to the one that closes it. */
function balanced(text: string, at: number): string {
  let depth = 0;
  for (let end = at; end < text.length; end++) {
    if ('([{'.includes(text[end]!)) depth++;
    else if (')]}'.includes(text[end]!) && --depth === 0) return text.slice(at, end + 1);
  }
  return text.slice(at);
}

/** Names of an object literal at the start of `text`; what is spread is not looked into. */
function keysOf(text: string): string[] {
  if (!text.startsWith('{')) return [];
  const body = balanced(text, 0).slice(1, -1);
  const keys: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= body.length; at++) {
    const mark = body[at] ?? ',';
    if ('([{'.includes(mark)) depth++;
    else if (')]}'.includes(mark)) depth--;
    else if (mark === ',' && depth === 0) {
      const name = /^\s*(\w+)/.exec(body.slice(start, at))?.[1];
      if (name !== undefined) keys.push(name);
      start = at + 1;
    }
  }
  return keys;
}

const NOTE = {
  sniff: { proto: 'tls', sni: 'a.example', host: 'a.example', alpn: ['h2'] },
  dnsName: 'b.example',
  seenName: 'c.example',
} as const;

/** They have sections of their own. */
const isOwnSection = ({ event }: LogCall): boolean => event === 'flow';

test('every event of the source is in the document, with its level and its fields', () => {
  expect(written.length).toBeGreaterThan(30);
  for (const { event, level, fields } of written.filter((call) => !isOwnSection(call))) {
    const found = documented.find((line) => line.event === event);
    expect({ event, level: found?.level }).toEqual({ event, level });
    expect({ event, missing: fields.filter((field) => !found?.fields.includes(field)) }).toEqual({
      event,
      missing: [],
    });
  }
});

test('every event of the document is in the source', () => {
  const events = new Set(written.map(({ event }) => event));
  expect(documented.filter(({ event }) => !events.has(event))).toEqual([]);
});

test('the line of a flow has the fields of the document, and no others', () => {
  const memory = new FlowMemory(1);
  memory.put(0, { upstream: '10.9.0.1', natSource: '192.0.2.1' });
  const context = { ...flowContext(), noteOf: () => NOTE };
  const { phase: _, ...view } = viewEndedFlow(readFlowRow(memory.view, 0)!, context);
  const fields = new Set(
    Array.from(flowTable.matchAll(/^\| ([^|]+)\|/gm), ([, cell = '']) => wordsOf(cell)).flat(),
  );
  const known = new Set([...Object.keys(view), 'event', 'flow_id', 'orig_dst']);
  expect([...known].filter((field) => !fields.has(field))).toEqual([]);
  expect([...fields].filter((field) => !known.has(field))).toEqual([]);
});
