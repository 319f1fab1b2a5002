/** BENCHMARKS.md: sections that the benches write, each between markers of its own. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const NEW_DOCUMENT = '# Benchmarks\n';

export interface Markers {
  /** In messages. */
  readonly name: string;
  readonly begin: string;
  readonly end: string;
}

/** Writes a section into the file, which is made where it is not there, and says so. */
export function writeSection(file: string, markers: Markers, section: string): void {
  const old = existsSync(file) ? readFileSync(file, 'utf8') : NEW_DOCUMENT;
  writeFileSync(file, replaceSection(old, markers, section));
  console.log(`\nwritten to ${file}`);
}

/**
 * Puts the section between its markers; at the end when the document has none.
 *
 * @throws Error  when only one of the two markers is there
 */
export function replaceSection(document: string, markers: Markers, section: string): string {
  const text = `${markers.begin}\n\n${section}\n\n${markers.end}`;
  const begin = document.indexOf(markers.begin);
  const end = document.indexOf(markers.end);
  if (begin === -1 && end === -1) return `${document.trimEnd()}\n\n${text}\n`.trimStart();
  if (begin === -1 || end < begin) {
    throw new Error(`BENCHMARKS.md: its ${markers.name} markers do not match`);
  }
  return document.slice(0, begin) + text + document.slice(end + markers.end.length);
}
