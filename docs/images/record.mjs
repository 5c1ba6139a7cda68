// node docs/images/record.mjs target/release/switchboard
//
// Records the moving pictures of the README: the chat page in a real Chromium, light and dark. A question is asked, the answer
// streams, the network is cut in the middle of it, and the answer continues. Writes docs/images/resume-light.webp and
// resume-dark.webp.
//
// Needs the packages of the browser tests (`make tools`) and a Python with Pillow (PYTHON, or python3).

import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../../tests/browser/chromium.mjs";
import { Server } from "../../tests/browser/server.mjs";
import { online, QUESTION, register } from "../../tests/browser/visitor.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const VIEWPORT = { width: 760, height: 640 };
const FRAME_MS = 100;
/** Words of the answer on the page when the network is cut. */
const WORDS_BEFORE_CUT = 28;
const OUTAGE_MS = 2_200;

/** A TCP proxy that can lose its network: it resets every connection and refuses new ones until it is restored. */
class Network {
  #sockets = new Set();
  #isCut = false;
  #server;

  static async between(target) {
    const network = new Network();
    network.#server = net.createServer((client) => {
      if (network.#isCut) return client.resetAndDestroy();
      const server = net.connect(target.port, target.hostname);
      for (const socket of [client, server]) {
        network.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          client.destroy();
          server.destroy();
        });
      }
      client.pipe(server).pipe(client);
    });
    await new Promise((resolve) => network.#server.listen(0, "127.0.0.1", resolve));
    network.url = `http://127.0.0.1:${network.#server.address().port}`;
    return network;
  }

  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#sockets.clear();
  }

  restore() {
    this.#isCut = false;
  }

  stop() {
    this.cut();
    this.#server.close();
  }
}

/** Shows what the recorder does to the network. The label is no part of the page. */
const label = (page, text) =>
  page.evaluate((text) => {
    const pill =
      document.querySelector("#recorder") ??
      document.body.appendChild(Object.assign(document.createElement("div"), { id: "recorder" }));
    pill.textContent = text;
    Object.assign(pill.style, {
      position: "fixed",
      zIndex: 99,
      left: "50%",
      bottom: "104px",
      transform: "translateX(-50%)",
      padding: "10px 22px",
      borderRadius: "99px",
      background: "#b42318",
      color: "#fff",
      font: "600 17px system-ui, sans-serif",
      boxShadow: "0 4px 16px #0004",
      visibility: text ? "visible" : "hidden",
    });
  }, text);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function record(browser, binary, colorScheme) {
  const server = await new Server(binary, {
    PROVIDER__KIND: "extractive",
    PROVIDER__EXTRACTIVE__INTERVAL_MS: 60,
    KNOWLEDGE__SEED: true,
  }).start();
  const network = await Network.between(server.url);
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme, reducedMotion: "reduce" });
  const folder = mkdtempSync(join(tmpdir(), "switchboard-recording-"));
  try {
    const page = await context.newPage();
    await page.goto(`${network.url}/ws/test`);
    await register({ page, email: `${randomUUID()}@example.org`, password: randomUUID() });

    const frames = [];
    let isRecording = true;
    const camera = (async () => {
      for (let at = Date.now(); isRecording; at += FRAME_MS) {
        await pause(at - Date.now());
        const file = join(folder, `${String(frames.length).padStart(4, "0")}.png`);
        const taken = Date.now();
        writeFileSync(file, await page.screenshot());
        frames.push({ file, taken });
        at = Math.max(at, Date.now() - FRAME_MS);
      }
    })();
    await pause(700);
    await page.locator("#question").pressSequentially(QUESTION, { delay: 45 });
    await pause(300);
    await page.press("#question", "Enter");
    const words = (count) =>
      page.waitForFunction(
        (count) => (document.querySelector(".turn:last-child .answer")?.textContent.split(/\s+/).length ?? 0) >= count,
        count,
      );
    await words(WORDS_BEFORE_CUT);
    network.cut();
    await label(page, "✂ network cut");
    await pause(OUTAGE_MS);
    network.restore();
    await label(page, "network restored");
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await online(page);
    await pause(900);
    await label(page, "");
    await page.locator(".turn .meta").waitFor();
    await pause(2_500);
    isRecording = false;
    await camera;

    const durations = frames.map(({ taken }, n) => (frames[n + 1]?.taken ?? taken + FRAME_MS) - taken);
    const list = frames.map(({ file }, n) => `${file}\t${durations[n]}`).join("\n");
    execFileSync(
      process.env.PYTHON ?? "python3",
      [join(here, "animate.py"), join(here, `resume-${colorScheme}.webp`)],
      {
        input: list,
        stdio: ["pipe", "inherit", "inherit"],
      },
    );
  } finally {
    await context.close();
    network.stop();
    await server.remove();
    rmSync(folder, { recursive: true });
  }
}

const browser = await launch();
try {
  for (const colorScheme of ["light", "dark"]) await record(browser, process.argv[2], colorScheme);
} finally {
  await browser.close();
}
