/**
 * Notes about flows, from the script host to the supervisor: records of a ring that lies behind the
 * heartbeat page. They are there before the answer that they belong to, so that who hears of the
 * end of a flow finds its notes.
 */
import type { FlowNote } from '../../scripts-runtime/flow-note.ts';
import { HEARTBEAT_BYTES } from './script-control.ts';
import { NO_RECORD, RingField, ringBytes, SharedRing } from './shared-ring.ts';

/** Some thousand notes; they are read several times a second. */
const RING_BYTES = 1024 * 1024;
/** What a script host and the supervisor share: the heartbeat page, and the ring. */
export const HOST_MEMORY_BYTES = HEARTBEAT_BYTES + ringBytes(RING_BYTES);

export const noteRing = (memory: ArrayBuffer): SharedRing =>
  new SharedRing(memory, HEARTBEAT_BYTES, RING_BYTES);

const NoteField = {
  /** float64: serial number of the flow. */
  FLOW: 8,
  /** uint32: bytes of the text behind it, the note as JSON. */
  TEXT_LENGTH: 16,
  TEXT: 20,
} as const;
/** Names and protocols of a note are bounded, and with them their text; UTF-8, escaped. */
const TEXT_MAX = 16 * 1024;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** @returns false when there is no room */
export function writeNote(ring: SharedRing, flow: number, note: FlowNote): boolean {
  const text = utf8.encode(JSON.stringify(note));
  const at = ring.begin(NoteField.TEXT + text.length);
  if (at === NO_RECORD) return false;
  ring.view.setUint8(at + RingField.IS_WANTED, 1);
  ring.view.setFloat64(at + NoteField.FLOW, flow, true);
  ring.view.setUint32(at + NoteField.TEXT_LENGTH, text.length, true);
  ring.bytes.set(text, at + NoteField.TEXT);
  ring.publish();
  return true;
}

/**
 * Takes what was written.
 *
 * @param onNote  gets the serial number of the flow, and JSON, or what a stranger takes for it
 */
export function readNotes(ring: SharedRing, onNote: (flow: number, text: string) => void): void {
  ring.read((at, length) => {
    if (length < NoteField.TEXT) return;
    const flow = ring.view.getFloat64(at + NoteField.FLOW, true);
    const textLength = ring.view.getUint32(at + NoteField.TEXT_LENGTH, true);
    if (textLength > Math.min(length - NoteField.TEXT, TEXT_MAX)) return;
    const textAt = at + NoteField.TEXT;
    const text = fromUtf8.decode(ring.bytes.slice(textAt, textAt + textLength));
    if (Number.isSafeInteger(flow) && flow > 0) onNote(flow, text);
  });
}
