/** `culvert script test --coverage`, in the compiled binary. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { culvertIn } from './run-cli.ts';

/** Each starts processes; a busy machine takes its time. */
setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
const culvert = culvertIn(folder);
const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

const ROUTE = `import { decline, type FlowInfo, reject } from 'culvert';
import { isClosed } from './lib/ports.ts';

export default {
  flow(f: FlowInfo) {
    if (isClosed(f.dst.port)) return reject();
    console.log('open');
    return decline();
  },
};
`;

const testOf = (port: number, verdict: string): string =>
  `import { expect, flow, run, test } from 'culvert:test';
import script from './route';
test('a port', async () => {
  const r = await run(script, flow({ src: '10.0.0.5:1', dst: '192.0.2.1:${port}' }));
  expect(r.text).toBe('${verdict}');
});
`;

beforeAll(() => {
  mkdirSync(join(folder, 'good/lib'), { recursive: true });
  write('good/lib/ports.ts', 'export const isClosed = (port: number): boolean => port === 22;\n');
  write('good/route.ts', ROUTE);
  write('good/route.test.ts', testOf(22, 'reject'));
  mkdirSync(join(folder, 'bad/lib'), { recursive: true });
  write(
    'bad/lib/ports.ts',
    'export const isClosed = (p: number): boolean => p.no.thing as boolean;',
  );
  write('bad/route.ts', ROUTE);
  write('bad/route.test.ts', testOf(22, 'reject'));
  mkdirSync(join(folder, 'dark/lib'), { recursive: true });
  write('dark/lib/ports.ts', 'export type Port = number; export const isClosed = () => true;');
  // The type and the value are of one name, which runs, and which Babel refuses.
  const collision = `import { Port } from './lib/ports.ts';\nconst Port = 1;\n`;
  write('dark/route.ts', `${collision}${ROUTE.replace('isClosed(', 'Port && isClosed(')}`);
  write('dark/route.test.ts', testOf(22, 'reject'));
  // Settings of other tools that lie where the command is started.
  write('babel.config.js', 'throw new Error("read");');
  write('.browserslistrc', '[');
});

describe('script test --coverage', () => {
  test('prints a table after the tests', async () => {
    const { code, out, err } = await culvert('script', 'test', '--coverage', 'good');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('\n 1 pass\n 0 fail\n');
    const rows = out.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
    expect(rows.filter((cells) => cells.length === 6)).toEqual([
      expect.anything(),
      ['File', '% Stmts', '% Branch', '% Funcs', '% Lines', 'Uncovered Line #s'],
      expect.anything(),
      ['All files', '66.66', '50', '100', '50', ''],
      ['good', '50', '50', '100', '33.33', ''],
      ['route.ts', '50', '50', '100', '33.33', '7-8'],
      ['good/lib', '100', '100', '100', '100', ''],
      ['ports.ts', '100', '100', '100', '100', ''],
      expect.anything(),
    ]);
  });

  test('--coverage-lcov writes a file of lcov', async () => {
    const { code, out } = await culvert('script', 'test', '--coverage-lcov', 'lcov.info', 'good');
    expect(code).toBe(0);
    expect(out).toContain('% Stmts');
    const lines = readFileSync(join(folder, 'lcov.info'), 'utf8').split('\n');
    expect(lines).toContain('SF:good/route.ts');
    expect(lines).toContain('SF:good/lib/ports.ts');
    expect(lines).toContain('DA:6,1');
    expect(lines).toContain('DA:7,0');
    expect(lines.filter((line) => line === 'end_of_record')).toHaveLength(2);
    const failed = await culvert('script', 'test', '--coverage-lcov', 'no/such', 'good');
    expect(failed).toMatchObject({ code: 1, err: 'culvert: cannot write no/such: ENOENT\n' });
  });

  test('--coverage-min ends with 1 where less ran, and says of what', async () => {
    const enough = await culvert('script', 'test', '--coverage-min', '50', 'good');
    expect(enough).toMatchObject({ code: 0, err: '' });
    const { code, err } = await culvert('script', 'test', '--coverage-min', '60.5', 'good');
    expect(err).toBe(
      'culvert: coverage of branches is 50 %, below 60.5 %\n' +
        'culvert: coverage of lines is 50 %, below 60.5 %\n',
    );
    expect(code).toBe(1);
    for (const percent of ['101', '-1', 'all']) {
      const wrong = await culvert('script', 'test', `--coverage-min=${percent}`, 'good');
      expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining('from 0 to 100') });
    }
  });

  test('--coverage-min ends with 1 where a file cannot be counted, and names it', async () => {
    const err = 'culvert: dark/route.ts is not counted: Duplicate declaration "Port"\n';
    const shown = await culvert('script', 'test', '--coverage', 'dark');
    expect(shown).toMatchObject({ code: 0, err });
    const demanded = await culvert('script', 'test', '--coverage-min', '0', 'dark');
    expect(demanded).toMatchObject({ code: 1, err, out: expect.stringContaining(' 1 pass\n') });
  });

  test('--json has the numbers, and the lines that did not run', async () => {
    const { out } = await culvert('script', 'test', '--json', '--coverage', 'good');
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      coverage: {
        statements: { total: 6, covered: 4, percent: 66.66 },
        files: [{ file: 'good/route.ts', uncoveredLines: [7, 8] }, { file: 'good/lib/ports.ts' }],
      },
    });
  });

  test('a test that fails names the line of the source, and the code stays 1', async () => {
    const without = await culvert('script', 'test', 'bad');
    const { code, out } = await culvert('script', 'test', '--coverage', 'bad');
    const complaint = /^ {2}\w+: .*bad\/lib\/ports\.ts:1:\d+.*$/m;
    expect(without.out).toMatch(complaint);
    expect(complaint.exec(out)?.[0]).toBe(complaint.exec(without.out)?.[0] as string);
    expect(code).toBe(1);
  });
});
