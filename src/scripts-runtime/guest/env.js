/** The second argument of every hook. */
import { settings } from './host.js';
import { KV } from './kv.js';

export const env = Object.freeze({ KV, vars: Object.freeze(settings.vars) });
