/** What script hosts have noted about flows, for as long as somebody may ask for it. */
import type { FlowNote } from '../../../scripts-runtime/flow-note.ts';
import { readNotes } from '../../messages/flow-notes.ts';
import type { SharedRing } from '../../messages/shared-ring.ts';
import { NoteStore } from './note-store.ts';
import { parseNote } from './parse-note.ts';

/** Flows that ended, of which events are still told. */
const ENDED_MAX = 8192;
/** A host that runs code of strangers may make notes as long as they get, of flows it invents. */
const LIVE_BYTES_MAX = 24 * 1024 * 1024;
const ENDED_BYTES_MAX = 8 * 1024 * 1024;
/** How often what nobody asks for is read, so that the rings have room. */
const READ_PERIOD_MS = 200;

export class FlowNotes {
  readonly #rings: readonly SharedRing[];
  readonly #notes: NoteStore;
  readonly #ended = new NoteStore(ENDED_MAX, ENDED_BYTES_MAX);
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * @param rings  of the script hosts
   * @param max    flows that live at a time; notes of one whose end nobody reported give way
   */
  constructor(rings: readonly SharedRing[], max: number) {
    this.#rings = rings;
    this.#notes = new NoteStore(max, LIVE_BYTES_MAX);
    this.#timer = setInterval(() => this.read(), READ_PERIOD_MS);
    this.#timer.unref();
  }

  /** Notes so far that found no room. */
  get lost(): number {
    return this.#rings.reduce((sum, { lost }) => sum + lost, 0);
  }

  /** Takes what was written. Before the row of a flow is shown, its notes have been. */
  read(): void {
    for (const ring of this.#rings) {
      readNotes(ring, (flow, text) => {
        const note = parseNote(text);
        if (note !== undefined) this.#keep(flow, note);
      });
    }
  }

  of(flow: number): FlowNote | undefined {
    return this.#notes.get(flow) ?? this.#ended.get(flow);
  }

  /** The flow is over, and was told of. */
  ended(flow: number): void {
    const note = this.#notes.get(flow);
    if (note === undefined) return;
    this.#notes.delete(flow);
    this.#ended.set(flow, note);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #keep(flow: number, { sniff, dnsName, seenName, rule }: FlowNote): void {
    const known = this.of(flow);
    // Who looks a second time, for something else, takes nothing back.
    const isNews = sniff !== undefined && (sniff.proto !== 'unknown' || known?.sniff === undefined);
    const note = {
      ...known,
      ...(isNews ? { sniff } : {}),
      ...(dnsName === undefined ? {} : { dnsName }),
      ...(rule === undefined ? {} : { rule }),
      ...(seenName === undefined ? {} : { seenName }),
    };
    const hasEnded = this.#ended.get(flow) !== undefined;
    (hasEnded ? this.#ended : this.#notes).set(flow, note);
  }
}
