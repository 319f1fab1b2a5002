import { monotonicNow } from '../../ffi/clock.ts';
import type { EngineClock } from '../../scripts-runtime/engine/engine.ts';

/** The time of this process, for the budgets of scripts. */
export const processClock: EngineClock = {
  now: monotonicNow,
  cpuTime: () => {
    const { user, system } = process.threadCpuUsage();
    return user + system;
  },
};
