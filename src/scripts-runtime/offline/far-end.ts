/** The far side of one end of a connection in a FakeNetwork: a client or an upstream. */
import type { PeekedBytes } from '../conns/ports.ts';

interface Peek {
  readonly id: number;
  readonly min: number;
  readonly max: number;
  /** Microseconds. */
  readonly at: number;
}

/** What it says when it is spoken to. */
export interface Manners {
  readonly answers: readonly Uint8Array[];
  readonly isEcho: boolean;
}

const SILENT: Manners = { answers: [], isEcho: false };
const NEVER = Number.POSITIVE_INFINITY;

export class FarEnd {
  /** Bytes that the host is ready to take. */
  credit = 0;
  /** It will hear no more. */
  heardFin = false;
  /** What it says, nobody wants to hear. */
  isDeaf = false;
  /** Sum of what it said and was taken, and of what it heard; in bytes. */
  said = 0;
  heard = 0;
  readonly #manners: Manners;
  /** Each comes for itself, as it would from a network. */
  #unsaid: Uint8Array[];
  /** Has come, and was not taken. */
  #waiting: Uint8Array = new Uint8Array(0);
  readonly #got: Uint8Array[] = [];
  #closes: boolean;
  #hasAnswered = false;
  #finWasTold = false;
  #peek: Peek | undefined;

  /**
   * @param says    in its pieces
   * @param closes  it ends its direction when it has said everything
   */
  constructor(says: readonly Uint8Array[], closes: boolean, manners: Manners = SILENT) {
    this.#unsaid = says.filter(({ length }) => length > 0);
    this.#closes = closes;
    this.#manners = manners;
  }

  get got(): Uint8Array {
    return Buffer.concat(this.#got);
  }

  get peekDeadline(): number {
    return this.#peek?.at ?? NEVER;
  }

  /** Both directions have ended. */
  get isDone(): boolean {
    return this.heardFin && (this.#finWasTold || this.isDeaf);
  }

  /** It says what it has, and then ends its direction. */
  closes(): void {
    this.#closes = true;
  }

  hear(bytes: Uint8Array): void {
    const copy = bytes.slice();
    this.#got.push(copy);
    this.heard += copy.length;
    if (this.#manners.isEcho) this.#unsaid.push(copy);
    if (this.#hasAnswered) return;
    this.#hasAnswered = true;
    this.#unsaid.push(...this.#manners.answers);
  }

  peek(id: number, min: number, max: number, at: number): void {
    this.#peek = { id, min, max, at };
  }

  /**
   * The next piece comes, if the host waits for it: so pieces stay apart, as in a network whose
   * round trips are longer than a script takes.
   *
   * @returns whether one came
   */
  arrive(): boolean {
    const [first, ...rest] = this.#unsaid;
    const isAwaited = this.#peek !== undefined || (this.credit > 0 && this.#waiting.length === 0);
    if (first === undefined || !isAwaited) return false;
    this.#unsaid = rest;
    this.#waiting = Buffer.concat([this.#waiting, first]);
    return true;
  }

  /** What the host asked to see, when it is there or its time is over. */
  takePeeked(now: number): (PeekedBytes & { readonly id: number }) | undefined {
    const peek = this.#peek;
    if (peek === undefined) return undefined;
    const { length } = this.#waiting;
    const isOver = this.#closes && this.#unsaid.length === 0;
    if (length < peek.min && !isOver && peek.at > now) return undefined;
    this.#peek = undefined;
    const isFin = isOver && length <= peek.max;
    const isTimedOut = length < peek.min && !isOver;
    return { id: peek.id, bytes: this.#waiting.subarray(0, peek.max), isFin, isTimedOut };
  }

  /** What has come, as far as there is credit. */
  take(): Uint8Array | undefined {
    if (this.#waiting.length === 0 || this.credit === 0) return undefined;
    const bytes = this.#waiting.subarray(0, this.credit);
    this.#waiting = this.#waiting.subarray(bytes.length);
    this.credit -= bytes.length;
    this.said += bytes.length;
    return bytes;
  }

  /** It has said everything, and the host is to hear so now. */
  takeFin(): boolean {
    if (!this.#hasSaidAll || this.#finWasTold) return false;
    // Who has no credit does not listen: the end stands behind the bytes.
    if (this.credit === 0 && !this.isDeaf) return false;
    this.#finWasTold = true;
    return true;
  }

  /** Everything, to another far end. Returns whether there was something. */
  sayAllTo(other: FarEnd): boolean {
    const pieces = [this.#waiting, ...this.#unsaid].filter(({ length }) => length > 0);
    this.#waiting = new Uint8Array(0);
    this.#unsaid = [];
    for (const bytes of pieces) {
      this.said += bytes.length;
      other.hear(bytes);
    }
    const isFin = this.#hasSaidAll && !this.#finWasTold;
    if (isFin) {
      this.#finWasTold = true;
      other.heardFin = true;
    }
    return pieces.length > 0 || isFin;
  }

  get #hasSaidAll(): boolean {
    return this.#closes && this.#unsaid.length === 0 && this.#waiting.length === 0;
  }
}
