import type { Caller, Peer } from './callers.ts';

/** What a request comes with besides itself. */
export interface ApiEnv {
  readonly Bindings: { readonly peer: Peer };
  readonly Variables: {
    /** Absent on routes that are open to everybody. */
    caller: Caller | undefined;
    /** Whether the rules of now would let the caller in, too. */
    isLetIn: () => boolean;
  };
}
