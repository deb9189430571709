// What happened on a chart: a sign at its moment, and one sign with a number where many happened at once.

/**
 * @typedef {import("./monitor-figures.js").Mark} Mark
 * @typedef {"alert" | "door" | "rung"} Family
 * @typedef {{x: number, family: Family, count: number, isOver: boolean}} Sign
 */

const GAP = 18; // px: what is closer is one sign
const TALL = 8;

/** @param {Mark} mark @returns {Family} */
const familyOf = ({ kind }) => (kind.startsWith("alert") ? "alert" : kind.startsWith("sessions") ? "door" : "rung");
const WEIGHT = { rung: 0, door: 1, alert: 2 };
const OVER = new Set(["rung_down", "alert_cleared", "sessions_admitted"]);

/**
 * One sign for what is close together, of the kind that matters most; the cursor tells of each.
 * @param {Mark[]} marks in their order
 * @param {(at: number) => number} xOf
 * @returns {Sign[]}
 */
export function gather(marks, xOf) {
  /** @type {Sign[]} */
  const signs = [];
  for (const mark of marks) {
    const x = Math.round(xOf(mark.at)) + 0.5;
    const family = familyOf(mark);
    const isOver = OVER.has(mark.kind);
    const known = signs[signs.length - 1];
    if (!known || x - known.x >= GAP) {
      signs.push({ x, family, count: 1, isOver });
      continue;
    }
    known.count += 1;
    known.isOver &&= isOver;
    if (WEIGHT[family] > WEIGHT[known.family]) known.family = family;
  }
  return signs;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Sign} sign
 * @param {{top: number, bottom: number}} plot
 * @param {import("./monitor-pen.js").Colours} colours
 */
export function drawSign(pen, { x, family, count, isOver }, { top, bottom }, colours) {
  pen.strokeStyle = pen.fillStyle = { alert: colours.bad, door: colours.series[3], rung: colours.warn }[family];
  pen.globalAlpha = isOver ? 0.45 : 0.9;
  pen.setLineDash([2, 3]);
  pen.beginPath();
  pen.moveTo(x, top);
  pen.lineTo(x, bottom);
  pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  if (family === "alert") {
    pen.moveTo(x, top - TALL);
    pen.lineTo(x + 4.5, top);
    pen.lineTo(x - 4.5, top);
  } else if (family === "door") pen.rect(x - 3.5, top - TALL + 0.5, 7, 7);
  else {
    pen.moveTo(x, top - TALL);
    pen.lineTo(x + 4, top - 4);
    pen.lineTo(x, top);
    pen.lineTo(x - 4, top - 4);
  }
  pen.fill();
  pen.globalAlpha = 1;
  if (count === 1) return;
  pen.font = `9px ${colours.font}`;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(String(count), x + 5, top - TALL / 2);
}

/**
 * On which side of a sign words have room; null where they have none on either.
 * @param {number} x of the sign
 * @param {number} wide of the words
 * @param {[number, number][]} taken from where to where others are
 * @param {[number, number]} plot
 * @returns {{side: "left" | "right", span: [number, number]} | null}
 */
export function roomBeside(x, wide, taken, [left, right]) {
  /** @type {["right" | "left", [number, number]][]} */
  const places = [["right", [x + 9, x + 11 + wide]], ["left", [x - 11 - wide, x - 9]]];
  for (const [side, span] of places) {
    const isInside = span[0] >= left && span[1] <= right;
    if (isInside && !taken.some(([from, to]) => from < span[1] && to > span[0])) return { side, span };
  }
  return null;
}
