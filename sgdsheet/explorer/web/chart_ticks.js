// Where an axis begins and ends, and the numbers beside it, as Excel chooses them.
import { chartEnds } from "./chart_data.js";

const MOST_PARTS = 10; // that an axis is cut into, however long it is
const LONGEST_NUMBER = 11; // letters; a longer one is written as a power of ten

// Returns {min, max, ticks, step, log} for these numbers. `look` has what the file itself says: `min`, `max`, `log` (the
// base) and `unit` (from one tick to the next), each null where it is left to the program; `most` is how many parts there
// is room for, and `zero` whether the axis has to reach 0. It begins at 0 where the numbers spread over more than a sixth
// of the largest, otherwise a little below the lowest.
export function niceAxis(values, { min = null, max = null, log = null, unit = null } = {}, most = MOST_PARTS, zero = false) {
  const count = Math.max(1, Math.min(MOST_PARTS, most));
  if (log) return niceLog(values, min, max, log, count);
  let [low, high] = chartEnds(values);
  if (low > high) [low, high] = [min ?? (max !== null ? max - 1 : 0), max ?? (min !== null ? min + 1 : 1)];
  if (zero) [low, high] = [Math.min(0, low), Math.max(0, high)];
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high))) {
    [low, high] = low > 0 ? [0, high] : low < 0 ? [low, 0] : [0, 1];
  }
  const near = (far, close) => Math.abs(far - close) <= Math.abs(far) / 6; // all far from zero, and close together
  const spread = high - low;
  let from = min ?? (low >= 0 ? (near(high, low) ? low - spread / 2 : 0) : low - spread / 20);
  let to = max ?? (high <= 0 ? (near(low, high) ? high + spread / 2 : 0) : high + spread / 20);
  if (!(from < to)) min === null ? (from = to - 1) : (to = from + 1);
  const step = unit > 0 && (to - from) / unit <= 100 ? unit : niceStep(from, to, min, max, count);
  if (min === null) from = Math.floor(from / step + 1e-9) * step;
  if (max === null) to = Math.ceil(to / step - 1e-9) * step;
  const ticks = []; // counted from where the axis begins
  for (let k = 0; from + k * step <= to + step * 1e-9; k++) {
    const tick = Number((from + k * step).toPrecision(12));
    ticks.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
  }
  return { min: from, max: to, ticks, step, log: null };
}

// The smallest of the rounded numbers 1, 2, 5, 10 … that cuts from … to into at most `count` parts.
function niceStep(from, to, min, max, count) {
  const power = 10 ** Math.floor(Math.log10((to - from) / count));
  const parts = (step) => {
    const [low, high] = [min ?? Math.floor(from / step + 1e-9) * step, max ?? Math.ceil(to / step - 1e-9) * step];
    return (high - low) / step;
  };
  const step = [1, 2, 5, 10, 20].map((each) => each * power).find((each) => parts(each) <= count + 1e-9);
  return step > 0 && Number.isFinite(step) ? step : 1;
}

function niceLog(values, min, max, base, count) {
  const power = (value) => Math.log(value) / Math.log(base);
  let [low, high] = chartEnds(values.filter((value) => value > 0));
  if (low > high) [low, high] = [1, base];
  const from = Math.floor(power(min > 0 ? min : low) + 1e-9);
  const to = Math.max(from + 1, Math.ceil(power(max > 0 ? max : high) - 1e-9));
  const every = Math.ceil((to - from) / count);
  const ticks = [];
  for (let k = from; k <= to; k += every) ticks.push(Number((base ** k).toPrecision(12)));
  return { min: min > 0 ? min : base ** from, max: max > 0 && max > min ? max : base ** to, ticks, step: null, log: base };
}

// A number beside an axis: by its number format where that is a plain one, otherwise as short as it is.
export function tickText(value, format) {
  const plain = /^(?:#,##)?0(?:\.(0+))?(%|E\+0+)?$/.exec(format ?? "");
  const digits = plain?.[1]?.length ?? 0;
  if (plain?.[2]?.startsWith("E")) return chartPower(value, digits);
  if (plain) return (plain[2] ? value * 100 : value).toFixed(digits) + (plain[2] ?? "");
  const text = value.toLocaleString("en-US", { useGrouping: false, maximumFractionDigits: 20 });
  return text.length > LONGEST_NUMBER ? chartPower(value, 12) : text;
}

function chartPower(value, digits) {
  return value.toExponential(Math.min(digits, 12)).replace("e", "E").replace(/\.?0+E/, "E");
}
