/** `culvert script test`: runs the tests beside scripts, and prints what became of them. */
import { existsSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import type {
  TestFailure,
  TestFileReport,
  TestReport,
  TestResult,
} from '../../../scripts-runtime/offline/report.ts';
import { bundleOf, byFolder, readBundle, readScriptFile } from '../../author/script-sources.ts';
import { testAside } from '../../author/work-aside.ts';
import type { ScriptSource } from '../../messages/script-control.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { withTimeout } from '../options.ts';
import { print, printJson } from '../output.ts';
import type { Finish } from '../program.ts';

interface TestFlags {
  readonly json?: boolean;
  readonly root?: string;
  readonly config?: string;
  readonly testNamePattern?: string;
  readonly timeout: number;
}

const TEST_FILE = /\.test(\.[jt]s)$/;

export function addScriptTest(script: Command, finish: Finish): void {
  withTimeout(script.command('test [file...]'))
    .description('run the tests of scripts: NAME.test.ts beside NAME.ts; needs no gateway')
    .option('-t, --test-name-pattern <text>', 'only tests that have this in their names')
    .option('-c, --config <file>', 'take vars, limits and sets from a config')
    .option('--root <folder>', 'also import files below this folder')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nA folder stands for all tests below it; without files: this folder.')
    .action(async (files: string[], flags: TestFlags) =>
      finish(await testFiles(files.length === 0 ? ['.'] : files, flags)),
    );
}

async function testFiles(files: readonly string[], flags: TestFlags): Promise<ExitCode> {
  const scripts = scriptsOf(files).map((file) => readScriptFile(file, flags.root));
  if (!scripts.some(({ tests }) => tests !== undefined)) {
    throw new CommandError(ExitCode.FAILED, `no tests found: name them like NAME.test.ts`);
  }
  const startedAt = performance.now();
  const reports: TestReport[] = [];
  for (const neighbours of byFolder(scripts)) reports.push(await testFolder(neighbours, flags));
  const report = joinReports(reports);
  if (flags.json) printJson(report);
  else print(formatReport(report, performance.now() - startedAt));
  return report.ok ? ExitCode.OK : ExitCode.FAILED;
}

function testFolder(scripts: readonly ScriptSource[], flags: TestFlags): Promise<TestReport> {
  const { config, testNamePattern: filter, timeout: silenceMs } = flags;
  const base = config === undefined ? bundleOf([]) : readBundle([config]);
  const options = { silenceMs, ...(filter === undefined ? {} : { filter }) };
  return testAside({ ...base, scripts }, options);
}

/** Files of scripts, however they were named: themselves, their tests, or a folder. */
function scriptsOf(names: readonly string[]): string[] {
  const files = names.flatMap((name) => {
    if (!statSync(name, { throwIfNoEntry: false })?.isDirectory()) return [name];
    const glob = new Bun.Glob('**/*.test.{ts,js}');
    return [...glob.scanSync({ cwd: name })]
      .filter((file) => !file.includes('node_modules/'))
      .map((file) => (name === '.' ? file : `${name}/${file}`));
  });
  const scripts = files
    .filter((file) => !/\.d\.[jt]s$/.test(file))
    .map((file) => (TEST_FILE.test(file) ? scriptOfTest(file) : file));
  return [...new Set(scripts)].sort();
}

function scriptOfTest(file: string): string {
  const found = ['.ts', '.js']
    .map((ending) => file.replace(TEST_FILE, ending))
    .find((one) => existsSync(one));
  if (found !== undefined) return found;
  throw new CommandError(ExitCode.FAILED, `${file} has no script ${file.replace(TEST_FILE, '$1')}`);
}

function joinReports(reports: readonly TestReport[]): TestReport {
  const sum = (key: 'passed' | 'failed' | 'skipped') =>
    reports.reduce((total, report) => total + report[key], 0);
  return {
    ok: reports.every(({ ok }) => ok),
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped'),
    files: reports.flatMap(({ files }) => files),
  };
}

/** In the manner of `bun test`. */
function formatReport({ passed, failed, skipped, files }: TestReport, tookMs: number): string {
  const count = files.reduce((sum, { tests }) => sum + tests.length, 0);
  return [
    ...files.flatMap(formatFile),
    ` ${passed} pass`,
    ...(skipped > 0 ? [` ${skipped} skip`] : []),
    ` ${failed} fail`,
    `Ran ${count} tests across ${files.length} files. [${tookMs.toFixed(0)}ms]`,
  ].join('\n');
}

const WORDS: Readonly<Record<TestResult['outcome'], string>> = {
  passed: '(pass)',
  failed: '(fail)',
  skipped: '(skip)',
};

const formatFile = ({ file, tests, failure, output }: TestFileReport): string[] => [
  `${file}:`,
  ...output,
  ...(failure === undefined ? [] : formatFailure(failure)),
  ...tests.flatMap(({ path, outcome, tookMs, failure: why }) => [
    ...(why === undefined ? [] : formatFailure(why)),
    `${WORDS[outcome]} ${path.join(' > ')}${
      outcome === 'skipped' ? '' : ` [${tookMs.toFixed(2)}ms]`
    }`,
  ]),
  '',
];

/** The message begins with the place, if that is known. */
const formatFailure = ({ message }: TestFailure): string[] => [
  `error: ${message.replaceAll('\n', '\n  ')}`,
];
