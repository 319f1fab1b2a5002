/** The prompt, read from a pipe. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { culvertIn } from './run-cli.ts';

setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
writeFileSync(
  join(folder, 'route.ts'),
  `import { reject } from 'culvert';
export default { flow(f, env) { return reject({ reason: 'n' + env.KV.incr('n', 1) }); } };
`,
);

const repl = (lines: readonly string[], ...files: readonly string[]) =>
  culvertIn(folder, `${lines.join('\n')}\n`)('script', 'repl', ...files);

test('prints values; a line sees what those before it declared', async () => {
  const lines = ['1 + 1', 'const x: number = 40', 'x + 2', '{ a: x }', '"text"', "btoa('a')"];
  const { code, out } = await repl([...lines, '.exit', '5']);
  expect(out).toBe('2\nundefined\n42\n{"a":40}\n"text"\n"YQ=="\n');
  expect(code).toBe(0);
});

test('prints errors with their place, and goes on', async () => {
  const { code, out } = await repl(['  null.foo', 'const ((', "throw new Error('no')", '3']);
  expect(out).toContain(
    "error: TypeError: cannot read property 'foo' of null\n    at <eval> (repl:1:",
  );
  expect(out).toContain('error: Error: no\n');
  expect(out).toEndWith('\n3\n');
  expect(code).toBe(0);
});

test('asks the scripts, which keep their KV, and waits for promises and timers', async () => {
  const ask = "decide(flow({ src: '10.0.0.5:1', dst: '192.0.2.1:22' }))";
  const late = "new Promise((done) => setTimeout(() => done('late'), 5))";
  const lines = [`${ask}.then((d) => d.text)`, `${ask}.then((d) => d.text)`, late, 'decide({})'];
  const { out } = await repl(lines, 'route.ts');
  expect(out).toStartWith('"reject reason=n1"\n"reject reason=n2"\n"late"\nerror: Error: src is');
});

test('a line can await, and what it declares then is there for the next', async () => {
  const ask = "const d = await decide(flow({ src: '10.0.0.5:1', dst: '192.0.2.1:22' }))";
  const { out } = await repl([ask, 'd.text', "await Promise.reject(new Error('no'))"], 'route.ts');
  expect(out).toStartWith('undefined\n"reject reason=n1"\nerror: Error: no\n');
});

test('shows maps, sets and bytes as what they are', async () => {
  const digest = "await crypto.subtle.digest('SHA-1', new TextEncoder().encode('abc'))";
  const { out } = await repl(['new Map([[1, new Set([2])]])', digest]);
  expect(out).toStartWith('[[1,[2]]]\n"20 bytes: a9 99 3e 36 47 06 81 6a');
});

test('ends when a line breaks the sandbox, and when a script does not load', async () => {
  const broken = await repl(['for (;;);', '1']);
  expect(broken).toMatchObject({ code: 1, out: 'error: the sandbox broke: cpu\n' });
  writeFileSync(join(folder, 'bad.ts'), 'export default {');
  const refused = await repl(['1'], 'bad.ts');
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('bad.ts:1') });
});
