import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import fc from 'fast-check';
import { readAddress } from '../../../src/scripts-runtime/sets/address.ts';
import { CidrSet } from '../../../src/scripts-runtime/sets/cidr-set.ts';
import { DomainSet } from '../../../src/scripts-runtime/sets/domain-set.ts';
import { parseSet, Sets } from '../../../src/scripts-runtime/sets/sets.ts';
import { parseAddress, parseCidr } from '../../../src/stack/wire/ip-address.ts';
import { ScriptWorld, syncScriptOf } from '../script-world.ts';

/** Of its processor time; of the other kind a busy machine takes what it likes. */
setDefaultTimeout(60_000);
/** Some ten times what a slow machine needs. */
const CPU_US_MAX = 10_000_000;

const words = new Uint32Array(4);
/** `4` or `6` and the bytes, as the stack reads them. */
const asStack = (text: string): string => {
  const bytes = parseAddress(text);
  if (bytes === undefined) return 'none';
  const hex = bytes.toHex();
  const mapped = `${'0'.repeat(20)}ffff`;
  if (bytes.length === 16 && hex.startsWith(mapped)) return `4 ${hex.slice(24)}`;
  return `${bytes.length === 4 ? 4 : 6} ${hex}`;
};
const asSet = (text: string): string => {
  const family = readAddress(`[${text}]`, 1, text.length + 1, words);
  const hex = Array.from(words, (word) => word.toString(16).padStart(8, '0'));
  return family === 0 ? 'none' : `${family} ${family === 4 ? hex[3] : hex.join('')}`;
};

describe('an address', () => {
  test.each([
    ...['1.2.3.4', '0.0.0.0', '255.255.255.255', '1.2.3', '1.2.3.4.5', '01.2.3.4', '256.1.1.1', ''],
    ...['1..2.3', '1.2.3.', '.1.2.3', ' 1.2.3.4', '1.2.3.4 ', 'a.b.c.d', '1.2.3.00'],
    ...['::', '::1', '1::', 'fd00::1', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9'],
    ...['1:2:3:4:5:6:7::', '::2:3:4:5:6:7:8', '1::2::3', ':::', ':1', '1:', '12345::', 'g::'],
    ...['::ffff:1.2.3.4', '::1.2.3.4', '1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:7:1.2.3.4', '::1.2.3'],
    ...['FD00::ABCD', 'fe80::1%eth0', '[::1]', '1:2:3:4::5:6:7:8', ':', '::1.2.3.4:1'],
  ])('%p is read as the stack reads it', (text) => {
    expect(asSet(text)).toBe(asStack(text));
  });

  test('of any kind is read as the stack reads it', () => {
    const text = fc.oneof(fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/));
    fc.assert(fc.property(text, (one) => expect(asSet(one)).toBe(asStack(one))));
  });
});

