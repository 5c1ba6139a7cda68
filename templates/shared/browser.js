// Storage, locks and the clipboard. The pages also work on plain http from another host, where navigator.clipboard and
// navigator.locks do not exist.

export function readStored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

export const store = (key, value) => localStorage.setItem(key, JSON.stringify(value));

/** Runs `work` while no other tab does. Without Web Locks tabs may refresh at once: the server gives both the same tokens. */
export const exclusively = (name, work) => (navigator.locks ? navigator.locks.request(name, work) : work());

/** Copies a text; rejects when the browser refuses. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"),
    focused = document.activeElement;
  area.value = text;
  area.className = "hidden-text";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!copied) throw new Error("The browser did not copy the text.");
}
