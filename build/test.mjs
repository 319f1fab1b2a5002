/**
 * `npm test`: installs what the tests need, builds, and runs all tests, three processes at a time.
 * At last those run that count what is lost, one by one, and once more what failed. What a process
 * printed is shown when it ends. The last lines are the sum of the summaries of the test runner.
 *
 *   npm test                    everything
 *   npm run test:unit [FILE]    without root
 *   npm run test:e2e [WORD]     files of test/e2e that have the word in their name
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { BUN, buildBinary, fail, installDependencies, ROOT, whatIsMissing } from './prepare.mjs';

/** Programs that tests call, and the Debian package of each. */
const PROGRAMS = {
  ip: 'iproute2',
  nft: 'nftables',
  sysctl: 'procps',
  ping: 'iputils-ping',
  curl: 'curl',
  iperf3: 'iperf3',
  hping3: 'hping3',
  traceroute: 'traceroute',
  conntrack: 'conntrack',
  tcpdump: 'tcpdump',
  tshark: 'tshark',
  zsh: 'zsh',
  fish: 'fish',
};
/** They take minutes, and so they come first. */
const LONG = ['reloads', 'hostile', 'queues'];
/** They count what is lost or late, and come when the machine has nothing else to do. */
const ALONE = ['kernel-nat', 'loss', 'udp'];
/** Two processors, and a third job for the time in which tests wait. */
const LANES = 3;
/** Found there also when the PATH of a user lacks it. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const E2E_SUFFIX = '.e2e.ts';
const E2E_TIMEOUT_MS = 180_000;
/** A machine that has other things to do must not fail a test of some seconds. */
const UNIT_TIMEOUT_MS = 30_000;

const [which = 'all', ...words] = process.argv.slice(2);
process.env.PATH = [process.env.PATH, ...SYSTEM_FOLDERS].join(delimiter);
// What tests leave in it goes with it. Some of them run the gateway as another user.
const scratch = mkdtempSync(join(tmpdir(), 'culvert-test-'));
chmodSync(scratch, 0o755);
process.env.TMPDIR = scratch;
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
// The agents of the end-to-end tests run in Node.
process.env.TEST_NODE = process.execPath;

installDependencies();
const missing = which === 'unit' ? [] : whatIsMissing();
let jobs = [];
if (which !== 'unit' && missing.length === 0) {
  installPrograms();
  buildBinary();
  jobs = e2eJobs(words);
}
if (which !== 'e2e') {
  const groups = words.length > 0 ? [words] : unitGroups();
  jobs.push(...groups.map((files) => ({ files, timeoutMs: UNIT_TIMEOUT_MS, isAlone: false })));
}
// With one job there is nothing that its output could mix with.
const isShownAtOnce = jobs.length === 1;
const beside = jobs.filter(({ isAlone }) => !isAlone);
const alone = jobs.filter(({ isAlone }) => isAlone);
const results = [...(await runAll(beside, LANES)), ...(await runAll(alone, 1))];
await tryAgain();
report();

/** Runs jobs in the order in which they are given, some of them at the same time. */
async function runAll(jobs, lanes) {
  const waiting = [...jobs];
  const done = [];
  const runLane = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      done.push({ job, ...(await bunTest(job)) });
    }
  };
  await Promise.all(Array.from({ length: lanes }, runLane));
  return done;
}

/**
 * Runs what failed once more, with nothing beside it: a machine that stood still for a second must
 * not condemn a change. Both runs are shown, and the report names what needed two.
 */
async function tryAgain() {
  for (const [at, first] of results.entries()) {
    if (first.code === 0 || isShownAtOnce) continue;
    console.error(`\nculvert: once more, alone: ${first.job.files.join(' ')}`);
    const { job } = first;
    results[at] = { job, failedAtFirst: first.failures, ...(await bunTest(job)) };
  }
}

/**
 * Unit tests by folder, each in a process of its own: hundreds of sandboxes and stacks, each with
 * memory that it reserves, are more than one process has addresses for.
 */
function unitGroups() {
  const found = new Map();
  for (const name of readdirSync(join(ROOT, 'test'), { recursive: true })) {
    if (!name.endsWith('.test.ts')) continue;
    const group = dirname(name);
    found.set(group, [...(found.get(group) ?? []), `./test/${name}`]);
  }
  return [...found.values()].map((files) => files.sort());
}

