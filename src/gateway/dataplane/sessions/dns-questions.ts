/**
 * Tells when a client's questions to a DNS server have all been answered, so that a question does
 * not hold a socket until a timeout. It counts questions and answers and adds up their identifiers
 * (RFC 1035 §4.1.1): only when both come out even is nothing left to wait for. Whatever is not a
 * simple exchange, such as an answer that came twice, leaves the session to its timeout.
 */
const HEADER_BYTES = 12;
const ID_AT = 0;
const FLAGS_AT = 2;
const IS_ANSWER = 0x80;

/** A session whose datagrams are not DNS, or not DNS that can be followed. */
const UNKNOWN = -1;

export class DnsQuestions {
  /** Questions without an answer; UNKNOWN for sessions that are not looked at. */
  readonly #open: Int32Array;
  readonly #identifiers: Uint16Array;

  constructor(rows: number) {
    this.#open = new Int32Array(rows).fill(UNKNOWN);
    this.#identifiers = new Uint16Array(rows);
  }

  /** @param isDns  the upstream is port 53 */
  begin(row: number, isDns: boolean): void {
    this.#open[row] = isDns ? 0 : UNKNOWN;
    this.#identifiers[row] = 0;
  }

  isWatched(row: number): boolean {
    return this.#open[row] !== UNKNOWN;
  }

  /** The client sends what lies at `at`. */
  onQuestion(row: number, view: DataView, at: number, length: number): void {
    const open = this.#open[row]!;
    if (open === UNKNOWN) return;
    if (!isMessage(view, at, length, 0)) {
      this.#open[row] = UNKNOWN;
      return;
    }
    this.#open[row] = open + 1;
    this.#identifiers[row]! += view.getUint16(at + ID_AT);
  }

  /** The upstream has sent what lies at `at`. @returns whether nothing is left to wait for */
  onAnswer(row: number, view: DataView, at: number, length: number): boolean {
    const open = this.#open[row]!;
    if (open === UNKNOWN) return false;
    if (open === 0 || !isMessage(view, at, length, IS_ANSWER)) {
      this.#open[row] = UNKNOWN;
      return false;
    }
    this.#open[row] = open - 1;
    this.#identifiers[row]! -= view.getUint16(at + ID_AT);
    return open === 1 && this.#identifiers[row] === 0;
  }
}

const isMessage = (view: DataView, at: number, length: number, kind: number): boolean =>
  length >= HEADER_BYTES && (view.getUint8(at + FLAGS_AT) & IS_ANSWER) === kind;
