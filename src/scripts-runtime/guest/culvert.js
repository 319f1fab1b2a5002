/** The module `culvert`: what a script imports. */
export { connect } from './socket.js';
export { SocketError } from './socket-error.js';
export { claim, decline, forward, nat, redirect, reject } from './verdicts.js';
