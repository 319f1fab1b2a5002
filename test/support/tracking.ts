import type { TrackSettings } from '../../src/stack/conntrack/context.ts';
import { DEFAULT_TIMEOUTS } from '../../src/stack/conntrack/timeouts.ts';

/** What a gateway starts with; a copy for each stack, which may change it. */
export const trackSettings = (changes: Partial<TrackSettings> = {}): TrackSettings => ({
  timeouts: { ...DEFAULT_TIMEOUTS },
  tcpLiberal: false,
  tcpLoose: true,
  perSource: 1_000_000,
  firstPort: 1024,
  lastPort: 65_535,
  portsPerSource: 1_000_000,
  clampMss: 'auto',
  ...changes,
});
