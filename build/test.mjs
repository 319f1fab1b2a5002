/**
 * `npm test`: installs what the tests need, builds, runs the end-to-end tests, and beside the first
 * of them the unit and property tests. What a process printed is shown when it ends. The last lines
 * are the sum of the summaries of the test runner.
 *
 *   npm test                    everything
 *   npm run test:unit [FILE]    without root, without a build
 *   npm run test:e2e [WORD]     files of test/e2e that have the word in their name
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { BUN, buildBinary, fail, installDependencies, ROOT, whatIsMissing } from './prepare.mjs';

/** Programs that the end-to-end tests call, and the Debian package of each. */
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
};
/**
 * They take minutes, and run while unit tests do beside them. Those that count what is lost come
 * when the machine has nothing else to do.
 */
const FIRST = ['reloads.e2e.ts', 'scale.e2e.ts'];
/** Found there also when the PATH of a user lacks it. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const E2E_TIMEOUT_MS = 180_000;
/** A machine that has other things to do must not fail a test of some seconds. */
const UNIT_TIMEOUT_MS = 30_000;

const [which = 'all', ...words] = process.argv.slice(2);
process.env.PATH = [process.env.PATH, ...SYSTEM_FOLDERS].join(delimiter);
// The agents of the end-to-end tests run in Node.
process.env.TEST_NODE = process.execPath;

installDependencies();
const missing = which === 'unit' ? [] : whatIsMissing();
const lanes = { e2e: [], unit: [] };
if (which !== 'unit' && missing.length === 0) {
  installPrograms();
  buildBinary();
  lanes.e2e = e2eFiles(words).map((file) => ({ files: [file], timeoutMs: E2E_TIMEOUT_MS }));
}
if (which !== 'e2e') {
  const groups = words.length > 0 ? [words] : unitGroups();
  lanes.unit = groups.map((files) => ({ files, timeoutMs: UNIT_TIMEOUT_MS }));
}
// With one job there is nothing that its output could mix with.
const isAlone = lanes.e2e.length + lanes.unit.length === 1;
const results = (
  await Promise.all([runAll(lanes.e2e, isAlone), runAll(lanes.unit, isAlone)])
).flat();
report();

/** Runs the jobs of one lane, one after the other. */
async function runAll(jobs, isShownAtOnce) {
  const done = [];
  for (const job of jobs) done.push(await bunTest(job, isShownAtOnce));
  return done;
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

/** Files of end-to-end tests, one after the other: `bun test` takes no others for tests. */
function e2eFiles(wanted) {
  const files = readdirSync(join(ROOT, 'test/e2e'))
    .filter((name) => name.endsWith('.e2e.ts'))
    .filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
    .sort((a, b) => Number(FIRST.includes(b)) - Number(FIRST.includes(a)) || (a < b ? -1 : 1));
  if (files.length === 0) fail(`no file of test/e2e has ${wanted.join(' or ')} in its name`);
  return files.map((name) => `./test/e2e/${name}`);
}

/** Runs `bun test`, shows what it prints, at once or at its end, and reads its summary. */
function bunTest({ files, timeoutMs }, isShownAtOnce) {
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
      resolve({ files, code, ...readSummary(text.toString()) });
    });
  });
}

/** The counts at the end of what `bun test` printed: ` 12 pass`, ` 0 fail`. */
function readSummary(printed) {
  const text = stripVTControlCharacters(printed);
  const summary = text.slice(text.search(/^ *\d+ pass$/m));
  const count = (word) => Number(new RegExp(`^ *(\\d+) ${word}`, 'm').exec(summary)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') };
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
  const broken = results.filter(({ code }) => code !== 0);
  for (const { files, code } of broken) {
    console.error(`culvert: exit code ${code} of the tests ${files.join(' ')}`);
  }
  console.error(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  process.exit(broken.length > 0 || missing.length > 0 ? 1 : 0);
}
