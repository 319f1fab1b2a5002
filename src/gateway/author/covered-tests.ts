/**
 * Tests whose scripts count what runs. A command loads this module only when that is asked for:
 * the parser behind it is larger than all the rest of the gateway.
 */
import type { ScriptBundle } from '../../scripts-runtime/bundle/bundle.ts';
import type { TestReport } from '../../scripts-runtime/offline/report.ts';
import { Coverage } from './coverage.ts';
import { instrumentScripts } from './instrument.ts';
import { type TestAsideOptions, testAside } from './work-aside.ts';

export class CoveredTests {
  /** Of all runs together. */
  readonly coverage = new Coverage();
  /** Files that were not counted, and why. */
  readonly uncounted = new Set<string>();

  /** As `testAside`; what the scripts counted goes to `coverage`. @throws WorkLostError */
  async run(bundle: ScriptBundle, options: TestAsideOptions): Promise<TestReport> {
    const { scripts, files, unread } = instrumentScripts(bundle.scripts);
    for (const why of unread) this.uncounted.add(why);
    const aside = { ...options, isCovered: true };
    const { coverage = {}, ...report } = await testAside({ ...bundle, scripts }, aside);
    this.coverage.add(files, coverage);
    return report;
  }
}
