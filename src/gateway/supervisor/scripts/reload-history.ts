/** How changes of config and scripts went, for metrics. */
export class ReloadHistory {
  ok = 0;
  failed = 0;
  lastOk = true;
  /** Milliseconds since 1970; 0 before the first. */
  lastOkAt = 0;

  /** Counts the outcome of a change and passes it on. */
  async watch<T>(change: Promise<T>): Promise<T> {
    try {
      const result = await change;
      this.ok++;
      this.lastOk = true;
      this.lastOkAt = Date.now();
      return result;
    } catch (error) {
      this.failed++;
      this.lastOk = false;
      throw error;
    }
  }
}
