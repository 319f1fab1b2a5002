/** The module `culvert`: what a script imports. */
export { claim, connect, decline, forward, nat, redirect, reject } from './verdicts.js';