describe('a set of networks', () => {
  test('has what lies in one of them, bounds included', () => {
    const set = new CidrSet(['10.0.0.0/8', '192.0.2.7', '192.0.2.9/31', 'fd00::/8', '::1']);
    const inside = ['10.0.0.0', '10.255.255.255', '192.0.2.7', '192.0.2.8', '192.0.2.9', 'fd00::'];
    const outside = ['9.255.255.255', '11.0.0.0', '192.0.2.6', '192.0.2.10', 'fe00::', '::2', '::'];
    for (const ip of [...inside, 'fdff:ffff::1', '::1', '::ffff:10.1.2.3']) {
      expect([ip, set.has(ip)]).toEqual([ip, true]);
    }
    for (const ip of [...outside, 'fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'no address', '']) {
      expect([ip, set.has(ip)]).toEqual([ip, false]);
    }
  });

  test('of all addresses has all, and an empty one none', () => {
    const all = new CidrSet(['0.0.0.0/0', '::/0']);
    for (const ip of ['0.0.0.0', '255.255.255.255', '::', 'ffff::']) expect(all.has(ip)).toBe(true);
    const none = new CidrSet([]);
    for (const ip of ['0.0.0.0', '255.255.255.255', '::', 'ffff::'])
      expect(none.has(ip)).toBe(false);
  });

  test('is made of networks that overlap and touch as of any others', () => {
    const network = fc.oneof(
      fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
      fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
    );
    const near = fc.tuple(
      fc.integer({ min: 0, max: 63 }).map((low) => `10.0.0.${low}`),
      fc.integer({ min: 26, max: 32 }),
    );
    const networks = fc.array(fc.oneof(network, near), { maxLength: 30 });
    const text = networks.map((list) => list.map(([ip, length]) => `${ip}/${length}`));
    const probes = fc.array(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6(),
        near.map(([ip]) => ip),
      ),
    );
    fc.assert(
      fc.property(text, probes, (entries, ips) => {
        const set = new CidrSet(entries);
        for (const ip of ips) expect([ip, set.has(ip)]).toEqual([ip, isInOne(ip, entries)]);
      }),
    );
  });

  test('of 100,000 does not take the square of their time to load', () => {
    const random = Array.from({ length: 100_000 }, (_, i) => (i * 2_654_435_761) % 2 ** 32);
    const dotted = (value: number) =>
      [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
    const four = random.map((value) => `${dotted(value)}/32`);
    const six = random.map((value) => `2001:db8:${(value >>> 16).toString(16)}::/48`);
    for (const entries of [four, six]) {
      // Not by the clock on the wall, which others have a part in: the square takes minutes.
      const before = process.cpuUsage();
      const set = new CidrSet(entries);
      const { user, system } = process.cpuUsage(before);
      expect(user + system).toBeLessThan(CPU_US_MAX);
      expect(set.has(entries[77]?.split('/')[0] ?? '')).toBe(true);
      expect(set.has('2001:db9::1')).toBe(false);
    }
  });
});

/** By the bits that the stack compares. */
function isInOne(ip: string, entries: readonly string[]): boolean {
  const bitsOf = (bytes: Uint8Array) =>
    Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const normal = (bits: string) =>
    bits.length === 128 && bits.startsWith(`${'0'.repeat(80)}${'1'.repeat(16)}`)
      ? bits.slice(96)
      : bits;
  const address = normal(bitsOf(parseAddress(ip) ?? new Uint8Array()));
  return entries.some((entry) => {
    const cidr = parseCidr(entry);
    if (cidr === undefined) return false;
    const bits = bitsOf(cidr.bytes);
    return bits.length === address.length && address.startsWith(bits.slice(0, cidr.prefixLength));
  });
}

describe('a set of names', () => {
  const set = new DomainSet([
    ...['exact.example', '.both.example', '*.below.example', 'Bücher.example', '*.xn--p1ai'],
    ...['twice.example', '*.twice.example', '_dmarc.example', 'com'],
  ]);

  test.each([
    ...['exact.example', 'EXACT.Example.', 'both.example', 'a.both.example', 'a.b.both.example'],
    ...['a.below.example', 'a.b.below.example', 'xn--bcher-kva.example', 'BÜCHER.example'],
    ...['пример.рф', 'twice.example', 'a.twice.example', '_dmarc.example', 'com'],
  ])('has %s', (name) => {
    expect(set.has(name)).toBe(true);
  });

  test.each([
    ...['a.exact.example', 'below.example', 'notboth.example', 'example', '', '.', 'рф', 'x.com'],
    ...['a.example', 'exact.example..', 'exact.example.org', 'bücher', '.exact.example'],
    `${'a.'.repeat(130)}both.example`,
    ...['bücher.example/x', 'x@bücher.example', 'bücher.example:80', 'exact.example/'],
  ])('does not have %p', (name) => {
    expect(set.has(name)).toBe(false);
  });

  test('counts a name once', () => {
    expect(set.size).toBe(8);
  });

  test('agrees with a list, whatever is in it', () => {
    const label = fc.constantFrom('a', 'b', 'c', 'aa');
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
    const entry = fc.tuple(fc.constantFrom('', '.', '*.'), name).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(entry), name, (entries, wanted) => {
        const expected = entries.some((one) =>
          one.startsWith('*.')
            ? wanted.endsWith(one.slice(1))
            : one.startsWith('.')
              ? wanted === one.slice(1) || wanted.endsWith(one)
              : wanted === one,
        );
        expect(new DomainSet(entries).has(wanted)).toBe(expected);
      }),
    );
  });
});

describe('the text of a set', () => {
  test('loses its comments and blank lines', () => {
    expect(parseSet('cidr', '# ours\n10.0.0.0/8 # all\r\n\n  ::1\n')).toEqual({
      type: 'cidr',
      text: '10.0.0.0/8\n::1',
    });
  });

  test.each([
    ['cidr', '10.0.0.0/33'],
    ['cidr', '10.0.0.0/08'],
    ['cidr', '10.0.0/8'],
    ['cidr', '::1/129'],
    ['cidr', 'example.com'],
    ['cidr', '::ffff:1.2.3.4/95'],
    ['domain', 'a b.example'],
    ['domain', '*'],
    ['domain', '*.'],
    ['domain', 'a..example'],
    ['domain', '-a.example'],
    ['domain', 'a.*.example'],
    ['domain', `${'a'.repeat(64)}.example`],
    ['domain', 'http://example.com'],
    ['domain', 'bücher.example/x'],
    ['domain', '10.0.0.0/8'],
    ['domain', '10.0.0.1'],
  ] as const)('is refused where it has, as %s, %p', (type, entry) => {
    expect(parseSet(type, `\n${entry}\n`)).toEqual([
      { line: 2, message: expect.stringContaining(entry) },
    ]);
  });

  test('with thousands of mistakes gives some of them', () => {
    expect(parseSet('cidr', 'x\n'.repeat(5000))).toHaveLength(20);
  });
});

