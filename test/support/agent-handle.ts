/** Starts agents (agent.ts) and talks to them. */
import { join } from 'node:path';
import type { Subprocess } from 'bun';
import type { AgentMethods } from './agent.ts';
import type { Topology } from './netns.ts';
import { scratchFolder } from './scratch.ts';

type Params<M extends keyof AgentMethods> = Parameters<AgentMethods[M]>[0];
type Result<M extends keyof AgentMethods> = Awaited<ReturnType<AgentMethods[M]>>;

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** Longer than any single thing that a test asks of an agent. */
const CALL_TIMEOUT_MS = 120_000;

let program: Promise<string> | undefined;

/** Bundles the agent for Node, once per test process. */
async function buildAgent(): Promise<string> {
  const outdir = scratchFolder('agent');
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, 'agent.ts')],
    target: 'node',
    outdir,
    naming: 'agent.mjs',
  });
  if (!built.success) throw new AggregateError(built.logs, 'the agent does not build');
  return join(outdir, 'agent.mjs');
}

/** Path of Node: the one that runs `npm test`, or the one in PATH. */
function nodePath(): string {
  const node = process.env['TEST_NODE'] ?? Bun.which('node');
  if (node === undefined || node === null) throw new Error('node is not in PATH');
  return node;
}

export class Agent {
  readonly #process: Subprocess<'pipe', 'pipe', 'inherit'>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  private constructor(process: Subprocess<'pipe', 'pipe', 'inherit'>) {
    this.#process = process;
    void this.#readAnswers();
  }

  /** Starts an agent in a namespace of the topology, which ends it. */
  static async start(topology: Topology, namespace: string): Promise<Agent> {
    program ??= buildAgent();
    return new Agent(topology.spawnPiped(namespace, [nodePath(), await program]));
  }

  /** @throws Error when the agent fails or does not answer in two minutes */
  call<M extends keyof AgentMethods>(method: M, params: Params<M>): Promise<Result<M>> {
    const id = this.#nextId++;
    this.#process.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
    void this.#process.stdin.flush();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${method} did not end in ${CALL_TIMEOUT_MS} ms`)),
        CALL_TIMEOUT_MS,
      );
      this.#waiting.set(id, ({ result, error }) => {
        clearTimeout(timer);
        if (error === undefined) resolve(result as Result<M>);
        else reject(new Error(`${method}: ${error}`));
      });
    });
  }

  async #readAnswers(): Promise<void> {
    const decoder = new TextDecoder();
    let pending = '';
    for await (const bytes of this.#process.stdout) {
      const lines = (pending + decoder.decode(bytes, { stream: true })).split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) this.#settle(JSON.parse(line) as Answer);
    }
    const gone = `the agent ended with ${await this.#process.exited}`;
    for (const id of [...this.#waiting.keys()]) this.#settle({ id, error: gone });
  }

  #settle(answer: Answer): void {
    const settle = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    settle?.(answer);
  }
}
