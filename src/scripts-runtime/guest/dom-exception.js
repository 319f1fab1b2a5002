/** `DOMException`: errors that are told apart by their name. */

/** https://webidl.spec.whatwg.org/#dfn-error-names-table, those that have a code. */
const CODES = {
  __proto__: null,
  NotFoundError: 8,
  NotSupportedError: 9,
  InvalidStateError: 11,
  SyntaxError: 12,
  InvalidAccessError: 15,
  TypeMismatchError: 17,
  AbortError: 20,
  QuotaExceededError: 22,
  TimeoutError: 23,
  DataCloneError: 25,
  InvalidCharacterError: 5,
};

export class DOMException extends Error {
  #name;
  constructor(message = '', options = undefined) {
    const isName = typeof options !== 'object' || options === null;
    super(message, isName ? undefined : options);
    const name = isName ? options : options.name;
    this.#name = name === undefined ? 'Error' : `${name}`;
  }
  get name() {
    return this.#name;
  }
  get code() {
    return CODES[this.#name] ?? 0;
  }
}