test('a set that is the same in the next bundle is not made again', () => {
  const blocked = { type: 'cidr', text: '10.0.0.0/8' } as const;
  const first = new Sets({ blocked, names: { type: 'domain', text: 'a.example' } });
  const next = new Sets({ names: { type: 'domain', text: 'b.example' }, blocked }, first);
  expect(next.names).toEqual(['names', 'blocked']);
  expect(next.has(0, 'a.example')).toBe(false);
  expect(next.has(0, 'b.example')).toBe(true);
  expect(next.has(1, '10.1.1.1')).toBe(true);
  expect(next.has(2, '10.1.1.1')).toBe(false);
});

describe('env.sets', () => {
  const sets = {
    blocked: { type: 'cidr', text: '192.0.2.0/24' },
    corp: { type: 'domain', text: '.corp.example' },
  } as const;
  const outcomeOf = async (body: string) => {
    const world = new ScriptWorld();
    await world.load({ a: syncScriptOf(body) }, { sets });
    return [world.outcome('192.0.2.1', 80, { source: '192.0.2.9' }), ...world.lines].join(' ');
  };

  test('has what the set has', async () => {
    const told = `return reject({ reason: [env.sets.has('blocked', flow.src.ip),
      env.sets.has('blocked', '10.0.0.1'), env.sets.has('corp', 'A.corp.example'),
      Object.isFrozen(env.sets)].join() })`;
    expect(await outcomeOf(told)).toBe('reject rst true,false,true,true');
  });

  test('takes an address in brackets, as a Host has it, for the address', async () => {
    const told = `return reject({ reason: ['[fd00::1]', '[fd01::1]', '[fd00::1', '[]', '[::1:80',
      '[a.corp.example]'].map((one) => ['six', 'corp'].map((set) => env.sets.has(set, one)))
      .join() })`;
    const world = new ScriptWorld();
    const six = { type: 'cidr', text: 'fd00::/16' } as const;
    await world.load({ a: syncScriptOf(told) }, { sets: { ...sets, six } });
    expect(world.outcome()).toBe(`reject rst true,false${',false,false'.repeat(5)}`);
  });

  test.each([
    ["env.sets.has('block', 'x')", 'no set "block"; there is: blocked, corp'],
    ["env.sets.has('toString', 'x')", 'no set "toString"'],
    ['env.sets.has({ toString() { return "blocked" } }, "x")', 'no set {}'],
    ["env.sets.has('blocked', flow.src)", 'the value must be text, not {"ip":"192.0.2.9"'],
    ["env.sets.has('blocked', String(flow.src))", 'alone, not "192.0.2.9:40000"'],
    ["env.sets.has('blocked', '[fd00::1]:80')", 'an address or a name alone, not "[fd00::1]:80"'],
    ["env.sets.has('corp', 'a.corp.example:443')", 'alone, not "a.corp.example:443"'],
    ["env.sets.has('blocked')", 'the value must be text, not undefined'],
  ])('%s is an error', async (call, message) => {
    expect(await outcomeOf(`return ${call} ? forward() : decline()`)).toContain(message);
  });

  test('changes with the bundle', async () => {
    const world = new ScriptWorld();
    const a = syncScriptOf("return env.sets.has('blocked', flow.src.ip) ? reject() : forward()");
    await world.load({ a }, { sets });
    expect(world.outcome('192.0.2.1', 80, { source: '192.0.2.9' })).toBe('reject rst');
    const next = { blocked: { type: 'cidr', text: '' } } as const;
    await world.load({ a }, { sets: next, generation: 2 });
    expect(world.outcome('192.0.2.1', 80, { source: '192.0.2.9' })).toBe('forward');
  });
});

test('a name that takes minutes to encode is none, and in no set', async () => {
  const long = 'é.'.repeat(100_000);
  const faults = parseSet('domain', long);
  expect(Array.isArray(faults) && faults[0].message.length).toBeLessThan(500);
  const sets = new Sets({ d: { type: 'domain', text: '.example' } });
  expect([sets.has(0, `${long}example`), sets.has(0, 'a.example')]).toEqual([false, true]);
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf(
        "return reject({ reason: String(env.sets.has('d', 'é.'.repeat(1e6) + 'example')) })",
      ),
    },
    { sets: { d: { type: 'domain', text: '.example' } } },
  );
  expect(world.outcome()).toBe('reject rst false');
});
