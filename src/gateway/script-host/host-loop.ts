/**
 * The process in which scripts run. One synchronous loop: messages of the supervisor, requests of
 * the data plane and deadlines of scripts. Scripts work in slices of time, and the supervisor is
 * heard between them, however much there is to do. While a bundle loads, a sandbox is made or TLS
 * is spoken, the loop gives way to the event loop, where that is done, for as long as scripts
 * worked.
 *
 * Another host may serve the data plane until this one has loaded its first bundle, and they share
 * one socket: nothing is read from it before.
 */
import { Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { raise } from '../../ffi/errors.ts';
import { SharedMemory } from '../../ffi/memory.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import type { LoadOptions } from '../../scripts-runtime/host-ports.ts';
import { SLICE_US } from '../../scripts-runtime/limits.ts';
import { SERVICE_NAMES, Service } from '../../stack/flow-row.ts';
import { HOST_MEMORY_BYTES, noteRing, writeNote } from '../messages/flow-notes.ts';
import { kvChunks } from '../messages/kv-chunks.ts';
import { metricChunks } from '../messages/metric-chunks.ts';
import {
  HEARTBEAT_BYTES,
  HeartbeatField,
  type KvEntry,
  type ScriptBundle,
  ScriptHostFd,
  type ToScriptHost,
} from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel, STDIN } from './control-channel.ts';
import { readDnsAnswer } from './dns-answer.ts';
import { PlaneLinks } from './plane-links.ts';
import { TlsCarrier } from './tls-carrier.ts';

const Token = { CONTROL: 1, FIRST_LINK: 2 } as const;

const US_PER_MS = 1000;

/** Names that `redirect` knows besides listeners. */
export const SERVICES = SERVICE_NAMES.filter((_, service) => service === Service.WELCOME);

export class HostLoop {
  readonly #memory = SharedMemory.map(ScriptHostFd.HEARTBEAT, HOST_MEMORY_BYTES).buffer;
  readonly #heartbeat = new DataView(this.#memory, 0, HEARTBEAT_BYTES);
  readonly #notes = noteRing(this.#memory);
  readonly #control = new ControlChannel();
  readonly #epoll = new Epoll();
  readonly #planes: PlaneLinks;
  readonly #tls: TlsCarrier;
  readonly #host: ScriptHost;
  /** Loads one after the other, in the order in which they were asked for. */
  #loads: Promise<void> = Promise.resolve();
  #loadsLeft = 0;
  #restored: readonly KvEntry[] = [];

