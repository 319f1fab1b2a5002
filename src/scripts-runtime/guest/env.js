/** The second argument of every hook. */
import { settings } from './host.js';
import { KV } from './kv.js';
import { sets } from './sets.js';

export const env = Object.freeze({ KV, sets, vars: Object.freeze(settings.vars) });
