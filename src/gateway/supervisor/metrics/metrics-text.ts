/** The Prometheus text format, version 0.0.4. */
import type { CounterReader } from '../../../stack/counters.ts';
import type { Histogram as Cells } from '../../../stack/histograms.ts';
import { type Histogram, histogramOf } from './histogram.ts';

export type Labels = Readonly<Record<string, string | number>>;
export type Sample = readonly [value: number, labels?: Labels];

/** Collects families of metrics into one text. */
export class MetricsText {
  #text = '';

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.#family(name, help, 'counter', samples);
  }

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.#family(name, help, 'gauge', samples);
  }

  /** A histogram of the data plane. @param scale  how many of its units make one of the metric */
  cells(name: string, help: string, counters: CounterReader, cells: Cells, scale: number): void {
    this.histograms(name, help, [[{}, histogramOf(counters, cells, scale)]]);
  }

  histograms(name: string, help: string, series: readonly (readonly [Labels, Histogram])[]): void {
    this.#head(name, help, 'histogram');
    for (const [labels, { bounds, counts, sum }] of series) {
      let total = 0;
      counts.forEach((count, bucket) => {
        total += count;
        this.#sample(`${name}_bucket`, [total, { ...labels, le: bounds[bucket] ?? '+Inf' }]);
      });
      this.#sample(`${name}_sum`, [sum, labels]);
      this.#sample(`${name}_count`, [total, labels]);
    }
  }

  toString(): string {
    return this.#text;
  }

  #family(name: string, help: string, type: string, samples: readonly Sample[]): void {
    this.#head(name, help, type);
    for (const sample of samples) this.#sample(name, sample);
  }

  #head(name: string, help: string, type: string): void {
    this.#text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  #sample(name: string, [value, labels = {}]: Sample): void {
    const pairs = Object.entries(labels).map(
      ([key, text]) => `${key}="${escapeLabel(String(text))}"`,
    );
    const set = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
    this.#text += `${name}${set} ${value}\n`;
  }
}

const escapeLabel = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
