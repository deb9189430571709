/**
 * Audio on its way to the daemon: bytes stay until the daemon has acknowledged them, so that a session that was cut off
 * can go on without a gap. Offsets count the session's bytes from its first one.
 */
export class Tape {
  /** @type {Uint8Array[]} */
  #pieces = [];
  #begin = 0;
  #end = 0;
  #sent = 0;
  #mostBytes;

  /** @param {number} mostBytes how much may wait */
  constructor(mostBytes) {
    this.#mostBytes = mostBytes;
  }

  /** How many bytes have been handed out. */
  get sent() {
    return this.#sent;
  }

  /** The first byte that is kept. */
  get begin() {
    return this.#begin;
  }

  /** The byte behind the last one. */
  get end() {
    return this.#end;
  }

  /** How many bytes wait to be handed out. */
  get waiting() {
    return this.#end - this.#sent;
  }

  /**
   * Keep a piece.
   * @param {Uint8Array} bytes
   * @returns {boolean} false when there is no room; nothing is kept of it then
   */
  append(bytes) {
    if (this.#end - this.#begin + bytes.byteLength > this.#mostBytes) return false;
    this.#pieces.push(bytes);
    this.#end += bytes.byteLength;
    return true;
  }

  /**
   * The next bytes to be sent; null when there are none.
   * @returns {Uint8Array | null}
   */
  next() {
    let offset = this.#begin;
    for (const piece of this.#pieces) {
      if (this.#sent < offset + piece.byteLength) {
        const rest = piece.subarray(this.#sent - offset);
        this.#sent = offset + piece.byteLength;
        return rest;
      }
      offset += piece.byteLength;
    }
    return null;
  }

  /**
   * Forget what the daemon has.
   * @param {number} offset the first byte that it has not
   */
  acknowledge(offset) {
    for (let piece = this.#pieces[0]; piece && this.#begin + piece.byteLength <= offset; piece = this.#pieces[0]) {
      this.#begin += piece.byteLength;
      this.#pieces.shift();
    }
  }

  /**
   * Send from this byte on again.
   * @param {number} offset
   */
  rewind(offset) {
    this.acknowledge(offset);
    this.#sent = Math.max(offset, this.#begin);
  }

  /** Another session begins: its first byte is the first one that is kept here. */
  restart() {
    this.#end -= this.#begin;
    this.#begin = 0;
    this.#sent = 0;
  }
}
