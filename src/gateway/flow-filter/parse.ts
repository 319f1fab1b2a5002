/**
 * The filter language of flows, as `culvert flows` and the API take it:
 *
 *   filter  = [ either ]
 *   either  = all { "or" all }
 *   all     = one { [ "and" | "," ] one }
 *   one     = "not" one | "(" either ")" | field compare value | field [ "not" ] "in" values
 *   compare = "=" | "!=" | "<" | "<=" | ">" | ">="
 *   values  = value | "(" value { "," value } ")"
 *
 * `src in 10.0.0.0/8 and (dport = 443 or bytes > 1MiB) and not state = time-wait`. What it says is
 * looked up in the bytes of a row (fields.ts): half a million rows are filtered in milliseconds.
 */

import { type Compare, FIELDS, type Filter, type RowTest } from './fields.ts';
import { FilterError } from './filter-error.ts';
import type { FlowContext } from './flow-context.ts';
import { type Token, tokenize } from './tokens.ts';

/** Brackets and `not` inside each other; the parser calls itself for each. */
const DEPTH_MAX = 100;

const COMPARES: readonly string[] = ['=', '!=', '<', '<=', '>', '>='];

/** Of the empty filter. */
export const everyFlow: Filter = () => () => true;

const noFlow: Filter = () => () => false;

/** @throws FilterError */
export const parseFilter = (text: string): Filter => new Parser(tokenize(text)).filter();

/** Fields whose value is not in the row alone. */
const NOT_IN_ROW = new Set([
  ...['script', 'rule', 'via', 'age', 'idle', 'expires'],
  ...['sniff', 'sni', 'host', 'dns_name', 'seen_name'],
]);

/**
 * A filter for those who know neither names nor the time: it lets pass what the whole filter may.
 *
 * @throws FilterError
 */
export const parseRowFilter = (text: string): Filter =>
  new Parser(tokenize(text), NOT_IN_ROW).filter();

class Parser {
  readonly #tokens: readonly Token[];
  /** Fields that may have any value. */
  readonly #open: ReadonlySet<string>;
  #next = 0;
  #depth = 0;
  /** What is read is negated once more than twice, four times … */
  #isNegated = false;

  constructor(tokens: readonly Token[], open: ReadonlySet<string> = new Set()) {
    this.#tokens = tokens;
    this.#open = open;
  }

  filter(): Filter {
    if (this.#isAtEnd) return everyFlow;
    const filter = this.#either();
    if (!this.#isAtEnd) throw this.#unexpected('"and", "or" or the end');
    return filter;
  }

  #either(): Filter {
    let filter = this.#all();
    while (this.#takeWord('or')) filter = anyOf(filter, this.#all());
    return filter;
  }

  #all(): Filter {
    let filter = this.#one();
    for (;;) {
      if (this.#takeWord('and') || this.#takeSign(',')) filter = both(filter, this.#one());
      else if (this.#startsOne()) filter = both(filter, this.#one());
      else return filter;
    }
  }

  #one(): Filter {
    if (++this.#depth > DEPTH_MAX) throw new FilterError(this.#token.at, 'too many brackets');
    const filter = this.#negation() ?? this.#group() ?? this.#term();
    this.#depth--;
    return filter;
  }

  #negation(): Filter | undefined {
    if (!this.#takeWord('not')) return undefined;
    this.#isNegated = !this.#isNegated;
    const filter = this.#one();
    this.#isNegated = !this.#isNegated;
    return negated(filter);
  }

  #group(): Filter | undefined {
    if (!this.#takeSign('(')) return undefined;
    const filter = this.#either();
    if (!this.#takeSign(')')) throw this.#unexpected('")"');
    return filter;
  }

  /** A comparison; one that nobody can tell is what lets the filter pass. */
  #term(): Filter {
    const { text } = this.#token;
    const filter = this.#comparison();
    if (!this.#open.has(text)) return filter;
    return this.#isNegated ? noFlow : everyFlow;
  }

  #comparison(): Filter {
    const name = this.#token;
    if (name.kind !== 'word' || isKeyword(name)) throw this.#unexpected('a field');
    const field = Object.hasOwn(FIELDS, name.text) ? FIELDS[name.text] : undefined;
    if (field === undefined) {
      const names = Object.keys(FIELDS).join(', ');
      throw new FilterError(name.at, `"${name.text}" is no field: ${names}`);
    }
    this.#next++;
    const isNegated = this.#takeWord('not');
    if (this.#takeWord('in')) {
      const filter = this.#values()
        .map((value) => field('in', value))
        .reduce(anyOf);
      return isNegated ? negated(filter) : filter;
    }
    const compare = this.#token;
    if (isNegated || compare.kind !== 'sign' || !COMPARES.includes(compare.text)) {
      throw this.#unexpected(isNegated ? '"in"' : `${COMPARES.join(' ')} or "in"`);
    }
    this.#next++;
    const value = this.#value();
    if (compare.text === '!=') return negated(field('=', value));
    return field(compare.text as Compare, value, compare);
  }

  #values(): readonly Token[] {
    if (!this.#takeSign('(')) return [this.#value()];
    const values = [this.#value()];
    while (this.#takeSign(',')) values.push(this.#value());
    if (!this.#takeSign(')')) throw this.#unexpected('"," or ")"');
    return values;
  }

  #value(): Token {
    const token = this.#token;
    if (token.kind !== 'word' && token.kind !== 'quoted') throw this.#unexpected('a value');
    this.#next++;
    return token;
  }

  get #token(): Token {
    // The last token is the end, and nothing goes on behind it.
    return this.#tokens[this.#next]!;
  }

  get #isAtEnd(): boolean {
    return this.#token.kind === 'end';
  }

  #startsOne(): boolean {
    const token = this.#token;
    return token.kind === 'word' ? !isWord(token, 'or') : token.text === '(';
  }

  #takeWord(word: string): boolean {
    const isTaken = isWord(this.#token, word);
    if (isTaken) this.#next++;
    return isTaken;
  }

  #takeSign(sign: string): boolean {
    const { kind, text } = this.#token;
    const isTaken = kind === 'sign' && text === sign;
    if (isTaken) this.#next++;
    return isTaken;
  }

  #unexpected(wanted: string): FilterError {
    const { kind, text, at } = this.#token;
    const found = kind === 'end' ? 'the end' : `"${text}"`;
    return new FilterError(at, `${found} instead of ${wanted}`);
  }
}

const isWord = ({ kind, text }: Token, word: string): boolean =>
  kind === 'word' && text.toLowerCase() === word;

const isKeyword = (token: Token): boolean =>
  ['and', 'or', 'not', 'in'].some((word) => isWord(token, word));

const combine =
  (join: (a: RowTest, b: RowTest) => RowTest) =>
  (a: Filter, b: Filter): Filter =>
  (context: FlowContext) =>
    join(a(context), b(context));

const both = combine((a, b) => (view, at) => a(view, at) && b(view, at));
const anyOf = combine((a, b) => (view, at) => a(view, at) || b(view, at));

const negated =
  (filter: Filter): Filter =>
  (context) => {
    const test = filter(context);
    return (view, at) => !test(view, at);
  };
