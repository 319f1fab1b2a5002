/** A filter that cannot be read; the message names the place and what is wrong there. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  readonly code = 'BAD_FILTER';
  /** Of the first character that is wrong, from 1 on. */
  readonly column: number;

  /** @param at  position in the text, from 0 on */
  constructor(at: number, message: string) {
    super(`filter, column ${at + 1}: ${message}`);
    this.column = at + 1;
  }
}
