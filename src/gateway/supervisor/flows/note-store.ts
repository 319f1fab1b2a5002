/** Notes about flows, a bounded number and a bounded size of them; the oldest give way. */
import type { FlowNote } from '../../../scripts-runtime/flow-note.ts';
import { RenewedMap } from '../../../scripts-runtime/renewed-map.ts';

/** About what a note takes beside its names: objects, headers of strings, a place in a map. */
const NOTE_BYTES = 192;
/** Of a name that is not Latin-1. */
const BYTES_PER_CHARACTER = 2;

export class NoteStore {
  /** In the order in which they were last written. */
  readonly #notes = new RenewedMap<number, FlowNote>();
  readonly #max: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(max: number, bytesMax: number) {
    this.#max = max;
    this.#bytesMax = bytesMax;
  }

  get(flow: number): FlowNote | undefined {
    return this.#notes.get(flow);
  }

  set(flow: number, note: FlowNote): void {
    this.delete(flow);
    this.#notes.set(flow, note);
    this.#bytes += bytesOf(note);
    while (this.#notes.size > this.#max || this.#bytes > this.#bytesMax) this.#forgetOldest();
  }

  delete(flow: number): void {
    const note = this.#notes.get(flow);
    if (note === undefined) return;
    this.#notes.delete(flow);
    this.#bytes -= bytesOf(note);
  }

  #forgetOldest(): void {
    for (const [flow] of this.#notes.entries()) {
      this.delete(flow);
      return;
    }
  }
}

function bytesOf({ sniff, dnsName = '', seenName = '', rule = '' }: FlowNote): number {
  const { sni = '', host = '', alpn = [] } = sniff ?? {};
  const characters = alpn.reduce((sum, { length }) => sum + length, 0);
  const known = dnsName.length + seenName.length + rule.length;
  const names = known + sni.length + host.length + characters;
  return NOTE_BYTES + names * BYTES_PER_CHARACTER;
}
