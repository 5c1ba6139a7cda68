// The settings that can be changed while the server runs.

import { api } from "../shared/account.js";
import { el } from "../shared/dom.js";
import { confirmThen } from "./dialog.js";
import { toastError } from "./toast.js";

export async function settings() {
  let known;
  try {
    known = await api("GET", "/api/v1/settings");
  } catch (error) {
    return toastError(error);
  }
  const fields = ["limits", "workflow"].flatMap((section) =>
    Object.entries(known[section] ?? {}).map(([name, value]) => ({
      section,
      name,
      value,
      input: `${section}-${name}`,
    })),
  );
  confirmThen({
    title: "Settings in force",
    text: "Changes last until the server stops; to keep them, put them into its configuration. 0 means no limit; max running turns and frame burst must be at least 1.",
    parts: [
      el(
        "label",
        {},
        "Log level",
        el("input", { name: "log_level", value: known.log_level ?? "", spellcheck: "false", autocomplete: "off" }),
      ),
      el(
        "fieldset",
        {},
        el("legend", {}, "Limits"),
        ...fields.map(({ name, value, input }) =>
          el(
            "label",
            {},
            name.replaceAll("_", " "),
            el("input", { name: input, type: "number", min: "0", step: "1", required: true, value: String(value) }),
          ),
        ),
      ),
    ],
    action: "Change",
    run: async (form) => {
      const patch = form.get("log_level") !== known.log_level ? { log_level: form.get("log_level") } : {};
      const changed = fields.filter(({ input, value }) => Number(form.get(input)) !== value);
      for (const { section, name, input } of changed)
        patch[section] = { ...patch[section], [name]: Number(form.get(input)) };
      if (!Object.keys(patch).length) return "Nothing was changed.";
      await api("PATCH", "/api/v1/settings", patch);
      return `Changed: ${[...(patch.log_level ? ["log level"] : []), ...changed.map(({ name }) => name.replaceAll("_", " "))].join(", ")}.`;
    },
  });
}
