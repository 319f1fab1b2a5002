/** What must be on the machine: Debian packages, and the Go programs of `src/`, built here. */

import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, must, run } from './command.ts';

export const ROOT = join(import.meta.dir, '../..');

/** Built programs and raw samples. */
export const CACHE = join(ROOT, 'dist/bench');

export interface Requirement {
  /** Name of a program, or an absolute path. */
  readonly path: string;
  /** Debian package that brings it. */
  readonly debian?: string;
  /** What to do about it when it is missing and no package brings it. */
  readonly advice?: string;
}

/** Where Debian puts the sources of Go libraries. */
const GO_LIBRARIES = '/usr/share/gocode';

/** The bench itself needs these, whatever it measures. */
export const BASE_REQUIREMENTS: readonly Requirement[] = [
  { path: 'ip', debian: 'iproute2' },
  { path: 'sysctl', debian: 'procps' },
  { path: 'prlimit', debian: 'util-linux' },
  { path: 'nft', debian: 'nftables' },
  { path: 'iperf3', debian: 'iperf3' },
  { path: 'wrk', debian: 'wrk' },
  { path: 'nginx', debian: 'nginx-light' },
  { path: 'go', debian: 'golang-go' },
  { path: join(GO_LIBRARIES, 'src/golang.org/x/sys'), debian: 'golang-golang-x-sys-dev' },
];

export const GVISOR: Requirement = {
  path: join(GO_LIBRARIES, 'src/gvisor.dev/gvisor'),
  debian: 'golang-gvisor-gvisor-dev',
};

export type GoProgram = 'lt' | 'gvfwd';

const INSTALL_TIMEOUT_S = 600;
const BUILD_TIMEOUT_S = 600;

/** Path of a Go program of ours once it is built. */
export const goProgram = (name: GoProgram): string => join(CACHE, name);

export function isThere({ path }: Requirement): boolean {
  if (path.startsWith('/')) return existsSync(path);
  return Bun.which(path, { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }) !== null;
}

/** Says how to get what is missing: `haproxy (apt-get install haproxy)`. */
export function describeMissing(missing: readonly Requirement[]): string {
  const advice = (need: Requirement): string =>
    need.debian === undefined ? (need.advice ?? 'not found') : `apt-get install ${need.debian}`;
  return missing.map((need) => `${need.path} (${advice(need)})`).join(', ');
}

/** Installs the Debian packages of what is missing, as far as there is an apt-get. */
export async function install(requirements: readonly Requirement[]): Promise<void> {
  const missing = requirements.filter((need) => !isThere(need));
  const packages = [...new Set(missing.flatMap((need) => need.debian ?? []))];
  if (packages.length === 0 || !isThere({ path: 'apt-get' })) return;
  console.log(`installing ${packages.join(' ')}`);
  if ((await aptInstall(packages)).code === 0) return;
  // The list of packages may be old, or one of them may be unknown here: then each for itself.
  await run(['apt-get', 'update'], { timeout: INSTALL_TIMEOUT_S });
  for (const name of packages) {
    const { code, stderr } = await aptInstall([name]);
    if (code !== 0) console.error(`apt-get install ${name}: ${stderr.trim().slice(-300)}`);
  }
}

/** Builds a Go program unless it is newer than its sources. @throws BenchError */
export async function buildGo(name: GoProgram): Promise<void> {
  const folder = join(import.meta.dir, 'src', name);
  const target = goProgram(name);
  const sources = readdirSync(folder).map((file) => statSync(join(folder, file)).mtimeMs);
  if (existsSync(target) && statSync(target).mtimeMs > Math.max(...sources)) return;
  mkdirSync(CACHE, { recursive: true });
  console.log(`building ${name}`);
  await must(['go', 'build', '-o', target, '.'], {
    cwd: folder,
    timeout: BUILD_TIMEOUT_S,
    env: {
      GO111MODULE: 'off',
      CGO_ENABLED: '0',
      GOPATH: GO_LIBRARIES,
      GOCACHE: join(CACHE, 'go-cache'),
    },
  });
}

/** @throws BenchError  when this machine cannot carry a bench at all */
export function checkMachine(): void {
  if (process.platform !== 'linux') throw new BenchError('the bench needs Linux');
  if (process.getuid?.() !== 0) throw new BenchError('the bench needs root: it makes namespaces');
  if (!existsSync('/dev/net/tun')) throw new BenchError('/dev/net/tun is missing (modprobe tun)');
}

function aptInstall(packages: readonly string[]) {
  const options = ['-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120'];
  return run(['apt-get', 'install', ...options, ...packages], {
    timeout: INSTALL_TIMEOUT_S,
    env: { DEBIAN_FRONTEND: 'noninteractive' },
  });
}
