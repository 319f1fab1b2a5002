/** What tests have run of a script: what is counted, and that nothing else changes by it. */
import { describe, expect, test } from 'bun:test';
import { Coverage } from '../../../src/gateway/author/coverage.ts';
import { instrumentScripts } from '../../../src/gateway/author/instrument.ts';
import type { ScriptSource, TextFiles } from '../../../src/scripts-runtime/bundle/bundle.ts';
import type { TestReport } from '../../../src/scripts-runtime/offline/report.ts';
import { runScriptTests } from '../../../src/scripts-runtime/offline/run-tests.ts';
import { bundleOf } from '../../scripts-runtime/offline/offline-bundle.ts';

const HEAD = `import { expect, flow, run, test } from 'culvert:test'; import script from './route';
const ask = (port, options) =>
  run(script, flow({ src: '10.0.0.5:1', dst: \`192.0.2.1:\${port}\` }), options);
`;

interface Files {
  readonly script: string;
  readonly modules?: TextFiles;
  readonly test: string;
  /** What only the test imports. */
  readonly helpers?: TextFiles;
}

const sourceOf = ({ script, modules = {}, test: body, helpers = {} }: Files): ScriptSource => ({
  ...{ name: 'route', file: 'scripts/route.ts', source: script, modules },
  tests: { 'route.test.ts': HEAD + body, ...helpers },
});

const plain = (files: Files): Promise<TestReport> =>
  runScriptTests({ ...bundleOf({}), scripts: [sourceOf(files)] });

interface Covered {
  readonly report: TestReport;
  readonly coverage: Coverage;
  readonly unread: readonly string[];
}

async function covered(files: Files): Promise<Covered> {
  const { scripts, files: counted, unread } = instrumentScripts([sourceOf(files)]);
  const report = await runScriptTests({ ...bundleOf({}), scripts }, { isCovered: true });
  const coverage = new Coverage();
  coverage.add(counted, report.coverage ?? {});
  return { report, coverage, unread };
}

/** `total/covered` of statements, branches and functions, and lines that did not run. */
const told = ({ coverage }: Covered) =>
  Object.fromEntries(
    coverage.report.files.map(({ file, statements, branches, functions, uncoveredLines }) => {
      const shares = [statements, branches, functions].map((one) => `${one.covered}/${one.total}`);
      return [file, [...shares, ...uncoveredLines.map((line) => `line ${line}`)].join(' ')];
    }),
  );

const failuresOf = ({ files }: TestReport) =>
  files.flatMap(({ failure, tests }) => [failure, ...tests.map((one) => one.failure)]);

const SCRIPT = `import { decline, forward, reject, type FlowInfo } from 'culvert';
interface Gone { never: string }
const isOpen = (flow: FlowInfo): boolean => flow.dst.port === 80 || flow.dst.port === 443;
export default {
  flow(flow: FlowInfo) {
    if (isOpen(flow)) return forward();
    if (flow.dst.port === 22) {
      return reject();
    }
    return decline();
  },
  closed() {
    unreachable();
  },
};
declare function unreachable(): void;
`;

describe('what is counted', () => {
  test('statements, the ways of branches, functions, and the lines that did not run', async () => {
    const run = await covered({
      script: SCRIPT,
      test: `test('a', async () => { await ask(80); await ask(443); await ask(1); });`,
    });
    expect(run.report).toMatchObject({ ok: true, passed: 1 });
    // 3 or 4 ways of \`||\` and two \`if\`; not the body of the second, and not \`closed\`.
    expect(told(run)).toEqual({ 'scripts/route.ts': '6/8 5/6 2/3 line 8 line 13' });
  });

  test('how often, over all tests, and over each time that a script is loaded', async () => {
    const { coverage } = await covered({
      script: SCRIPT,
      test: `test('a', async () => {
  await ask(22);
  await ask(22, { env: { vars: { a: 'b' } } });
});
test('b', async () => { await ask(22); });`,
    });
    const lines = coverage.lcov().split('\n');
    // Line 3 runs once for each load, the others once for each question.
    expect(lines).toContain('DA:8,3');
    expect(lines).toContain('DA:13,0');
    expect(lines).toContain('BRDA:7,2,0,3');
    expect(lines).toContain('SF:scripts/route.ts');
  });

  test('a module, whether the script or a test calls it; no test and no helper', async () => {
    const run = await covered({
      script: `import { decline } from 'culvert'; import { half } from './lib/half.js';
export default { flow: () => decline({ note: String(half(4)) }) };`,
      modules: {
        'lib/half.ts': `export const half = (n: number) => n / 2;
export const twice = (n: number) => n * 2;
export function third(n: number) {
  return n / 3;
}\n`,
      },
      test: `import { twice } from './lib/half.ts'; import { four } from './helper.ts';
test('a', async () => { await ask(1); expect(twice(2)).toBe(four); });`,
      helpers: { 'helper.ts': 'export const four = 4; export const unused = () => 5;' },
    });
    expect(failuresOf(run.report)).toEqual([undefined, undefined]);
    expect(told(run)).toMatchObject({ 'scripts/lib/half.ts': '4/5 0/0 2/3 line 4' });
    expect(Object.keys(told(run))).toEqual(['scripts/route.ts', 'scripts/lib/half.ts']);
  });

  test('what ran until a limit ended the sandbox', async () => {
    const run = await covered({
      script: `import { decline } from 'culvert';
export default { flow(): unknown {
  for (;;);
  return decline();
} };`,
      test: `test('a', async () => expect((await ask(1)).text).toBe('failed cpu'));`,
    });
    expect(failuresOf(run.report)).toEqual([undefined, undefined]);
    expect(told(run)).toEqual({ 'scripts/route.ts': '1/2 0/0 1/1 line 4' });
  });

  test('not what its author leaves out, and no file of types', async () => {
    const run = await covered({
      script: `import { decline, reject } from 'culvert'; import type { Port } from './types.ts';
import { never } from './ignored.ts';
export default { flow({ dst }: { dst: { port: Port } }) {
  /* istanbul ignore if */
  if (dst.port === 9) return reject({ note: never() });
  return decline();
} };`,
      modules: {
        'types.ts': 'export type Port = number;',
        'ignored.ts': `/* istanbul ignore file */ export const never = () => 'never';`,
      },
      test: `test('a', async () => { await ask(1); });`,
    });
    expect(told(run)).toEqual({ 'scripts/route.ts': '2/2 1/1 1/1' });
  });

  test('a script that nothing asked is there, and has run nothing', async () => {
    const run = await covered({ script: SCRIPT, test: `test('a', () => {});` });
    expect(told(run)['scripts/route.ts']).toStartWith('0/8 0/6 0/3');
  });
});

