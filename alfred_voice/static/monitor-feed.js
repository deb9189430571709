// Reads a stream of server-sent events. With fetch and not EventSource, which tells nobody why it was refused.

const RETRY_MS = [500, 1000, 2000, 4000, 5000];
const DECODER = new TextDecoder();

// onEvent(name, data) for each event; onState(state, detail): "live", "lost" (it tries again), "refused", "over".
export class EventStream {
  #path;
  #on;
  #silentMs;
  #abort = null;
  #attempt = 0;
  #timer = 0;
  #watchdog = 0;
  #isClosed = false;

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
    this.#abort?.abort();
  }

  async #connect() {
    const abort = (this.#abort = new AbortController());
    try {
      this.#watch();
      const answer = await fetch(this.#path, { signal: abort.signal, cache: "no-store", headers: { Accept: "text/event-stream" } });
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        if (answer.status < 500) return this.#end("refused", { status: answer.status, ...problem });
        throw new Error(problem.detail || `HTTP ${answer.status}`);
      }
      await this.#read(answer.body.getReader());
      throw new Error("the stream has ended");
    } catch (error) {
      if (!this.#isClosed) this.#retry(error);
    }
  }

  async #read(reader) {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#watch();
      text += DECODER.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) this.#tell(block);
    }
  }

  #tell(block) {
    let name = "";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data = line.slice(6);
    }
    if (!name) return;
    this.#attempt = 0;
    this.#on.state("live");
    this.#on.event(name, JSON.parse(data));
  }

  // A connection may die without a word.
  #watch() {
    clearTimeout(this.#watchdog);
    const abort = this.#abort;
    this.#watchdog = setTimeout(() => abort.abort(new Error("nothing has come")), this.#silentMs);
  }

  #retry(error) {
    clearTimeout(this.#watchdog);
    this.#abort.abort();
    this.#on.state("lost", { detail: error.message });
    const pause = RETRY_MS[Math.min(this.#attempt, RETRY_MS.length - 1)];
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #end(state, detail) {
    this.close();
    this.#on.state(state, detail);
  }
}
