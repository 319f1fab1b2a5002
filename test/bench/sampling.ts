/** A run of samples in a topology that is taken down whatever happens. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Topology } from './topology.ts';

/**
 * Tells each sample as it comes, and keeps it in `file` as a line of JSON.
 *
 * @param samplesOf  takes the samples; the folder is for logs, and stays when one has failed
 */
export async function takeSamples<S extends { readonly error?: string }>(
  file: string,
  describe: (sample: S) => string,
  samplesOf: (topology: Topology, folder: string) => AsyncIterable<S>,
): Promise<S[]> {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
  const topology = new Topology();
  const samples: S[] = [];
  const giveUp = async (signal: NodeJS.Signals): Promise<void> => {
    await topology.down();
    rmSync(folder, { recursive: true });
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', giveUp).once('SIGTERM', giveUp);
  writeFileSync(file, '');
  try {
    await topology.up();
    for await (const sample of samplesOf(topology, folder)) {
      samples.push(sample);
      appendFileSync(file, `${JSON.stringify(sample)}\n`);
      console.log(describe(sample));
    }
  } finally {
    await topology.down();
    process.off('SIGINT', giveUp).off('SIGTERM', giveUp);
    if (samples.every((s) => s.error === undefined)) rmSync(folder, { recursive: true });
    else console.error(`the logs are in ${folder}`);
  }
  return samples;
}
