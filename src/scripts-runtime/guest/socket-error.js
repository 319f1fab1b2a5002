/** What a connection fails with. */

/** By `code`, for those who read the log. */
const MEANINGS = {
  refused: 'connection refused',
  unreachable: 'no way to the address',
  timeout: 'no answer in time',
  dns: 'the name does not resolve',
  tls: 'TLS failed',
  loop: 'the address leads back into the gateway',
  denied: 'the address is not allowed to this script',
  limit: 'a limit is reached',
  aborted: 'the connection is gone',
};

export class SocketError extends TypeError {
  peer = undefined;
  constructor(code, detail) {
    super(detail === undefined || detail === '' ? (MEANINGS[code] ?? code) : detail);
    this.code = code;
    this.name = 'SocketError';
  }
}
