/** Beyond this many zero crossings on each side the filter is cut off by its window. */
const CROSSINGS = 24;
/** The middle of the filter's fall, as a share of half of the lower rate: at that half it is 80 dB down. */
const PASS = 0.9;

/**
 * Changes the rate of a stream of samples: a sinc filter under a Kaiser window, one set of taps for each phase.
 * Nothing above half of the lower rate is left, so that no tone comes back as another one.
 */
export class Resampler {
  #step;
  #phases;
  #halfTaps;
  /** @type {Float32Array[]} */
  #taps;
  /** @type {Float32Array} */
  #past;
  /** Where the next sample lies, in samples of the input behind the beginning of what is kept, times the phases. */
  #at;

  /**
   * @param {number} from Hz, a whole number
   * @param {number} to Hz, a whole number
   */
  constructor(from, to) {
    const divisor = gcd(from, to);
    this.#phases = to / divisor;
    this.#step = from / divisor;
    const cutoff = (Math.min(from, to) / from) * PASS; // of half the input's rate
    this.#halfTaps = Math.ceil(CROSSINGS / cutoff);
    this.#taps = Array.from({ length: this.#phases }, (_, phase) => makeTaps(phase / this.#phases, this.#halfTaps, cutoff));
    this.#past = new Float32Array(this.#halfTaps - 1); // silence before the first sample
    this.#at = (this.#halfTaps - 1) * this.#phases;
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array} what can be told by now: the filter looks a little ahead
   */
  process(samples) {
    const kept = new Float32Array(this.#past.length + samples.length);
    kept.set(this.#past);
    kept.set(samples, this.#past.length);
    const out = [];
    let place = Math.floor(this.#at / this.#phases);
    while (place + this.#halfTaps < kept.length) {
      const taps = this.#taps[this.#at % this.#phases];
      const first = place - this.#halfTaps + 1;
      let sum = 0;
      for (let i = 0; i < taps.length; i++) sum += taps[i] * kept[first + i];
      out.push(sum);
      this.#at += this.#step;
      place = Math.floor(this.#at / this.#phases);
    }
    const needed = Math.max(0, place - this.#halfTaps + 1);
    this.#past = kept.slice(needed);
    this.#at -= needed * this.#phases;
    return Float32Array.from(out);
  }
}

/** The filter for a sample that lies `fraction` behind an input sample; it passes a steady tone of 0 Hz unchanged. @param {number} fraction @param {number} halfTaps @param {number} cutoff */
function makeTaps(fraction, halfTaps, cutoff) {
  const taps = new Float32Array(2 * halfTaps);
  let sum = 0;
  for (let i = 0; i < taps.length; i++) {
    const distance = i - (halfTaps - 1) - fraction;
    taps[i] = cutoff * sinc(cutoff * distance) * kaiser(distance / halfTaps);
    sum += taps[i];
  }
  return taps.map((tap) => tap / sum);
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Kaiser's window with beta 8, some 80 dB down outside; `x` from -1 to 1. @param {number} x */
function kaiser(x) {
  const beta = 8;
  return Math.abs(x) >= 1 ? 0 : bessel(beta * Math.sqrt(1 - x * x)) / bessel(beta);
}

/** The modified Bessel function of the first kind, order 0, by its power series. @param {number} x */
function bessel(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; k < 40; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** @param {number} a @param {number} b @returns {number} */
function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}
