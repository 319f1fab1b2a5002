/** Starts the compiled binary, as a user would, from a folder that is not the repository. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Subprocess } from 'bun';
import { stringify } from 'yaml';
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import type { Topology } from './netns.ts';
import { scratchFolder } from './scratch.ts';
import { waitFor } from './wait.ts';

/** One line of the gateway's log. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface GatewayOptions {
  /** Absent: the embedded default, with no `-c`. */
  readonly config?: ConfigInput;
  /** Name and source of each script, loaded in this order. */
  readonly scripts?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** `false`: do not wait for /readyz. */
  readonly wait?: boolean;
}

const BINARY = join(import.meta.dir, '../../dist/culvert');
/** Nothing of the repository, of Bun or of Node is in it. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' };
/** Of the drain, and some. */
const STOP_TIMEOUT_MS = 20_000;

/** TEST_QUEUES: how many queues the devices have whose tests do not say. */
const QUEUES =
  process.env['TEST_QUEUES'] === undefined ? {} : { queues: Number(process.env['TEST_QUEUES']) };

let binary: string | undefined;

/** A copy of dist/culvert alone in a temporary folder, one per test process. */
export function culvertBinary(): string {
  if (binary !== undefined) return binary;
  if (!existsSync(BINARY)) throw new Error('dist/culvert is missing: npm run build');
  const folder = scratchFolder('bin');
  binary = join(folder, 'culvert');
  copyFileSync(BINARY, binary);
  return binary;
}

export class Gateway implements AsyncDisposable {
  readonly #process: Subprocess<'ignore', 'pipe', 'pipe'>;
  readonly #topology: Topology;
  readonly #socket: string;
  /** The folder it runs in, with config.yaml and scripts/. */
  readonly folder: string;
  readonly logs: LogLine[] = [];
  /** What it printed that is no JSON line: the text for humans, or last words. */
  output = '';

  private constructor(topology: Topology, folder: string, argv: readonly string[]) {
    this.folder = folder;
    this.#topology = topology;
    this.#socket = join(folder, 'admin.sock');
    this.#process = topology.spawn(topology.gw, argv, { cwd: folder, env: ENVIRONMENT });
    void this.#collect(this.#process.stdout);
    void this.#collect(this.#process.stderr);
  }

  static async start(topology: Topology, options: GatewayOptions = {}): Promise<Gateway> {
    const folder = scratchFolder('run');
    const argv = [culvertBinary(), 'run', '-D', folder, '--admin', `unix://${folder}/admin.sock`];
    const load = Object.entries(options.scripts ?? {}).map(([name, source]) => {
      const file = `scripts/${name}.ts`;
      writeText(join(folder, file), source);
      return { name, file };
    });
    if (options.config !== undefined) {
      const device = { ...QUEUES, ...options.config.device };
      const config = { ...options.config, device, scripts: { load, ...options.config.scripts } };
      writeText(join(folder, 'config.yaml'), stringify(config));
      argv.push('-c', join(folder, 'config.yaml'));
    }
    const gateway = new Gateway(topology, folder, [...argv, ...(options.args ?? [])]);
    try {
      if (options.wait !== false) await gateway.ready();
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
    return gateway;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Exit code, once it ended. */
  get exited(): Promise<number> {
    return this.#process.exited;
  }

  /** Waits until /readyz answers 200. @throws Error with what the gateway said */
  async ready(timeoutMs = 15_000): Promise<void> {
    try {
      await waitFor('the gateway to be ready', () => this.#isReady(), timeoutMs);
    } catch (cause) {
      throw new Error(`not ready\n${this.transcript()}`, { cause });
    }
  }

  /** A request to the admin API. */
  api(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://localhost${path}`, { ...init, unix: this.#socket });
  }

  /** A request that must succeed; its JSON. */
  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await this.api(path, init);
    const text = await response.text();
    if (!response.ok)
      throw new Error(`${init.method ?? 'GET'} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Replaces one script and activates it. */
  async putScript(name: string, source: string): Promise<Response> {
    return this.api(`/v1/scripts/${name}`, {
      method: 'PUT',
      body: source,
      headers: { 'If-Match': '*', 'Content-Type': 'application/typescript' },
    });
  }

  /** Value of the series with just these labels; without any, the sum of all series. */
  async metric(name: string): Promise<number> {
    const text = await (await this.api('/metrics')).text();
    const isOf = (line: string) => line.startsWith(`${name} `) || line.startsWith(`${name}{`);
    const values = text.split('\n').filter(isOf);
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Runs a sub-command of the same binary in the folder of the gateway. */
  cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const admin = ['--admin', `unix://${this.#socket}`];
    return this.#topology.run(this.#topology.gw, culvertBinary(), ...args, ...admin);
  }

  /** Waits for a log line, also among those already written. */
  waitForLog(
    what: string,
    matches: (line: LogLine) => boolean,
    timeoutMs = 5000,
  ): Promise<LogLine> {
    return waitFor(`log: ${what}`, () => this.logs.find(matches), timeoutMs).catch((cause) => {
      throw new Error(`no log line: ${what}\n${this.transcript()}`, { cause });
    });
  }

  /** The line that the end of a flow to this destination wrote. */
  flowLog(destination: string, port: number, reason?: string): Promise<LogLine> {
    return this.waitForLog(`flow to ${destination} ${port} ${reason ?? ''}`, (line) => {
      return (
        line['event'] === 'flow' &&
        line['dst'] === destination &&
        line['dst_port'] === port &&
        (reason === undefined || line['close_reason'] === reason)
      );
    });
  }

  /** Processes of one kind that the gateway started: `__data-plane`, `__script-host`. */
  children(kind: '__data-plane' | '__script-host'): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => parentOf(pid) === this.pid && readProc(pid, 'cmdline').includes(kind));
  }

  /** Proportional memory of the gateway and its children, in bytes. */
  memory(): number {
    const pids = [this.pid, ...this.children('__data-plane'), ...this.children('__script-host')];
    return pids.reduce((sum, pid) => {
      const pss = /^Pss:\s+(\d+) kB$/m.exec(readProc(pid, 'smaps_rollup'))?.[1];
      return sum + Number(pss ?? 0) * 1024;
    }, 0);
  }

  signal(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP'): void {
    this.#process.kill(signal);
  }

  /** Drains and ends it; gives the exit code. */
  async stop(): Promise<number> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const code = await this.#process.exited;
    clearTimeout(timer);
    return code;
  }

  /** All it said, for a test that fails. */
  transcript(): string {
    const lines = this.logs.slice(-60).map((line) => JSON.stringify(line));
    return `${lines.join('\n')}\n${this.output}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#process.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #isReady(): Promise<boolean> {
    if (this.#process.exitCode !== null) throw new Error(`it ended: ${this.#process.exitCode}`);
    try {
      return (await this.api('/readyz')).ok;
    } catch {
      // The socket is not there yet.
      return false;
    }
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let pending = '';
    for await (const bytes of stream) {
      const lines = (pending + decoder.decode(bytes, { stream: true })).split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    }
    if (pending !== '') this.#take(pending);
  }

  #take(line: string): void {
    if (!line.startsWith('{')) {
      this.output += `${line}\n`;
      return;
    }
    try {
      this.logs.push(JSON.parse(line) as LogLine);
    } catch {
      this.output += `${line}\n`;
    }
  }
}

export function writeText(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** 0 when the process is gone. */
function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readProc(pid, 'status'))?.[1] ?? 0);
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
