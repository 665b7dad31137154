// What dragging a number makes of it.

const LADDER = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
const BY_FACTORS = /(^|[_ ])(lr|rate|eps|decay)($|[_ ])|learning.rate/i;

// The step of a number: its own last digit, a tenth of it with `finer`; "factors" for learning rates and their like.
export function dragStep(value, input, finer) {
  if (value > 0 && !input.whole && BY_FACTORS.test(input.block ?? "")) return "factors";
  const [digits, power = "0"] = String(value).split("e");
  const decimals = (digits.split(".")[1] ?? "").length - Number(power);
  const step = 10 ** -(decimals + (finer && !input.whole ? 1 : 0));
  return input.whole ? Math.max(1, Math.round(step)) : step;
}

// The number so many steps on, within what its cell allows.
export function draggedNumber(value, steps, step, { least = null, most = null }) {
  let made;
  if (step === "factors") {
    const power = Math.floor(Math.log10(value) + 1e-9);
    const lead = value / 10 ** power;
    const nearest = LADDER.reduce((best, each, i) => (Math.abs(each - lead) < Math.abs(LADDER[best] - lead) ? i : best), 0);
    const at = power * LADDER.length + nearest + steps;
    const rung = ((at % LADDER.length) + LADDER.length) % LADDER.length;
    made = Number((LADDER[rung] * 10 ** Math.floor(at / LADDER.length)).toPrecision(3));
  } else made = Number((value + steps * step).toFixed(Math.min(20, Math.max(0, Math.round(-Math.log10(step))))));
  if (steps === 0) made = value;
  if (typeof least === "number") made = Math.max(least, made);
  if (typeof most === "number") made = Math.min(most, made);
  return made;
}
