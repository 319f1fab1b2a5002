/** Scripts of several files. */
import { describe, expect, test } from 'bun:test';
import {
  relativeImports,
  resolveModule,
} from '../../../src/scripts-runtime/bundle/module-paths.ts';
import { transpile } from '../../../src/scripts-runtime/bundle/transpile.ts';
import { ScriptWorld } from '../script-world.ts';

const ROUTE = `import { reject } from 'culvert';
import { reasonOf } from './lib/reason';
export default { flow(flow: any) { return reject({ reason: reasonOf(flow.dst.port) }); } };
`;
const REASON = `import names from '../names.json' with { type: 'json' };
import { upper } from '../../shared/upper.js';

// A stack shows this file.
export function reasonOf(port: number): string {
  return upper((names as Record<string, string>)[port]!);
}
`;
const FILES = {
  'lib/reason.ts': REASON,
  'names.json': '{ "80": "web" }',
  '../shared/upper.ts': 'export const upper = (text: string) => text.toUpperCase();\n',
};

const load = (world: ScriptWorld, modules: Record<string, string>, source = ROUTE) =>
  world.tryLoad({ route: source }, { modules });

describe('a script of several files', () => {
  test('runs as one', async () => {
    const world = new ScriptWorld();
    expect(await load(world, FILES)).toEqual([]);
    expect(world.outcome('192.0.2.1', 80)).toBe('reject rst WEB');
  });

  test('an error is shown at its place in the file it is in', async () => {
    const world = new ScriptWorld();
    await load(world, FILES);
    expect(world.outcome('192.0.2.1', 443)).toBe('failed error');
    const { file, line, column } = world.logs[0]?.fields ?? {};
    expect([file, line, column]).toEqual(['../shared/upper.ts', 1, 44]);
  });

  test.each([
    ['a syntax error', 'lib/reason.ts', 'export const x = (;', 'lib/reason.ts:1:19 syntax'],
    ['JSON that is none', 'names.json', '{ "80": }', 'names.json:1:9 syntax'],
    [
      'a name that a file does not export',
      '../shared/upper.ts',
      'export const lower = 1;',
      'lib/reason.ts:2:10 syntax: No matching export in "../shared/upper.ts" for import "upper"',
    ],
    [
      'a file that is not there',
      'lib/reason.ts',
      "\nimport { x } from './nowhere'; export const reasonOf = x;",
      'lib/reason.ts:2:19 load: cannot import "./nowhere": there is no such .ts',
    ],
    [
      'a module of the machine',
      'lib/reason.ts',
      "import { x } from 'node:fs'; export const reasonOf = x;",
      'lib/reason.ts:1:19 load: cannot import "node:fs"',
    ],
    [
      'an export that culvert does not have',
      'lib/reason.ts',
      "import { y } from 'culvert';\nexport const reasonOf = y;",
      'lib/reason.ts:1:10 ',
    ],
  ])('%s is laid to the file that has it', async (_, path, text, expected) => {
    const [issue] = await load(new ScriptWorld(), { ...FILES, [path]: text });
    const { file, line, column, kind, message } = issue ?? {};
    expect(`${file}:${line}:${column} ${kind}: ${message}`).toStartWith(expected);
  });

  test.each(['require("./lib/reason.ts");', 'await import("./lib/reason.ts");'])(
    '%s is no way to load a file',
    async (source) => {
      const [issue] = await load(new ScriptWorld(), FILES, `${source}\nexport default {}`);
      expect(issue?.message).toContain('at the top of the script instead');
    },
  );

  test('no file of the machine is one of the script', async () => {
    const name = '../../../../../../../../../../../../etc/hostname.json';
    const source = `import x from '${name}';\nx();`;
    const result = await transpile({ name: 'a', file: 'a.ts', source, modules: {} });
    expect(JSON.stringify(result)).toContain('there is no such .ts');
  });

  test('files can import each other, and the one that starts', async () => {
    const world = new ScriptWorld();
    const source = `import { one } from './one.ts'; import { reject } from 'culvert';
      export const name = 'cycle'; export default { flow: () => reject({ reason: one() }) };`;
    await load(
      world,
      { 'one.ts': "import { name } from './route'; export const one = () => name;" },
      source,
    );
    expect(world.outcome()).toBe('reject rst cycle');
  });

  test('attributes of another kind are refused for JSON too', async () => {
    const [issue] = await load(
      new ScriptWorld(),
      FILES,
      `import x from './names.json' with { type: 'macro' };\nx();`,
    );
    expect(issue).toMatchObject({ line: 1, column: 28, kind: 'load' });
  });
});

test.each([
  ['route.ts', './lib', 'lib.ts'],
  ['route.ts', './lib/', undefined],
  ['route.ts', './both', 'both.ts'],
  ['route.ts', './both.js', 'both.js'],
  ['route.ts', './lib.js', 'lib.ts'],
  ['route.ts', './folder', 'folder/index.ts'],
  ['folder/index.ts', '../lib', 'lib.ts'],
  ['folder/index.ts', '../../up', '../up.ts'],
  ['../up.ts', './x/lib', undefined],
  ['route.ts', 'lib', undefined],
  ['route.ts', '/lib.ts', undefined],
  ['route.ts', './data.txt', undefined],
  ['route.ts', './types.d.ts', undefined],
])('in %s, "%s" is %p', (importer, specifier, expected) => {
  const files = ['lib.ts', 'both.ts', 'both.js', 'folder/index.ts', '../up.ts', 'data.txt'];
  const has = (path: string) => [...files, 'types.d.ts'].includes(path);
  expect(resolveModule(importer, specifier, has)).toBe(expected);
});

test('imports are found in every form that a statement has, and nothing else is', () => {
  const text = `import './a'; import x from "./b.ts"
import type { T } from './c'
export * from './d'; export { y }/* */from// x
'../e';import{z}from'./f.json'
const s = 'from ./g'; require('./h'); await import('./i'); import q from 'culvert';`;
  expect(relativeImports(text)).toEqual(['./a', './b.ts', './c', './d', '../e', './f.json']);
});

test.each([
  ['a line of slashes', `// import ${'/'.repeat(60)}`],
  ['comments in a row', `from ${'/* a */'.repeat(40)}`],
])('%s where a name could be does not hide the imports behind it', (_, before) => {
  expect(relativeImports(`${before}\nimport './a'`)).toEqual(['./a']);
});
