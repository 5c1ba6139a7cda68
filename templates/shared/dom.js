// Elements of a page. Text from the server and from people only ever becomes text nodes, never markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties, attributes and children; strings become text nodes. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node[key] = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Text by somebody else, with a direction of its own. */
export const said = (text) => el("bdi", {}, text);

/** Changes a text only if it differs, so that screen readers and selections are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes tabs of buttons that name their panels in `aria-controls`; `onPick` gets the tab that was picked. Returns `pick(tab)`. */
export function tabs(buttons, onPick) {
  const pick = (tab) => {
    for (const other of buttons) {
      const isPicked = other === tab;
      other.setAttribute("aria-selected", String(isPicked));
      other.tabIndex = isPicked ? 0 : -1;
      $(other.getAttribute("aria-controls")).hidden = !isPicked;
    }
    onPick(tab);
  };
  buttons.forEach((tab, i) => {
    tab.onclick = () => pick(tab);
    tab.onkeydown = (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = buttons[(to + buttons.length) % buttons.length];
      pick(next);
      next.focus();
    };
  });
  return pick;
}

/** Submits a form without leaving the page. Its button is disabled meanwhile; `onError` gets null first, then what went wrong. */
export function onSubmit(form, submit, onError) {
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector(".primary");
    button.disabled = true;
    onError(null);
    try {
      await submit(Object.fromEntries(new FormData(form)), form);
    } catch (error) {
      onError(error.code ? error : { code: "ERROR", error: String(error) });
    }
    button.disabled = false;
  };
}
