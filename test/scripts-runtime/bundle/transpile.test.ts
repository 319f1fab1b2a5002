/** What a script tries to reach while it is translated, which is before any sandbox exists. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transpile } from '../../../src/scripts-runtime/bundle/transpile.ts';

/** What nothing that a script says may bring into its code. */
const SECRET = 'the-secret-of-the-machine';

let folder = '';
/** Exists once code of a script has run outside of the sandbox. */
let trace = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-transpile-'));
  trace = join(folder, 'trace');
  writeFileSync(join(folder, 'secret.json'), JSON.stringify({ secret: SECRET }));
  writeFileSync(
    join(folder, 'macro.ts'),
    `import { writeFileSync } from 'node:fs';
     export const run = () => { writeFileSync(${JSON.stringify(trace)}, ''); return ''; };`,
  );
});

afterEach(() => rmSync(folder, { recursive: true }));

const transpileText = (source: string, file = 'a.ts') => transpile({ name: 'a', file, source });

/** `line:column kind: message`, or the code. */
async function outcome(source: string, file?: string): Promise<string> {
  const result = await transpileText(source, file);
  if ('code' in result) return `code ${result.code}`;
  const [issue] = result;
  return issue === undefined
    ? 'refused without a reason'
    : `${issue.line}:${issue.column} ${issue.kind}: ${issue.message}`;
}

/** A module that leaves the trace by a macro of its own, as a `data:` URL without `data:`. */
const macroModule = () => {
  const code =
    "import { writeFileSync } from 'node:fs' with { type: 'macro' };" +
    `export const done = writeFileSync(${JSON.stringify(trace)}, '');`;
  return `text/javascript;base64,${Buffer.from(code).toString('base64')}`;
};

const cannotLoad = (name: string) =>
  `load: cannot load "${name}": import "culvert" at the top of the script instead`;

// `\u007b` is `{`: the template is one of the script.
test.each([
  [`1;\n  require('FOLDER/' + 'secret.json');`, '2:3', 'secret.json'],
  ['require(`FOLDER/$\u007b"secret"}.json`);', '1:1', 'secret.json'],
  ['require(`FOLDER/secret.json`);', '1:9', 'secret.json'],
  [`x = await import('FOLDER/' + 'secret.json');`, '1:11', 'secret.json'],
  ['x = await import(`FOLDER/$\u007b"secret"}.json`);', '1:11', 'secret.json'],
  [`const require2 = require; x = require(('FOLDER/secret' + '.json'));`, '1:18', 'secret.json'],
])('%s does not put a file into the script', async (source, place, name) => {
  const text = source.replace('FOLDER', folder);
  const shown = await outcome(text);
  expect(shown).not.toContain(SECRET);
  expect(shown).toBe(`${place} ${cannotLoad(`${folder}/${name}`)}`);
});

test('the first part of a name that is only asked for is refused', async () => {
  const shown = await outcome(`x = require.resolve('${folder}/' + 'secret.json');`);
  expect(shown).toBe(`1:21 ${cannotLoad(`${folder}/`)}`);
});

test('each branch of a choice between two names is refused', async () => {
  const source = `require(globalThis.x ? '${folder}/secret.json' : '${folder}/macro.ts');`;
  const result = await transpileText(source);
  expect(Array.isArray(result) && result.map(({ message }) => message)).toHaveLength(2);
});

test.each([
  (url: string) => `require('data:' + '${url}');`,
  (url: string) => `await import('data:' + '${url}');`,
  (url: string) => `import { done } from 'data:${url}'; globalThis.x = done;`,
  (url: string) => `export * from 'data:${url}';`,
  (url: string) => `import done = require('data:${url}'); globalThis.x = done;`,
])('a module in a data: URL is not read, case %#', async (source) => {
  const shown = await outcome(source(macroModule()));
  expect(shown).toMatch(/^1:\d+ load: cannot (load|import) "data:text/);
  expect(shown.length).toBeLessThan(300);
  expect(existsSync(trace)).toBe(false);
});

test.each([
  "import { run } from 'FOLDER/macro.ts' with { type: 'macro' };\nrun();",
  "import { run } from 'FOLDER/macro.ts' assert { type: 'macro' };\nrun();",
  "import { run } from 'FOLDER/macro.ts'/* */with// x\n{ type: 'macro' };\nrun();",
  "export { run } from 'FOLDER/macro.ts' with { type: 'macro' };",
  "import * as m from 'FOLDER/macro.ts' with { 'type': 'macro' };\nm.run();",
  "import { run } from 'macro:FOLDER/macro.ts';\nrun();",
  "import * as m from 'macro:FOLDER/macro.ts';\nm.run();",
  "import m from 'macro:FOLDER/macro.ts';\nm`x`;",
  "export { run } from 'macro:FOLDER/macro.ts';",
  "x = await import('macro:' + 'FOLDER/macro.ts');",
  "import { run } from 'FOLDER/macro.ts' <!-- x\nwith { type: 'macro' };\nrun();",
])('no macro runs, case %#', async (source) => {
  for (const file of ['a.ts', 'a.js']) {
    expect(await outcome(source.replace('FOLDER', folder), file)).not.toStartWith('code');
    expect(existsSync(trace)).toBe(false);
  }
});

test('a macro is refused at its place', async () => {
  expect(await outcome("import { run } from 'macro:x';\n  run();")).toBe(
    '2:3 syntax: Macros are disabled',
  );
});

test('attributes that load a file in another way are refused', async () => {
  expect(await outcome(`import x from '${folder}/secret.json' with { type: 'text' };\nx;`)).toBe(
    `1:${folder.length + 28} load: an import cannot have attributes ("with { … }")`,
  );
});

test('the environment of the process does not get into the code', async () => {
  process.env['CULVERT_TEST_SECRET'] = SECRET;
  try {
    const shown = await outcome('console.log(process.env.CULVERT_TEST_SECRET);');
    expect(shown).toStartWith('code');
    expect(shown).not.toContain(SECRET);
  } finally {
    delete process.env['CULVERT_TEST_SECRET'];
  }
});

test('the one module there is can be imported in each way that a statement has', async () => {
  const shown = await outcome(
    "import { decline } from 'culvert';\nimport * as c from 'culvert';\nc.x(decline);",
  );
  expect(shown).toContain('from "culvert"');
});

test('a text with thousands of mistakes gives some of them, each of a length to read', async () => {
  const mistake = `require('${'x'.repeat(5000)}' + '1');\n`;
  const result = await transpileText(mistake.repeat(1) + 'require("a" + 1 + "b");\n'.repeat(50));
  if ('code' in result) throw new Error('was translated');
  expect(result.length).toBeLessThanOrEqual(20);
  for (const { message } of result) expect(message.length).toBeLessThan(300);
});