  /** @param queues  of the device: each has a data plane that asks */
  constructor(queues: number) {
    this.#planes = new PlaneLinks(queues, this.#epoll, Token.FIRST_LINK);
    this.#tls = new TlsCarrier(this.#planes);
    const heartbeat = this.#heartbeat;
    const control = this.#control;
    this.#host = new ScriptHost(
      {
        ...processClock,
        epochMs: Date.now,
        enter: (generation, position, aheadUs) => this.#enter(generation, position, aheadUs),
        leave: () => heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, 0, true),
        answer: (requestId, decision) => this.#planes.answer(requestId, decision),
        show: (requestId) => this.#planes.show(requestId),
        conns: this.#tls,
        resolve: (id, name) => control.send({ kind: 'resolve', id, name }),
        log: (line) => control.send({ kind: 'log', ...line }),
        kv: (changes) => {
          for (const entries of kvChunks(changes)) control.send({ kind: 'kv', entries });
        },
        closedTold: () => control.send({ kind: 'closed-told' }),
        metrics: (deltas) => {
          for (const series of metricChunks(deltas)) control.send({ kind: 'metrics', series });
        },
        stats: (scripts) => control.send({ kind: 'stats', scripts }),
        canary: (counts) => control.send({ kind: 'canary', ...counts }),
        generations: (numbers) => control.send({ kind: 'generations', numbers }),
        decided: (flows, left) => control.send({ kind: 'decided', flows, left }),
        noted: (flow, note) => writeNote(this.#notes, flow, note),
      },
      SERVICES,
    );
    this.#tls.events = this.#host.conns;
    this.#planes.onDnsAnswer = ({ client, message }) => {
      const { name, addresses } = readDnsAnswer(message) ?? {};
      if (name === undefined || addresses === undefined) return;
      this.#host.seenNames.learn(client, name, addresses, processClock.now());
    };
  }

  /** Ends when the supervisor does. */
  async run(): Promise<void> {
    this.#watch(STDIN, Token.CONTROL);
    this.#control.send({ kind: 'ready' });
    for (;;) {
      const count = this.#epoll.wait(this.#hasWork ? 0 : this.#timeoutMs());
      if (count < 0) raise(count, 'epoll_wait');
      for (let i = 0; i < count; i++) {
        if (!this.#handle(this.#epoll.token(i), this.#epoll.events(i))) return;
      }
      const startedAt = processClock.now();
      this.#work(startedAt);
      this.#planes.updateWatch();
      if (this.#needsEventLoop) await this.#giveWay(processClock.now() - startedAt);
    }
  }

  get #needsEventLoop(): boolean {
    return this.#loadsLeft > 0 || this.#host.isPreparing || this.#tls.isRestless;
  }

  get #hasWork(): boolean {
    return this.#needsEventLoop || this.#planes.hasWork;
  }

  /** False when the supervisor is gone. */
  #handle(token: number, events: number): boolean {
    if (token === Token.CONTROL) return this.#control.read((message) => this.#receive(message));
    this.#planes.handle(token, events, this.#tls.incoming, processClock.now());
    return true;
  }

  /** A slice of requests, and slices of what is due. */
  #work(startedAt: number): void {
    const host = this.#host;
    const end = startedAt + SLICE_US;
    this.#planes.work(
      {
        onRequest: (requestId, request, at) => host.request(requestId, request, at),
        onCancel: (requestId) => host.cancel(requestId),
        onShown: (requestId, datagram) => host.shown(requestId, datagram),
      },
      () => processClock.now() < end,
    );
    const now = processClock.now();
    if (host.nextDeadline() <= now) host.expire(now);
  }

  /** Lets the event loop work for as long as scripts did, in microseconds; once at least. */
  async #giveWay(workedUs: number): Promise<void> {
    const end = processClock.now() + workedUs;
    do {
      await nextTick();
      this.#tls.turned();
    } while (this.#needsEventLoop && processClock.now() < end);
  }

  #receive(message: ToScriptHost): void {
    switch (message.kind) {
      case 'kv-restore':
        this.#restored = this.#restored.concat(message.entries);
        break;
      case 'load': {
        const kv = message.bundle.kv.concat(this.#restored);
        this.#restored = [];
        this.#planes.epoch = message.epoch;
        this.#loadsLeft++;
        const { canary, drainMs } = message;
        this.#tls.ca = message.bundle.ca ?? '';
        const bundle = { ...message.bundle, kv };
        this.#loads = this.#loads.then(() => this.#load(bundle, { canary, drainMs }));
        break;
      }
      case 'facts':
        this.#host.upstreams = message.upstreams;
        this.#host.listeners = message.listeners;
        this.#host.onError = message.onError;
        break;
      case 'closed':
        this.#host.closed(message.flows);
        break;
      case 'resolved':
        this.#host.resolved(message.id, message.addresses, message.error ?? '');
        break;
      case 'promote': {
        const { generation } = message;
        const isDone = this.#host.promote(generation);
        this.#control.send({ kind: 'promoted', generation, isDone });
        break;
      }
      case 'drop-canary':
        this.#host.dropCanary();
        break;
      case 'watch':
        this.#host.watch(message.isOn);
        break;
      case 'recent':
        this.#control.send({ kind: 'recent', flows: this.#host.recent(message.count) });
        break;
      case 'test':
      case 'ask':
        throw new Error('this host serves flows: another one is to be asked');
    }
  }

  async #load(bundle: ScriptBundle, options: LoadOptions): Promise<void> {
    const { generation } = bundle;
    const issues = await this.#host.load(bundle, options);
    if (issues.length === 0) this.#planes.serve();
    this.#control.send(
      issues.length === 0
        ? { kind: 'loaded', generation, closers: this.#host.closers }
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
}

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
