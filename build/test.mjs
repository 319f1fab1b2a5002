/**
 * `npm test`: installs what the tests need, builds, runs the unit and property tests and then the
 * end-to-end tests. The last lines are the summary of the test runner, and the sum of both runs.
 *
 *   npm test                    everything
 *   npm run test:unit [FILE]    without root, without a build
 *   npm run test:e2e [WORD]     files of test/e2e that have the word in their name
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join, sep } from 'node:path';
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
};
/** Found there also when the PATH of a user lacks it. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const E2E_TIMEOUT_MS = 180_000;
/** A machine that has other things to do must not fail a test of some seconds. */
const UNIT_TIMEOUT_MS = 30_000;

const [which = 'all', ...words] = process.argv.slice(2);
process.env.PATH = [process.env.PATH, ...SYSTEM_FOLDERS].join(delimiter);
// The agents of the end-to-end tests run in Node.
process.env.CULVERT_TEST_NODE = process.execPath;

installDependencies();
const results = [];
if (which !== 'e2e') {
  const groups = words.length > 0 ? [words] : unitGroups();
  for (const group of groups) {
    results.push(await bunTest(group, '--timeout', String(UNIT_TIMEOUT_MS)));
  }
}
const missing = which === 'unit' ? [] : whatIsMissing();
if (which !== 'unit' && missing.length === 0) {
  installPrograms();
  buildBinary();
  results.push(await bunTest(e2eFiles(words), '--timeout', String(E2E_TIMEOUT_MS)));
}
report();

/**
 * Unit tests by folder, each in a process of its own: hundreds of sandboxes, each with memory that
 * WebAssembly reserves, are more than one process has addresses for.
 */
function unitGroups() {
  const found = new Map();
  for (const name of readdirSync(join(ROOT, 'test'), { recursive: true })) {
    if (!name.endsWith('.test.ts')) continue;
    const [folder, ...rest] = name.split(sep);
    const group = rest.length === 0 ? 'test' : `test/${folder}`;
    found.set(group, [...(found.get(group) ?? []), `./test/${name}`]);
  }
  return [...found.values()].map((files) => files.sort());
}

/** Files of end-to-end tests, one after the other: `bun test` takes no others for tests. */
function e2eFiles(wanted) {
  const files = readdirSync(join(ROOT, 'test/e2e'))
    .filter((name) => name.endsWith('.e2e.ts'))
    .filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
    .sort();
  if (files.length === 0) fail(`no file of test/e2e has ${wanted.join(' or ')} in its name`);
  return files.map((name) => `./test/e2e/${name}`);
}

/** Runs `bun test`, shows what it prints, and reads its summary. */
function bunTest(files, ...options) {
  const runner = spawn(BUN, ['test', ...options, ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...process.env, FORCE_COLOR: process.stderr.isTTY ? '1' : '0' },
  });
  let tail = '';
  runner.stderr.on('data', (bytes) => {
    process.stderr.write(bytes);
    tail = (tail + bytes).slice(-4096);
  });
  return new Promise((resolve) => {
    runner.on('close', (code) => resolve({ code, ...readSummary(tail) }));
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
  console.error(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  const crashed = results.find(({ code }) => code !== 0);
  process.exit(crashed !== undefined || missing.length > 0 ? 1 : 0);
}
