/** Questions to a child that answers by number; each is answered once, by it or by the clock. */
export class PendingAnswers<T> {
  readonly #waiting = new Map<number, (answer: T) => void>();
  #nextId = 1;

  /** @param silence  stands for an answer that has not come after `timeoutMs` */
  async ask(send: (id: number) => void, timeoutMs: number, silence: T): Promise<T> {
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting.set(id, resolve);
    const timer = setTimeout(() => resolve(silence), timeoutMs);
    send(id);
    const answer = await promise;
    clearTimeout(timer);
    this.#waiting.delete(id);
    return answer;
  }

  /** One that nobody waits for any more is ignored. */
  answered(id: number, answer: T): void {
    this.#waiting.get(id)?.(answer);
  }
}
