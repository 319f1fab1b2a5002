/** Tests that change the network do so in a network namespace of their own, and need root. */
import { dlopen } from 'bun:ffi';
import { closeSync, openSync } from 'node:fs';

const CLONE_NEWNET = 0x4000_0000;

const libc = dlopen('libc.so.6', {
  unshare: { args: ['i32'], returns: 'i32' },
  setns: { args: ['i32', 'i32'], returns: 'i32' },
}).symbols;

export const isRoot = process.geteuid?.() === 0;

if (!isRoot) console.warn('SKIPPED: tests of test/ffi that need root (network namespaces, TUN)');

/**
 * Moves this thread, and what it spawns from now on, to a fresh network namespace with `lo` up.
 * Disposing it goes back; the namespace ends with its last descriptor.
 */
export class NetworkNamespace {
  readonly #home = openSync('/proc/thread-self/ns/net', 'r');

  constructor() {
    if (libc.unshare(CLONE_NEWNET) !== 0) throw new Error('unshare(CLONE_NEWNET) failed');
    ip('link', 'set', 'lo', 'up');
  }

  [Symbol.dispose](): void {
    if (libc.setns(this.#home, CLONE_NEWNET) !== 0) throw new Error('setns failed');
    closeSync(this.#home);
  }
}

/** Another namespace to move devices to, alive as long as the process that it holds. */
export class OtherNamespace {
  readonly #holder: Bun.Subprocess;

  private constructor(holder: Bun.Subprocess) {
    this.#holder = holder;
  }

  static async create(): Promise<OtherNamespace> {
    const holder = Bun.spawn(['unshare', '--net', 'sh', '-c', 'echo ready; exec sleep 60'], {
      stdout: 'pipe',
    });
    await holder.stdout.getReader().read();
    return new OtherNamespace(holder);
  }

  /** Moves `device` of the present namespace there. */
  take(device: string): void {
    ip('link', 'set', device, 'netns', String(this.#holder.pid));
  }

  ip(...command: string[]): string {
    return run(['nsenter', '-t', String(this.#holder.pid), '-n', 'ip', ...command]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.kill();
    await this.#holder.exited;
  }
}

export const ip = (...command: string[]): string => run(['ip', ...command]);

function run(command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
  return stdout.toString();
}
