/** A child process of this binary that talks in frames over its standard streams. */
import { fileURLToPath } from 'node:url';
import { encodeJsonFrame, FrameKind, FrameReader } from '../messages/framing.ts';
import { IS_COMPILED } from './build-info.ts';

export interface ChildHandlers {
  onMessage(message: unknown): void;
  /** Rows of flows that ended, valid only during the call. */
  onFlowRows?(rows: Uint8Array): void;
  /** Called once, after the last message. */
  onExit(exit: ChildExit): void;
}

export interface ChildExit {
  readonly code: number | null;
  /** `SIGKILL` */
  readonly signal: string | number | null;
  /** The child sent what is no frame or no JSON, and was killed for it. */
  readonly protocolError?: Error;
}

/** How a process of this binary is started: the compiled file itself, or Bun with `main.ts`. */
export function selfCommand(subCommand: string): string[] {
  // The file may have been replaced by a newer one since: a child must be what the parent is.
  if (IS_COMPILED) return ['/proc/self/exe', subCommand];
  return [process.execPath, fileURLToPath(new URL('../main.ts', import.meta.url)), subCommand];
}

export class Child {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>;

  /** @param fds  inherited as 3, 4, … in this order */
  constructor(command: readonly string[], fds: readonly number[], handlers: ChildHandlers) {
    this.#process = Bun.spawn([...command], {
      stdio: ['pipe', 'pipe', 'inherit', ...fds],
      // What a child must know it is told. Tokens and keys of the environment are not for a
      // process that runs code of strangers.
      env: {},
      // A session of its own: Ctrl-C in a terminal drains through the supervisor, and must not
      // reach the children first.
      detached: true,
    });
    void this.#read(handlers);
  }

  get pid(): number {
    return this.#process.pid;
  }

  send(message: unknown): void {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    try {
      this.#process.stdin.write(encodeJsonFrame(message));
      void Promise.resolve(this.#process.stdin.flush()).catch(ignoreClosedPipe);
    } catch (error) {
      ignoreClosedPipe(error);
    }
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  get exited(): Promise<number> {
    return this.#process.exited;
  }

  async #read(handlers: ChildHandlers): Promise<void> {
    const frames = new FrameReader();
    const utf8 = new TextDecoder();
    let protocolError: Error | undefined;
    try {
      for await (const bytes of this.#process.stdout) {
        frames.push(bytes, (kind, body) => {
          if (kind === FrameKind.FLOW_ROWS) handlers.onFlowRows?.(body);
          else handlers.onMessage(JSON.parse(utf8.decode(body)));
        });
      }
    } catch (error) {
      protocolError = error instanceof Error ? error : new Error(String(error));
      this.kill();
    }
    await this.#process.exited;
    handlers.onExit({
      code: this.#process.exitCode,
      signal: this.#process.signalCode,
      ...(protocolError === undefined ? {} : { protocolError }),
    });
  }
}

/** A child that is gone takes no message; its exit is reported by itself. */
function ignoreClosedPipe(error: unknown): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'EPIPE' && code !== 'ERR_INVALID_STATE' && code !== 'ECONNRESET') throw error;
}
