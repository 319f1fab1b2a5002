/**
 * The process in which scripts run. One synchronous loop: requests of the data plane, messages of
 * the supervisor and deadlines of scripts, whatever comes first. Only while a bundle loads or a
 * sandbox is made does it give way to the event loop, because WebAssembly is compiled there.
 */
import { Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { raise } from '../../ffi/errors.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import { SERVICE_NAMES, Service } from '../../stack/flow-row.ts';
import {
  HeartbeatField,
  type ScriptBundle,
  ScriptHostFd,
  type ToScriptHost,
} from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel, STDIN } from './control-channel.ts';
import { DecisionChannel } from './decision-channel.ts';

const Token = { CONTROL: 1, DECISIONS: 2 } as const;

const US_PER_MS = 1000;

/** Names that `redirect` knows. */
export const SERVICES = SERVICE_NAMES.filter((_, service) => service !== Service.NONE);

export class HostLoop {
  readonly #heartbeat: DataView;
  readonly #control = new ControlChannel();
  readonly #decisions = new DecisionChannel(ScriptHostFd.DATA_PLANE);
  readonly #epoll = new Epoll();
  readonly #host: ScriptHost;
  /** Loads one after the other, in the order in which they were asked for. */
  #loads: Promise<void> = Promise.resolve();
  #loadsLeft = 0;
  #isWatchingDecisions = true;
  #isBlocked = false;

  constructor(heartbeat: DataView) {
    this.#heartbeat = heartbeat;
    const control = this.#control;
    this.#host = new ScriptHost(
      {
        ...processClock,
        epochMs: Date.now,
        enter: (generation, position, aheadUs) => this.#enter(generation, position, aheadUs),
        leave: () => heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, 0, true),
        answer: (requestId, decision) => this.#decisions.answer(requestId, decision),
        resolve: (id, name) => control.send({ kind: 'resolve', id, name }),
        log: (line) => control.send({ kind: 'log', ...line }),
        kv: (entries) => control.send({ kind: 'kv', entries }),
        stats: (scripts) => control.send({ kind: 'stats', scripts }),
      },
      SERVICES,
    );
  }

  /** Ends when the supervisor does. */
  async run(): Promise<void> {
    this.#watch(STDIN, Token.CONTROL);
    this.#watch(ScriptHostFd.DATA_PLANE, Token.DECISIONS);
    this.#control.send({ kind: 'ready' });
    for (;;) {
      const needsEventLoop = this.#loadsLeft > 0 || this.#host.isPreparing;
      const count = this.#epoll.wait(needsEventLoop ? 0 : this.#timeoutMs());
      if (count < 0) raise(count, 'epoll_wait');
      for (let i = 0; i < count; i++) {
        if (!this.#handle(this.#epoll.token(i), this.#epoll.events(i))) return;
      }
      const now = processClock.now();
      if (this.#host.nextDeadline() <= now) this.#host.expire(now);
      this.#updateWatch();
      if (needsEventLoop) await nextTick();
    }
  }

  /** False when the supervisor is gone. */
  #handle(token: number, events: number): boolean {
    if (token === Token.CONTROL) return this.#control.read((message) => this.#receive(message));
    if ((events & EpollEvent.OUT) !== 0) this.#decisions.flush();
    const isOpen = this.#decisions.read({
      onRequest: (requestId, request) => {
        // The data plane asks once it was told that a bundle is active; before, it is no one's.
        if (this.#host.generation > 0) this.#host.request(requestId, request);
      },
      onCancel: (requestId) => this.#host.cancel(requestId),
    });
    if (!isOpen) {
      this.#isWatchingDecisions = false;
      this.#epoll.remove(ScriptHostFd.DATA_PLANE);
    }
    return true;
  }

  #receive(message: ToScriptHost): void {
    switch (message.kind) {
      case 'load':
        this.#decisions.epoch = message.epoch;
        this.#loadsLeft++;
        this.#loads = this.#loads.then(() => this.#load(message.bundle));
        break;
      case 'resolved':
        this.#host.resolved(message.id, message.addresses, message.error ?? '');
        break;
    }
  }

  async #load(bundle: ScriptBundle): Promise<void> {
    const { generation } = bundle;
    const issues = await this.#host.load(bundle);
    this.#control.send(
      issues.length === 0
        ? { kind: 'loaded', generation }
        : { kind: 'load-failed', generation, issues },
    );
    this.#loadsLeft--;
  }

  #enter(generation: number, position: number, aheadUs: number): void {
    this.#heartbeat.setUint32(HeartbeatField.GENERATION, generation, true);
    this.#heartbeat.setUint32(HeartbeatField.SCRIPT, position, true);
    this.#heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, processClock.now() + aheadUs, true);
  }

  #timeoutMs(): number {
    const deadline = this.#host.nextDeadline();
    return Math.max(0, (deadline - processClock.now()) / US_PER_MS);
  }

  #watch(fd: number, token: number): void {
    const result = this.#epoll.add(fd, EpollEvent.IN, token);
    if (result < 0) raise(result, 'epoll_ctl', { device: `fd ${fd}` });
  }

  /** Waits for room instead of requests while answers wait. */
  #updateWatch(): void {
    const { isBlocked } = this.#decisions;
    if (isBlocked === this.#isBlocked || !this.#isWatchingDecisions) return;
    this.#isBlocked = isBlocked;
    const events = isBlocked ? EpollEvent.OUT : EpollEvent.IN;
    this.#epoll.modify(ScriptHostFd.DATA_PLANE, events, Token.DECISIONS);
  }
}

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
