/** The five fields of crontab(5), in UTC: minute, hour, day of month, month, day of week. */

interface Field {
  readonly name: string;
  readonly least: number;
  readonly most: number;
}

const FIELDS: readonly Field[] = [
  { name: 'minute', least: 0, most: 59 },
  { name: 'hour', least: 0, most: 23 },
  { name: 'day of month', least: 1, most: 31 },
  { name: 'month', least: 1, most: 12 },
  // 7 is Sunday too.
  { name: 'day of week', least: 0, most: 7 },
];

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** From one 29 February over the end of a century to the next one, and a day. */
const DAYS_AHEAD = 8 * 366 + 1;

/** Times that a text stands for. */
export class Cron {
  readonly #minutes: ReadonlySet<number>;
  readonly #hours: ReadonlySet<number>;
  readonly #days: ReadonlySet<number>;
  readonly #months: ReadonlySet<number>;
  readonly #weekdays: ReadonlySet<number>;
  /** Both days are restricted, and then one of them is enough. */
  readonly #isEither: boolean;

  /** @throws Error when `cronFault` finds something */
  constructor(text: string) {
    const fields = parse(text);
    if (typeof fields === 'string') throw new Error(fields);
    const field = (i: number): ReadonlySet<number> => fields[i] ?? new Set();
    this.#minutes = field(0);
    this.#hours = field(1);
    this.#days = field(2);
    this.#months = field(3);
    this.#weekdays = field(4).has(7) ? new Set([...field(4), 0]) : field(4);
    const words = text.trim().split(/\s+/);
    this.#isEither = !words[2]?.startsWith('*') && !words[4]?.startsWith('*');
  }

  /** The first time after `afterMs`; Infinity when there is none. Milliseconds since 1970. */
  next(afterMs: number): number {
    const first = Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
    let day = Math.floor(first / DAY_MS) * DAY_MS;
    for (let i = 0; i < DAYS_AHEAD; i++, day += DAY_MS) {
      if (!this.#hasDay(new Date(day))) continue;
      for (let at = Math.max(day, first); at < day + DAY_MS; ) {
        const hour = Math.floor((at - day) / HOUR_MS);
        if (!this.#hours.has(hour)) at = day + (hour + 1) * HOUR_MS;
        else if (this.#minutes.has(Math.floor((at - day) / MINUTE_MS) % 60)) return at;
        else at += MINUTE_MS;
      }
    }
    return Number.POSITIVE_INFINITY;
  }

  #hasDay(date: Date): boolean {
    if (!this.#months.has(date.getUTCMonth() + 1)) return false;
    const isDay = this.#days.has(date.getUTCDate());
    const isWeekday = this.#weekdays.has(date.getUTCDay());
    return this.#isEither ? isDay || isWeekday : isDay && isWeekday;
  }
}

/** What is wrong with a text, in words; undefined when it stands for some time. */
export function cronFault(text: string): string | undefined {
  const fields = parse(text);
  if (typeof fields === 'string') return fields;
  return new Cron(text).next(0) === Number.POSITIVE_INFINITY ? `"${text}" never comes` : undefined;
}

function parse(text: string): ReadonlySet<number>[] | string {
  const words = text.trim().split(/\s+/);
  if (words.length !== FIELDS.length) {
    return `"${text}" has not the five fields minute, hour, day of month, month, day of week`;
  }
  const sets: ReadonlySet<number>[] = [];
  for (const [i, field] of FIELDS.entries()) {
    const values = parseField(words[i] ?? '', field);
    if (values === undefined) return `"${words[i]}" is no ${field.name}`;
    sets.push(values);
  }
  return sets;
}

/** `*`, `5`, `1-5`, each with `/2`, and lists of them. */
function parseField(word: string, { least, most }: Field): Set<number> | undefined {
  const values = new Set<number>();
  for (const part of word.split(',')) {
    const match = /^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part);
    if (match === null) return undefined;
    const [, star, low, high, by] = match;
    const from = star === undefined ? Number(low) : least;
    // `5/15` goes on to the end, as a `*` would.
    const open = star !== undefined || (high === undefined && by !== undefined) ? most : from;
    const to = high === undefined ? open : Number(high);
    const step = by === undefined ? 1 : Number(by);
    if (from < least || to > most || from > to || step === 0) return undefined;
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}
