/** `culvert script test`: runs the tests beside scripts, and prints what became of them. */
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import type { ScriptBundle } from '../../../scripts-runtime/bundle/bundle.ts';
import type {
  TestFailure,
  TestFileReport,
  TestReport,
  TestResult,
} from '../../../scripts-runtime/offline/report.ts';
import type { CoveredTests } from '../../author/covered-tests.ts';
import { bundleOf, byFolder, readBundle, readScriptFile } from '../../author/script-sources.ts';
import { type TestAsideOptions, testAside } from '../../author/work-aside.ts';
import type { ScriptSource } from '../../messages/script-control.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { withTimeout } from '../options.ts';
import { print, printError, printJson } from '../output.ts';
import type { Finish } from '../program.ts';
import { scriptLogLine } from '../script-log-line.ts';

interface TestFlags {
  readonly json?: boolean;
  readonly root?: string;
  readonly config?: string;
  readonly testNamePattern?: string;
  readonly timeout: number;
  readonly coverage?: boolean;
  readonly coverageLcov?: string;
  readonly coverageMin?: number;
}

/** As `testAside`. */
type RunTests = (bundle: ScriptBundle, options: TestAsideOptions) => Promise<TestReport>;

const HELP = `
A folder stands for all tests below it; without files: this folder.

Coverage is that of the scripts and of what they import. --coverage-lcov and --coverage-min switch
it on, too. A comment /* istanbul ignore next */ leaves out what follows it.`;

const TEST_FILE = /\.test(\.[jt]s)$/;

export function addScriptTest(script: Command, finish: Finish): void {
  withTimeout(script.command('test [file...]'))
    .description('run the tests of scripts: NAME.test.ts beside NAME.ts; needs no gateway')
    .option('-t, --test-name-pattern <text>', 'only tests that have this in their names')
    .option('-c, --config <file>', 'take vars, limits, sets and onError from a config')
    .option('--root <folder>', 'also import files below this folder')
    .option('--coverage', 'show which statements, branches, functions and lines ran')
    .option('--coverage-lcov <file>', 'write what ran to a file, in the format of lcov')
    .option(
      '--coverage-min <percent>',
      'end with 1 when less ran of any of these, or a file cannot be counted',
      parsePercent,
    )
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
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
  const covered = await startCoverage(flags);
  const run: RunTests = covered === undefined ? testAside : covered.run.bind(covered);
  const reports: TestReport[] = [];
  for (const neighbours of byFolder(scripts))
    reports.push(await run(...orderOf(neighbours, flags)));
  const report = joinReports(reports);
  const shares = covered?.coverage.report;
  if (flags.json) printJson(shares === undefined ? report : { ...report, coverage: shares });
  else print(formatReport(report, performance.now() - startedAt));
  const isEnough = covered === undefined || tellCoverage(covered, flags);
  return report.ok && isEnough ? ExitCode.OK : ExitCode.FAILED;
}

function orderOf(scripts: readonly ScriptSource[], flags: TestFlags): Parameters<RunTests> {
  const { config, testNamePattern: filter, timeout: silenceMs } = flags;
  const base = config === undefined ? bundleOf([]) : readBundle([config]);
  const options = { silenceMs, ...(filter === undefined ? {} : { filter }) };
  return [{ ...base, scripts }, options];
}

async function startCoverage(flags: TestFlags): Promise<CoveredTests | undefined> {
  const { coverage = false, coverageLcov: file, coverageMin: min } = flags;
  if (!coverage && file === undefined && min === undefined) return undefined;
  const { CoveredTests } = await import('../../author/covered-tests.ts');
  return new CoveredTests();
}

/** @returns whether enough was run */
function tellCoverage({ coverage, uncounted }: CoveredTests, flags: TestFlags): boolean {
  const { json = false, coverageLcov: file, coverageMin: min } = flags;
  if (!json) print(`\n${coverage.table(process.stdout.columns ?? 0).trimEnd()}`);
  if (file !== undefined) writeResult(file, coverage.lcov());
  const missing = coverage.shortfalls(min ?? 0);
  for (const line of [...uncounted, ...missing]) printError(line);
  // Nobody knows how much of such a file ran.
  const isKnown = min === undefined || uncounted.size === 0;
  return isKnown && missing.length === 0;
}

function writeResult(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CommandError(ExitCode.FAILED, `cannot write ${file}: ${code}`, { cause });
  }
}

function parsePercent(text: string): number {
  const percent = Number(text);
  if (text.trim() !== '' && percent >= 0 && percent <= 100) return percent;
  throw new InvalidArgumentError('expected a percentage from 0 to 100');
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
  ...tests.flatMap(({ path, outcome, tookMs, failure: why, logs = [], logsLeft }) => [
    ...(why === undefined ? [] : formatFailure(why)),
    ...(logsLeft === undefined ? [] : [`  … ${logsLeft} lines before`]),
    ...logs.map((line) => `  ${scriptLogLine(line)}`),
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
