import type { GuestExtension } from '../engine/guest-extension.ts';
import virtualDateModule from '../guest/virtual-date.js' with { type: 'text' };
import type { VirtualClock } from './virtual-clock.ts';

/** Has `Date` of scripts follow a clock, as their timers and their KV do. */
export const virtualDate = (clock: VirtualClock): GuestExtension => ({
  modules: new Map([['culvert:virtual-date', virtualDateModule]]),
  functions: (context) => ({ epochMs: () => context.newNumber(clock.epochMs()) }),
});
