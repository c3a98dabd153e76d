// Times as a reader says them: how long ago, on which day, and exactly.

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** @typedef {ReturnType<typeof createTimes>} Times */

/**
 * @param {import("./words.js").Words} words
 * @param {() => number} now What the server's clock says.
 */
export function createTimes({ lang, say }, now) {
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
  const exact = new Intl.DateTimeFormat(lang, { dateStyle: "full", timeStyle: "medium" });
  const short = new Intl.DateTimeFormat(lang, { dateStyle: "medium" });
  const weekday = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long" });

  /** @param {number} time */
  function age(time) {
    const past = Math.max(0, now() - time);
    if (past < MINUTE_MS) return relative.format(0, "second");
    if (past < HOUR_MS) return relative.format(-Math.floor(past / MINUTE_MS), "minute");
    if (past < DAY_MS) return relative.format(-Math.floor(past / HOUR_MS), "hour");
    // By the calendar, as the days above the rows: what was on Monday evening was two days ago on Wednesday morning.
    const midnight = (/** @type {number} */ time) => new Date(time).setHours(0, 0, 0, 0);
    const days = Math.round((midnight(now()) - midnight(time)) / DAY_MS);
    return days < 7 ? relative.format(-days, "day") : short.format(time);
  }

  return {
    /** Shows how long ago it was, and exactly when where the pointer rests on it. @param {HTMLTimeElement} element */
    show(element) {
      const time = Date.parse(element.dateTime);
      // A time that cannot be read stays as it is written: it must not take the rest of the list with it.
      if (Number.isNaN(time)) return;
      element.textContent = age(time);
      element.title = exact.format(time);
    },

    /** The reader's day in which it was. @param {string} timestamp */
    day(timestamp) {
      const time = new Date(timestamp);
      const today = new Date(now());
      const sameDay = (/** @type {Date} */ other) => other.toDateString() === time.toDateString();
      if (sameDay(today) || time > today) return say("today");
      today.setDate(today.getDate() - 1);
      if (sameDay(today)) return say("yesterday");
      return (now() - time.getTime() < 300 * DAY_MS ? weekday : short).format(time);
    },
  };
}
