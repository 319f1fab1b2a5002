import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  isNamed,
  parseTarget,
  parseVerdict,
} from '../../../src/scripts-runtime/verdict/parse-verdict.ts';
import { CONGESTION_NAMES, REJECT_WITHS } from '../../../src/stack/verdict.ts';

const SERVICES = ['welcome'];

test('any value is a verdict or a reason, never an exception', () => {
  const kind = fc.constantFrom('decline', 'reject', 'forward', 'redirect', 'nat', 'claim', '');
  const option = fc.oneof(
    fc.anything(),
    fc.constantFrom(
      'rst',
      'drop',
      'welcome',
      'dial-first',
      'cubic',
      '10.0.0.1:80',
      '10.0.0.1',
      true,
      1,
      2,
      0,
      -1,
      1.5,
    ),
  );
  const keys = fc.constantFrom(
    'with',
    'reason',
    'to',
    'handshake',
    'proxyProtocol',
    'bind',
    'mark',
    'connectTimeoutMs',
    'idleTimeoutMs',
    'halfCloseTimeoutMs',
    'maxBytes',
    'congestion',
    'masquerade',
    'listener',
    'note',
    'extra',
  );
  const shaped = fc
    .tuple(kind, fc.dictionary(keys, option))
    .map(([k, fields]) => ({ ...fields, kind: k }));
  fc.assert(
    fc.property(fc.oneof(fc.anything(), shaped), (value) => {
      const verdict = parseVerdict(value, SERVICES);
      if (typeof verdict === 'string') {
        expect(verdict).not.toBe('');
        return;
      }
      const given = (value as { kind: string }).kind;
      expect(verdict.kind).toBe(given as typeof verdict.kind);
      if (verdict.kind === 'reject') expect(REJECT_WITHS).toContain(verdict.with);
      if (verdict.kind === 'claim') expect(typeof verdict.sniff).toBe('boolean');
      if (verdict.kind === 'redirect') expect(verdict.listener).toMatch(/^[A-Za-z0-9][\w.-]*$/);
      if (verdict.kind !== 'forward' && verdict.kind !== 'nat') return;
      if (verdict.to !== undefined) {
        expect(verdict.to.port).toBeGreaterThanOrEqual(isNamed(verdict.to) ? 1 : 0);
        expect(verdict.to.port).toBeLessThan(65_536);
      }
      if (verdict.kind === 'nat') {
        expect(typeof verdict.masquerade).toBe('boolean');
        return;
      }
      expect([undefined, ...CONGESTION_NAMES]).toContain(verdict.congestion);
      for (const name of ['mark', 'connectTimeoutMs', 'idleTimeoutMs'] as const) {
        expect(verdict[name] === undefined || Number.isInteger(verdict[name])).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a congestion control that does not exist is named, with those that do', () => {
  const verdict = { kind: 'forward', congestion: 'tahoe' };
  expect(parseVerdict(verdict, SERVICES)).toBe(
    `forward(): congestion is one of ${CONGESTION_NAMES.join(', ')}`,
  );
});

test('a NAT masquerades unless it is told not to', () => {
  expect(parseVerdict({ kind: 'nat' }, SERVICES)).toEqual({ kind: 'nat', masquerade: true });
  expect(parseVerdict({ kind: 'nat', masquerade: false, idleTimeoutMs: 5 }, SERVICES)).toEqual({
    kind: 'nat',
    masquerade: false,
    idleTimeoutMs: 5,
  });
});

test.each([
  [{ to: 'nowhere' }, /^nat\(\): "nowhere" is no address; write /],
  [{ masquerade: 1 }, 'nat(): masquerade is true or false'],
  [{ idleTimeoutMs: -1 }, 'nat(): idleTimeoutMs is a whole number from 0 to 4294967295'],
])('a NAT with %o is refused in words', (fields, message) => {
  expect(parseVerdict({ kind: 'nat', ...fields }, SERVICES)).toMatch(message);
});

test('reason and note are cut to 200 bytes at the end of a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (reason) => {
      const verdict = parseVerdict({ kind: 'reject', reason }, SERVICES);
      if (typeof verdict === 'string' || verdict.kind !== 'reject') throw new Error('no rejection');
      expect(Buffer.byteLength(verdict.reason)).toBeLessThanOrEqual(200);
      if (!reason.includes('\ufffd')) expect(verdict.reason).not.toContain('\ufffd');
      expect(Buffer.from(reason).toString().startsWith(verdict.reason)).toBe(true);
      if (Buffer.byteLength(reason) <= 200)
        expect(verdict.reason).toBe(Buffer.from(reason).toString());
    }),
  );
});

test('an address and a port come back as they went in', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV6(), fc.integer({ min: 1, max: 65_535 }), (four, six, port) => {
      expect(parseTarget(`${four}:${port}`)).toEqual({ ip: four, port, family: 4 });
      expect(parseTarget(`[${six}]:${port}`)).toEqual({ ip: six, port, family: 6 });
    }),
  );
});

test.each([
  ['example.com:443', { name: 'example.com', port: 443 }],
  ['example.com.:443', { name: 'example.com.', port: 443 }],
  ['_dns.local-host:53', { name: '_dns.local-host', port: 53 }],
  ['localhost:1', { name: 'localhost', port: 1 }],
  ['', undefined],
  ['10.0.0.1', { ip: '10.0.0.1', port: 0, family: 4 as const }],
  ['[fd00::1]', { ip: 'fd00::1', port: 0, family: 6 as const }],
  ['example.com', undefined],
  ['fd00::1', undefined],
  ['10.0.0.1:', undefined],
  ['10.0.0.1:0', undefined],
  ['10.0.0.1:65536', undefined],
  ['10.0.0.1:1e3', undefined],
  ['300.0.0.1:80', undefined],
  ['10.0.0:80', undefined],
  ['fd00::1:80', undefined],
  ['[fe80::1%eth0]:80', undefined],
  ['[10.0.0.1]:80', undefined],
  ['a..b:80', undefined],
  ['-a:80', undefined],
  [`${'a'.repeat(64)}:80`, undefined],
  ['a b:80', undefined],
  ['http://a:80', undefined],
])('the target %s', (text, expected) => {
  expect(parseTarget(text)).toEqual(expected as ReturnType<typeof parseTarget>);
});

test('a claim says whether it sniffs, and nothing else will do', () => {
  const parse = (fields: object) => parseVerdict({ kind: 'claim', ...fields }, SERVICES);
  expect(parse({})).toEqual({ kind: 'claim', sniff: false });
  expect(parse({ sniff: true })).toEqual({ kind: 'claim', sniff: true });
  expect(parse({ sniff: 1 })).toBe('claim(): sniff is true or false');
});
