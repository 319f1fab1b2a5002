/**
 * What `npm start` and `npm test` do before they can use Bun. Plain Node, no dependency: on a
 * fresh clone there is none.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
export const BINARY = join(ROOT, 'dist/culvert');
export const BUN = join(ROOT, 'node_modules/.bin/bun');

/** What the binary is made from; folders are searched. */
const INPUTS = ['src', 'scripts', 'build/compile.ts', 'package.json', 'package-lock.json'];

/** Bit of CAP_NET_ADMIN, linux/capability.h. */
const CAP_NET_ADMIN = 12n;

/** Ends the process with a message and exit code 1. */
export function fail(...lines) {
  console.error(lines.map((line) => `culvert: ${line}`).join('\n'));
  process.exit(1);
}

/** What keeps a TUN device from being made here, in words for the operator; empty when nothing. */
export function whatIsMissing() {
  if (process.platform !== 'linux') return [`Linux (this is ${process.platform})`];
  const missing = [];
  if (!['x64', 'arm64'].includes(process.arch)) missing.push(`x64 or arm64, not ${process.arch}`);
  if (!hasNetAdmin()) missing.push('CAP_NET_ADMIN: run it as root, for example with sudo');
  if (!existsSync('/dev/net/tun')) {
    missing.push('/dev/net/tun: load the module (modprobe tun) or give the container the device');
  } else if (!canUse('/dev/net/tun')) {
    missing.push('leave to open /dev/net/tun for reading and writing');
  }
  return missing;
}

/** Runs `npm ci` unless what is installed is what the lock file says, and makes `bun` work. */
export function installDependencies() {
  if (!isInstalled()) {
    console.error('culvert: installing dependencies (npm ci)');
    const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: ROOT,
      // What is printed on standard output belongs to the program that is started afterwards.
      stdio: ['ignore', 2, 2],
    });
    if (status !== 0) fail(`npm ci failed with exit code ${status ?? 'none: is npm in PATH?'}`);
  }
  finishBun();
}

/**
 * Where npm is told to run no install scripts, the command `bun` is a placeholder until Bun's own
 * script has put the binary there.
 */
function finishBun() {
  if (spawnSync(BUN, ['--version']).status === 0) return;
  const folder = join(ROOT, 'node_modules/bun');
  const { status } = spawnSync(process.execPath, ['install.js'], { cwd: folder, stdio: [0, 2, 2] });
  if (status !== 0) fail('the npm package "bun" has no binary for this machine');
}

/** Builds dist/culvert unless it is newer than all that it is made from. */
export function buildBinary() {
  const builtAt = existsSync(BINARY) ? statSync(BINARY).mtimeMs : 0;
  if (INPUTS.every((input) => newestBelow(join(ROOT, input)) < builtAt)) return;
  const { status } = spawnSync(BUN, [join(ROOT, 'build/compile.ts')], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) fail(`the build failed with exit code ${status}`);
}

/** Each package of the lock file is there in its version, or is meant for another platform. */
function isInstalled() {
  const readPackages = (file) => JSON.parse(readFileSync(join(ROOT, file), 'utf8')).packages;
  if (!existsSync(join(ROOT, 'node_modules/.package-lock.json')) || !existsSync(BUN)) return false;
  const installed = readPackages('node_modules/.package-lock.json');
  return Object.entries(readPackages('package-lock.json')).every(
    ([path, { version, optional }]) =>
      path === '' || optional === true || installed[path]?.version === version,
  );
}

/** Time of the last change, in milliseconds; of a folder also when something left it. */
function newestBelow(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path).reduce(
    (newest, name) => Math.max(newest, newestBelow(join(path, name))),
    stat.mtimeMs,
  );
}

function hasNetAdmin() {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return ((BigInt(`0x${effective ?? '0'}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

function canUse(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
