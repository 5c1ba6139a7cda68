// Numbers, sizes and times as people read them.

let clockSkew = 0; // the server's clock minus this device's, in milliseconds

export function setServerTime(ms) {
  clockSkew = ms - Date.now();
}

/** The time by the server's clock. */
export const now = () => Date.now() + clockSkew;

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) =>
  n === null || n === undefined
    ? "–"
    : n < 100
      ? plain.format(n)
      : n < 10000
        ? plain.format(Math.round(n))
        : compact.format(n);
export const millis = (ms) =>
  ms === null || ms === undefined
    ? "–"
    : ms < 1000
      ? `${ms < 10 ? plain.format(ms) : Math.round(ms)} ms`
      : `${plain.format(ms / 1000)} s`;

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1000) return `${n} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    n /= 1000;
    if (n < 1000 || unit === "GB") return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${unit}`;
  }
}

export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const shortDuration = (ms) => duration(ms).split(" ").slice(0, 2).join(" ");
export const clock = (ms, withMillis) => {
  const at = new Date(ms);
  return (
    at.toLocaleTimeString([], { hour12: false }) +
    (withMillis ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "")
  );
};

/** "1 connection", "2 connections". */
export const many = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
