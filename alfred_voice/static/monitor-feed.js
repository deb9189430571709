// Reads a stream of server-sent events. With fetch and not EventSource, which tells nobody why it was refused.

const RETRY_MS = [500, 1000, 2000, 4000, 5000];
const DECODER = new TextDecoder();

/**
 * `lost`: it tries again; `refused`: it does not.
 * @typedef {"live" | "lost" | "refused"} LinkState
 * @typedef {{status?: number, detail?: string, code?: string}} LinkDetail
 *
 * @typedef {object} Listener
 * @property {(name: string, told: never) => void} onEvent for each event; what it tells depends on its name
 * @property {(state: LinkState, detail: LinkDetail) => void} [onState]
 * @property {number} [silentMs] without a word for so long, the connection is taken for dead
 */

export class EventStream {
  #path;
  #on;
  #silentMs;
  #abort = new AbortController();
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  #isClosed = false;

  /** @param {string} path @param {Listener} listener */
  constructor(path, { onEvent, onState = () => {}, silentMs = 5000 }) {
    this.#path = path;
    this.#on = { event: onEvent, state: onState };
    this.#silentMs = silentMs;
    this.#connect();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#abort.abort();
  }

  async #connect() {
    const abort = (this.#abort = new AbortController());
    try {
      this.#watch();
      const answer = await fetch(this.#path, { signal: abort.signal, cache: "no-store", headers: { Accept: "text/event-stream" } });
      if (!answer.ok) {
        /** @type {LinkDetail} */
        const problem = await answer.json().catch(() => ({}));
        if (answer.status < 500) return this.#end("refused", { status: answer.status, ...problem });
        throw new Error(problem.detail || `HTTP ${answer.status}`);
      }
      if (!answer.body) throw new Error("the answer has no body");
      await this.#read(answer.body.getReader());
      throw new Error("the stream has ended");
    } catch (error) {
      if (!this.#isClosed) this.#retry(error);
    }
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #read(reader) {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#watch();
      text += DECODER.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) this.#tell(block);
    }
  }

  /** @param {string} block */
  #tell(block) {
    let name = "";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data = line.slice(6);
    }
    if (!name) return;
    this.#attempt = 0;
    this.#on.state("live", {});
    this.#on.event(name, /** @type {never} */ (JSON.parse(data)));
  }

  /** A connection may die without a word. */
  #watch() {
    clearTimeout(this.#watchdog);
    const abort = this.#abort;
    this.#watchdog = setTimeout(() => abort.abort(new Error("nothing has come")), this.#silentMs);
  }

  /** @param {unknown} error */
  #retry(error) {
    clearTimeout(this.#watchdog);
    this.#abort.abort();
    this.#on.state("lost", { detail: error instanceof Error ? error.message : String(error) });
    const pause = RETRY_MS[Math.min(this.#attempt, RETRY_MS.length - 1)];
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  /** @param {LinkState} state @param {LinkDetail} detail */
  #end(state, detail) {
    this.close();
    this.#on.state(state, detail);
  }
}
