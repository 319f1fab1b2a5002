/** Turns what QuickJS says about an error into an error of the script's source. */

import { cutText } from '../cut-text.ts';
import type { Breakage, EngineLimits, Thrown } from '../engine/engine.ts';
import { ScriptError, type SourcePosition } from '../errors.ts';
import type { ScriptIssue, ScriptSource } from './bundle.ts';
import { placeAt, type Transpiled } from './transpile.ts';

/** An error of a sandbox, read. */
export interface Description {
  readonly message: string;
  readonly position: SourcePosition | undefined;
  /** Of a `SocketError`: its code, and with whom it was. */
  readonly socket?: { readonly code: string; readonly peer?: string };
}

/** As guest/show.js writes one. */
const SOCKET_ERROR = /^SocketError\((?<code>\w+)(?: (?<peer>\S+))?\): (?<rest>.*)$/s;

/** A frame of ours, a line of a stack. Bounded, as the text may be of a peer. */
const OWN_FRAME = /^ {4}at [^(\n]{0,200}\(culvert[/:][^)\n]{0,200}\)(?:\n|$)/gm;

export class Diagnostics {
  readonly #source: ScriptSource;
  readonly #code: Transpiled;
  readonly #frame: RegExp;

  constructor(source: ScriptSource, code: Transpiled) {
    this.#source = source;
    this.#code = code;
    this.#frame = new RegExp(`(?<= at |\\()${RegExp.escape(source.file)}:(\\d+):(\\d+)`, 'g');
  }

  /** What a script writes, with the stacks in it led to its source; frames of ours left out. */
  withPlaces(text: string): string {
    if (!text.includes('    at ')) return text;
    return text.replace(OWN_FRAME, '').replace(this.#frame, (frame, line, column) => {
      const place = this.#code.map.original({ line: Number(line), column: Number(column) });
      return place === undefined ? frame : `${place.file}:${place.line}:${place.column}`;
    });
  }

  /** @param description  from the guest: the error on its first lines, its stack below */
  errorOf(description: string): ScriptError {
    const { message, position } = this.read(description);
    return new ScriptError('error', message, position);
  }

  /** As `errorOf`, what it says and where apart. */
  read(description: string): Description {
    const lines = description.split('\n');
    const frames = lines.findIndex((line) => line.startsWith('    at '));
    const text = (frames < 0 ? lines : lines.slice(0, frames)).join('\n').trimEnd();
    const position = this.#positionIn(lines.slice(frames));
    const { code, peer, rest } = SOCKET_ERROR.exec(text)?.groups ?? {};
    if (code === undefined || rest === undefined) return { message: text, position };
    const socket = peer === undefined ? { code } : { code, peer };
    return { message: `SocketError: ${rest}`, position, socket };
  }

  /** What the top level of the script threw. */
  issueOf(thrown: Thrown): ScriptIssue {
    const kind = thrown.name === 'SyntaxError' ? 'syntax' : 'load';
    const position =
      this.#positionIn(thrown.stack.split('\n')) ?? this.#positionOfImport(thrown.message);
    return this.issue(kind, `${thrown.name}: ${thrown.message}`, position);
  }

  issue(kind: string, message: string, position?: SourcePosition): ScriptIssue {
    const { name, file } = this.#source;
    const place = position ?? { file, line: 0, column: 0 };
    return { script: name, ...place, kind, message: cutText(message) };
  }

  /** The innermost frame of a stack that lies in this script, as a place in its source. */
  #positionIn(stack: readonly string[]): SourcePosition | undefined {
    const { file } = this.#source;
    const marker = `${file}:`;
    for (const frame of stack) {
      const at = frame.lastIndexOf(marker);
      const match = at < 0 ? null : /^(\d+):(\d+)\)?$/.exec(frame.slice(at + marker.length));
      if (match === null) continue;
      const place = this.#code.map.original({ line: Number(match[1]), column: Number(match[2]) });
      if (place !== undefined) return place;
    }
    return undefined;
  }

  /** QuickJS gives no position for a name that the built-in module does not have. */
  #positionOfImport(message: string): SourcePosition | undefined {
    const name = /^Could not find export '([^']+)'/.exec(message)?.[1];
    if (name === undefined) return undefined;
    const pattern = new RegExp(`\\b${RegExp.escape(name)}\\b`);
    const source = this.#code.sources.find(({ text }) => pattern.test(text));
    return source && placeAt(source, source.text.search(pattern));
  }
}

/** @param budgetMs  that the turn had */
export function breakageText(
  breakage: Breakage,
  budgetMs: number,
  { memoryBytes }: EngineLimits,
): string {
  switch (breakage) {
    case 'cpu':
      return `more than ${budgetMs} ms of processor time`;
    case 'memory':
      return `more than ${memoryBytes} bytes of memory (memoryBytes)`;
    case 'crash':
      return 'the sandbox crashed';
  }
}
