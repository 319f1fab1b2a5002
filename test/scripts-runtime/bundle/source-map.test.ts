import { expect, test } from 'bun:test';
import { SourceMap } from '../../../src/scripts-runtime/bundle/source-map.ts';
import { transpile } from '../../../src/scripts-runtime/bundle/transpile.ts';

test('places of a map written by hand', () => {
  // Line 1: column 0 from 1:0, column 4 from 1:8. Line 2 has none. Line 3: column 0 from 3:2.
  const map = new SourceMap('AAAA,IAAQ;;AAEN', 'let a=1\n\nx()', [
    { file: 'a', text: 'let     a=1\n\n  x()' },
  ]);
  expect(map.original({ line: 1, column: 1 })).toEqual({ file: 'a', line: 1, column: 1 });
  expect(map.original({ line: 1, column: 7 })).toEqual({ file: 'a', line: 1, column: 11 });
  expect(map.original({ line: 2, column: 1 })).toBeUndefined();
  expect(map.original({ line: 3, column: 2 })).toEqual({ file: 'a', line: 3, column: 4 });
  expect(map.original({ line: 9, column: 1 })).toBeUndefined();
});

test('every name of a transpiled script is found at its place in the source', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `name${i}`);
  const source = names
    .map(
      (name, i) =>
        `${'\n'.repeat(i % 3)}// note ${i}\ninterface I${i} { a: ${i} }\n` +
        `${' '.repeat(i)}globalThis.f(${name} as I${i});`,
    )
    .join('\n');
  const result = await transpile({
    name: 'a',
    file: 'a.ts',
    source: `declare var f: any;\n${source}`,
  });
  if (!('code' in result)) throw new Error(JSON.stringify(result));
  const sourceLines = `declare var f: any;\n${source}`.split('\n');
  const generated = result.code.split('\n');
  for (const name of names) {
    const find = (lines: string[]) => {
      const line = lines.findIndex((text) => new RegExp(`\\b${name}\\b`).test(text));
      return { line: line + 1, column: (lines[line] ?? '').indexOf(name) + 1 };
    };
    expect(result.map.original(find(generated))).toEqual({ file: 'a.ts', ...find(sourceLines) });
  }
});
