/** The plain functions of a sandbox: log, promises of decisions, timers, limits and sets. */
import type { QuickJSContext } from 'quickjs-emscripten-core';
import type { LogLevel } from '../bundle/bundle.ts';
import type { Reply } from '../engine/guest-page.ts';
import type { Sets } from '../sets/sets.ts';
import { type HostFunctions, readNumber, readText } from './arguments.ts';

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** What the guest asks for while a turn runs. None of it may enter the engine again. */
export interface GuestCallPorts {
  log(level: LogLevel, flow: number, message: string, fields: string | undefined): void;
  settle(call: number, reply: Reply, text: string): void;
  /** False when the script has as many timers as it may have. */
  startTimer(id: number, delayMs: number): boolean;
  stopTimer(id: number): void;
  /** The script hit a limit that fails nothing but the operation. */
  hit(limit: string): void;
}

export function callFunctions(
  context: QuickJSContext,
  ports: GuestCallPorts,
  sets: Sets,
): HostFunctions {
  const text = (handle: Parameters<typeof readText>[1]) => readText(context, handle);
  const number = (handle: Parameters<typeof readNumber>[1]) => readNumber(context, handle);
  const boolean = (value: boolean) => (value ? context.true : context.false);
  return {
    log: (level, flow, message, fields) => {
      const known = LOG_LEVELS[number(level)] ?? 'info';
      ports.log(known, number(flow), text(message) ?? '', text(fields));
      return undefined;
    },
    settle: (call, reply, body) => {
      ports.settle(number(call), number(reply) as Reply, text(body) ?? '');
      return undefined;
    },
    startTimer: (id, delayMs) => boolean(ports.startTimer(number(id), number(delayMs))),
    stopTimer: (id) => {
      ports.stopTimer(number(id));
      return undefined;
    },
    hit: (limit) => {
      ports.hit(text(limit) ?? '');
      return undefined;
    },
    hasInSet: (set, value) => boolean(sets.has(number(set), text(value) ?? '')),
  };
}
