import { expect, test } from 'bun:test';
import { DEFAULT_SCRIPT_LIMITS } from '../../src/scripts-runtime/limits.ts';
import { ScriptWorld, syncScriptOf } from './script-world.ts';

async function issueOf(source: string, file = 'a'): Promise<string> {
  const world = new ScriptWorld(true);
  const [issue, ...more] = await world.tryLoad({ [file]: source }, { limits: { loadMs: 100 } });
  expect(more).toEqual([]);
  return issue === undefined
    ? 'none'
    : `${issue.file}:${issue.line}:${issue.column} ${issue.kind}: ${issue.message}`;
}

const SCRIPT = "import { forward } from 'culvert';\nexport default { flow: () => forward() };\n";

const uncalled = (method: string): string =>
  `shape: the default export has a method "${method}" that nothing calls`;

test.each([
  ['let a = 1;\n\nlet b = ;', 'a.ts:3:9 syntax: Unexpected ;'],
  [
    `// é\n/* x */ import fs from "node:fs";\n${SCRIPT}fs.x;`,
    'a.ts:2:24 load: cannot import "node:fs": the only module is "culvert", besides own files',
  ],
  [
    `${SCRIPT}const x = await import('./other.ts'); x;`,
    'a.ts:3:24 load: cannot load "./other.ts": import "culvert" at the top of the script instead',
  ],
  [
    `${SCRIPT}require('culvert');`,
    'a.ts:1:25 load: cannot load "culvert": import "culvert" at the top of the script instead',
  ],
  [
    "import { forward } from 'culvert' with { type: 'macro' };\nforward();",
    'a.ts:1:33 load: an import cannot have attributes ("with { … }")',
  ],
  [
    "import x from 'culvert'/* y */\nassert // z {\n{ type: 'macro' };\nx();",
    'a.ts:1:23 load: an import cannot have attributes ("with { … }")',
  ],
  [
    "import { forward, nonsense } from 'culvert';\nexport default { flow: nonsense(forward) };",
    "a.ts:1:19 syntax: SyntaxError: Could not find export 'nonsense' in module 'culvert'",
  ],
  [
    'interface A { x: 1 }\n\nconst a: A = { x: 1 };\n  throw new Error("x is " + a.x);',
    'a.ts:4:18 load: Error: x is 1',
  ],
  [
    'export const flow = () => 1;',
    'a.ts:0:0 shape: the script must export default an object with a method flow()',
  ],
  ['export default { flow: 1 };', 'a.ts:0:0 shape: the default export has no method flow()'],
  ['export default { flow() {}, connect: 1 };', 'a.ts:0:0 shape: connect is no method'],
  [
    'interface A { x: 1 }\n\nexport default {\n  flow() {},\n  async conect(conn: A) {},\n};',
    `a.ts:5:9 ${uncalled('conect')}, did you mean "connect"?`,
  ],
  [
    'const schedule = () => {};\nexport default { flow() {}, schedule };',
    `a.ts:1:18 ${uncalled('schedule')}, did you mean "scheduled"?`,
  ],
  ['export default { Flow() {} };', `a.ts:1:18 ${uncalled('Flow')}, did you mean "flow"?`],
  [
    `${SCRIPT}await new Promise(() => {});`,
    'a.ts:0:0 shape: the script waits at its top level for a promise that does not settle',
  ],
  [`${SCRIPT}await 1;\nawait Promise.reject(new Error('late'));`, 'a.ts:4:31 load: Error: late'],
  [`${SCRIPT}for (;;) {}`, 'a.ts:0:0 limit: more than 100 ms of processor time'],
])('case %#: a script that does not load is refused with its place', async (source, expected) => {
  expect(await issueOf(source)).toBe(expected);
});

test('values and helpers beside hooks, and methods of a class, are its own affair', async () => {
  expect(await issueOf('export default { flow() {}, pickUpstream: parseInt };')).toBe('none');
  expect(await issueOf('export default { flow() {}, name: "a", ports: [1], nested: {} };')).toBe(
    'none',
  );
  const ofClass = 'class A { flow() { return this.pick(); } pick() {} }';
  expect(await issueOf(`${ofClass}\nexport default new A();`)).toBe('none');
});

test('types, attributes in a comment, and a settled top-level await are fine', async () => {
  expect(
    await issueOf(`import type { X } from './x';\n// "a" with x {\n${SCRIPT}await 1; type Y = X;`),
  ).toBe('none');
});

test('a long line of slashes and many comments after a string take no time', async () => {
  const source = `${SCRIPT}const s = 'x' ${'/* a */ '.repeat(200)}${'/'.repeat(2000)}\n; s;`;
  const startedAt = performance.now();
  expect(await issueOf(source)).toBe('none');
  expect(performance.now() - startedAt).toBeLessThan(1000);
});

test('JavaScript is not read as TypeScript', async () => {
  const world = new ScriptWorld();
  const source = `${SCRIPT}const x: number = 1;`;
  const issues = await world.host.load({
    generation: 1,
    scripts: [{ name: 'a', file: 'a.js', source }],
    limits: DEFAULT_SCRIPT_LIMITS,
    vars: {},
    kv: [],
    iface: 'culvert0',
  });
  expect(issues[0]).toMatchObject({ kind: 'syntax', line: 3, column: 8, file: 'a.js' });
});

/** Each puts what is wrong at a place that only the source has, marked by the column of `§`. */
test.each([
  ['    const x = (flow as { b?: any }).b!§.c;'],
  ['\n\n  // a comment\n  interface Z { a: 1 }\n  const z: Z | null = null as any;\n  z!§.a;'],
  ['  const list: Array<number> = [1, 2];\n  list.map((n: number): number => §nothing(n));'],
  ['  return forward(§§"a" as any, { way: "x" } as any);'],
  ['  enum Kind { A = 1 }\n  throw new §§Error(String(Kind.A satisfies number));'],
])('a run-time error names line and column of the source, case %#', async (marked) => {
  const body = marked.replaceAll('§', '');
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf(body) });
  world.decide();
  const lines = marked.split('\n');
  const line = lines.findIndex((text) => text.includes('§'));
  const { fields } = world.logs[0] ?? {};
  expect(fields).toMatchObject({ file: 'a.ts', line: line + 3 });
  // `§§`: somewhere in the call, since QuickJS points at its start or at its arguments.
  if (marked.includes('§§')) return;
  expect(fields?.['column']).toBe((lines[line]?.indexOf('§') ?? 0) + 1);
});

test('the log line of an error starts with its place', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf("throw new TypeError('two\\nlines')") });
  world.decide();
  expect(world.lines[0]).toMatch(/^a\.ts:3:\d+: TypeError: two\nlines$/);
});

test('an error in a timer is logged with its place and fails nothing', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('setTimeout(() => flow.x.y, 10);\nreturn forward()') });
  expect(world.outcome()).toBe('forward');
  world.advance(10);
  expect(world.lines[0]).toStartWith('a.ts:3:');
});
