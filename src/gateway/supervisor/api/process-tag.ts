/** The version of the gateway itself: which process it is, and whether it drains. */
import type { ControlPlane } from './control-plane.ts';

/** A pid would not do: in a container each process has the same. */
const SESSION = Date.now().toString(36);

/** Whoever stops what was read stops no other that a service manager has started since. */
export const processTag = (plane: Pick<ControlPlane, 'status'>): string =>
  `"${SESSION}-${plane.status().state}"`;