/** End-to-end tests, each file in a process of its own: `bun test` takes no others for tests. */
function e2eJobs(wanted) {
  const rank = (name) => (LONG.includes(name) ? LONG.indexOf(name) : LONG.length);
  const names = readdirSync(join(ROOT, 'test/e2e'))
    .filter((name) => name.endsWith(E2E_SUFFIX))
    .map((name) => name.slice(0, -E2E_SUFFIX.length))
    .filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  if (names.length === 0) fail(`no file of test/e2e has ${wanted.join(' or ')} in its name`);
  return names.map((name) => ({
    files: [`./test/e2e/${name}${E2E_SUFFIX}`],
    timeoutMs: E2E_TIMEOUT_MS,
    isAlone: ALONE.includes(name),
  }));
}

/** Runs `bun test`, shows what it prints, at once or at its end, and reads its summary. */
function bunTest({ files, timeoutMs }) {
  const startedAt = performance.now();
  const runner = spawn(BUN, ['test', '--timeout', String(timeoutMs), ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, FORCE_COLOR: process.stderr.isTTY ? '1' : '0' },
  });
  const printed = [];
  const take = (bytes) => {
    printed.push(bytes);
    if (isShownAtOnce) process.stderr.write(bytes);
  };
  runner.stdout.on('data', take);
  runner.stderr.on('data', take);
  return new Promise((resolve) => {
    runner.on('close', (code) => {
      const text = Buffer.concat(printed);
      if (!isShownAtOnce) process.stderr.write(text);
      const seconds = Math.round((performance.now() - startedAt) / 1000);
      console.error(`culvert: ${seconds} s: ${files.join(' ')}`);
      resolve({ code, ...readSummary(text.toString()) });
    });
  });
}

/** The counts at the end of what `bun test` printed, ` 12 pass`, and the names of what failed. */
function readSummary(printed) {
  const text = stripVTControlCharacters(printed);
  const summary = text.slice(text.search(/^ *\d+ pass$/m));
  const count = (word) => Number(new RegExp(`^ *(\\d+) ${word}`, 'm').exec(summary)?.[1] ?? 0);
  const failures = [...new Set(text.match(/^\(fail\) .*$/gm) ?? [])];
  return { failures, passed: count('pass'), failed: count('fail'), skipped: count('skip') };
}

/** Installs the Debian packages of programs that are not there, where that is possible. */
function installPrograms() {
  const lacking = Object.entries(PROGRAMS).filter(([program]) => !isInPath(program));
  if (lacking.length === 0) return;
  const packages = lacking.map(([, name]) => name);
  if (!isInPath('apt-get')) {
    fail(`the end-to-end tests need ${lacking.map(([program]) => program).join(', ')}`);
  }
  console.error(`culvert: installing ${packages.join(' ')}`);
  // The list of packages is fetched only when the one that is there does not do.
  if (!aptGet('install', '-y', '--no-install-recommends', ...packages)) {
    aptGet('update');
    if (!aptGet('install', '-y', '--no-install-recommends', ...packages)) {
      fail(`apt-get could not install ${packages.join(' ')}`);
    }
  }
}

function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-qq', ...args], { stdio: ['ignore', 2, 2], env }).status === 0;
}

function isInPath(program) {
  return process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** The last lines, and the exit code. */
function report() {
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  if (missing.length > 0) {
    console.error('\nculvert: the end-to-end tests were NOT run, this is missing:');
    for (const what of missing) console.error(`culvert:   ${what}`);
  }
  for (const { job, failedAtFirst } of results) {
    if (failedAtFirst === undefined) continue;
    console.error(`\nculvert: needed a second run: ${job.files.join(' ')}`);
    for (const line of failedAtFirst) console.error(`culvert:   ${line}`);
  }
  const broken = results.filter(({ code }) => code !== 0);
  for (const { job, code, failures } of broken) {
    console.error(`\nculvert: exit code ${code} of the tests ${job.files.join(' ')}`);
    for (const line of failures) console.error(`culvert:   ${line}`);
  }
  console.error(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  process.exit(broken.length > 0 || missing.length > 0 ? 1 : 0);
}