describe('what stays as it is', () => {
  const FAULTY = `import { decline } from 'culvert';
interface Shape { readonly never: string }
import data from './data.json' with { type: 'json' };
import { deep } from './lib/deep.js';

const pick = (port: number): unknown => (port > 3 ? deep(port as number) : data.list[port]!.gone.x);
export default {
  async flow({ dst }: { dst: { port: number } }) {
    await null;
    const local = pick(dst.port) ?? (() => { throw new TypeError('thrown here'); })();
    return decline({ note: String(local) });
  },
};
`;
  const MODULES = {
    'data.json': '{ "list": [1, { "gone": null }, { "gone": { "x": null } }, 3] }',
    'lib/deep.ts': `type Gone = string;

export function deep(n: number): unknown {
  for (const one of [n]) {
    if (one > 4)   { const bad = one as unknown as { f(): void }; bad.f(); }
  }
  throw new RangeError('deep');
}
`,
  };

  test.each([1, 2, 3, 4, 5])('an error points to where it did, case %d', async (port) => {
    const body = `test('a', async () => {
  const { logs } = await ask(${port});
  expect(logs.map(({ fields }) => fields)).toEqual([]);
});`;
    const files: Files = { script: FAULTY, modules: MODULES, test: body };
    const before = failuresOf(await plain(files));
    const after = failuresOf((await covered(files)).report);
    expect(before[1]?.message).toMatch(/scripts\/(?:route|lib\/deep)\.ts/);
    expect(after).toEqual(before);
  });

  test.each([
    ['at its top level', `${FAULTY}\nconst x = undefined as any;\nx.y.z();`],
    ['an import that is none', `import { nothing } from './gone.ts';\n${FAULTY}nothing();`],
    [
      'a name that culvert does not have',
      `${FAULTY.replace('decline }', 'decline, nope }')}nope();`,
    ],
    ['no default export', 'const a: number = 1;\n'],
  ])('a script that does not load says so as before: %s', async (_what, script) => {
    const files: Files = { script, modules: MODULES, test: `test('a', async () => ask(1));` };
    const before = failuresOf(await plain(files));
    expect(before[1]?.message).toContain('route.ts');
    expect(failuresOf((await covered(files)).report)).toEqual(before);
  });

  test('what does not parse is told, and is left to the sandbox', async () => {
    const files: Files = { script: 'export default {', test: `test('a', async () => ask(1));` };
    const { report, unread } = await covered(files);
    expect(unread).toEqual([expect.stringMatching(/^scripts\/route\.ts is not counted: Unexp/)]);
    expect(failuresOf(report)).toEqual(failuresOf(await plain(files)));
  });

  test('what runs, but not for Babel, is told, and is left to the sandbox', async () => {
    const files: Files = {
      script: `import { decline } from 'culvert';
import { Foo } from './t.ts';
const Foo = 1;
export default { flow: () => decline({ note: String(Foo) }) };`,
      modules: { 't.ts': 'export type Foo = number; export const one = () => 1;' },
      test: `test('a', async () => { await ask(1); });`,
    };
    const run = await covered(files);
    expect(failuresOf(run.report)).toEqual(failuresOf(await plain(files)));
    expect(failuresOf(run.report)).toEqual([undefined, undefined]);
    expect(run.unread).toEqual(['scripts/route.ts is not counted: Duplicate declaration "Foo"']);
    expect(Object.keys(told(run))).toEqual(['scripts/t.ts']);
  });

  test('decorators and accessors are counted; decorators of parameters are told', async () => {
    const files: Files = {
      script: `import { decline } from 'culvert';
const seen: string[] = [];
const see = (_: unknown, { kind, name }: { kind: string; name: PropertyKey }): void => {
  seen.push(kind + String(name));
};
class Ports { @see accessor least = 1; accessor most = 2; @see any() { return this.most; } }
export default { flow() { console.log(seen.join(), new Ports().any()); return decline(); } };`,
      test: `test('a', async () => {
  expect((await ask(1)).logs[0].message).toBe('accessorleast,methodany 2');
});`,
    };
    const run = await covered(files);
    expect(run.unread).toEqual([]);
    expect(failuresOf(run.report)).toEqual([undefined, undefined]);
    expect(failuresOf(run.report)).toEqual(failuresOf(await plain(files)));
    const parameter = await covered({ ...files, script: 'class A { m(@see one) {} }' });
    expect(parameter.unread).toEqual([expect.stringContaining('is not counted: Decorators')]);
  });

  test('names that functions and classes take from their place', async () => {
    const files: Files = {
      script: `import { decline } from 'culvert';
type Fn = () => number;
const key = 'computed';
class Fields {
  field = () => 1;
  #hidden = function () { return 2; };
  static still = class {};
  'a text' = (() => 3) as Fn;
  [key] = async () => 4;
  7 = (1, () => 5);
  get hidden() { return this.#hidden; }
}
function given(f = () => 1, { g = class {}, ...h } = {} as any, __proto__ = (() => 2)!) {
  return [f, g, __proto__];
}
let assigned: Fn | undefined;
assigned ??= () => 1;
let other: unknown;
other ||= class {};
const cast = (() => 1) satisfies Fn;
const all = [...given(), assigned, other, cast];
for (let looped = () => 1, n = 0; n < 1; n++) all.push(looped);
switch (key) {
  case 'computed':
    const cased = () => 1;
    all.push(cased);
}
const plain = (0, () => 1), own = class Own {}, either = key ? () => 1 : cast;
const fields = new Fields() as any;
all.push(plain, own, either, fields.field, fields.hidden, Fields.still);
all.push(fields['a text'], fields[key], fields[7]);
export default {
  flow() {
    console.log(all.map((one: any) => one.name).join() + all[2]());
    return decline();
  },
};`,
      test: `test('a', async () => expect((await ask(1)).logs[0].message).toBe('none'));`,
    };
    const run = await covered(files);
    const expected = failuresOf(await plain(files));
    const names = 'f,g,__proto__,assigned,other,cast,looped,cased,,Own,,field,#hidden,still,a text';
    expect(expected[1]?.message).toContain(`${names},computed,2`);
    expect(failuresOf(run.report)).toEqual(expected);
    expect(run.unread).toEqual([]);
  });

  test('the limits: a script that fits in them fits in them while it counts', async () => {
    const { report } = await covered({
      script: `import { decline } from 'culvert';
export default { flow() {
  let n = 0;
  for (let i = 0; i < 5_000; i++) n += i;
  return decline();
} };`,
      test: `test('a', async () => expect((await ask(1)).text).toBe('decline'));`,
    });
    expect(failuresOf(report)).toEqual([undefined, undefined]);
  });

  test('without coverage nothing counts, and a report has no counts', async () => {
    const report = await plain({
      script: `import { decline } from 'culvert';
export default { flow: () => decline({ note: typeof (globalThis as any).__coverage__ }) };`,
      test: `test('a', async () => {
  await ask(1);
  expect(typeof globalThis.__coverage__).toBe('undefined');
});`,
    });
    expect(failuresOf(report)).toEqual([undefined, undefined]);
    expect(report.coverage).toBeUndefined();
  });
});

test('counts of a sandbox are believed as far as they fit', () => {
  const { files } = instrumentScripts([sourceOf({ script: SCRIPT, test: '' })]);
  const coverage = new Coverage();
  coverage.add(files, { 'scripts/route.ts': [1], '/etc/passwd': [1, 1], __proto__: [9] });
  expect(coverage.report.files.map(({ file }) => file)).toEqual(['scripts/route.ts']);
  expect(coverage.report.statements).toMatchObject({ covered: 1, total: 8 });
});

test('what is below a threshold is named, rounded down', async () => {
  const { coverage } = await covered({
    script: SCRIPT,
    test: `test('a', async () => { await ask(80); await ask(443); await ask(22); await ask(1); });`,
  });
  expect(coverage.shortfalls(60)).toEqual([]);
  expect(coverage.shortfalls(67)).toEqual(['coverage of functions is 66.66 %, below 67 %']);
});
